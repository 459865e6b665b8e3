r"""What is wrong with the lines of a whitelist, or likely to be: what, and what to write instead.

The matcher's own remarks are among it (``greyd.whitelist.matcher``). The rest is what a matcher
need not
know: lines that are taken as they stand and do something else than their author thinks. An *error*
never matches, or matches what nobody can mean; a *note* is worth a look.

Pure: files' contents go in, findings come out.
"""

from __future__ import annotations

import re
from itertools import pairwise
from socket import AF_INET, AF_INET6, inet_ntop  # arithmetic on addresses, no I/O
from typing import TYPE_CHECKING, NamedTuple

import re2

from greyd.redaction import excerpt
from greyd.rules.address import parse_address
from greyd.rules.hostnames import load_suffixes
from greyd.whitelist.hits import CLIENTS, RECIPIENTS
from greyd.whitelist.matcher import (
    Clients,
    Diagnostic,
    Entry,
    Network,
    Recipients,
    Source,
    entries_of,
    is_pattern,
    network_of_entry,
    search_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from greyd.whitelist.matcher import Search

ERROR, NOTE = "error", "note"


class Finding(NamedTuple):
    """Something about a line."""

    file: str
    line: int
    text: str
    """The line, as far as it counts; empty where it is about the file."""
    severity: str
    """``error`` or ``note``."""
    what: str
    remedy: str

    def __str__(self) -> str:
        note = "note: " if self.severity == NOTE else ""
        text = f'"{self.text}" – ' if self.text else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.file}:{self.line}: {note}{text}{self.what}{remedy}"


class _Fault(NamedTuple):
    """What is found of an entry."""

    what: str
    remedy: str = ""
    severity: str = ERROR


def lint(sources: Sequence[Source], which: str) -> list[Finding]:
    """Return what is to be said of the files of a list, in their order.

    ``which`` is ``clients`` or ``recipients``; the files are those that are in force together.
    """
    ignored: list[Diagnostic] = []
    entries = [entry for source in sources for entry in entries_of(source, ignored, "")]
    raw = {source.file: source.content.split(b"\n") for source in sources}
    look = _look_at_client if which == CLIENTS else _look_at_recipient
    faults: dict[tuple[str, int], list[tuple[bytes, _Fault]]] = {}

    def note(entry: Entry, fault: _Fault) -> None:
        faults.setdefault((entry.file, entry.line), []).append((entry.text, fault))

    sound = []
    for entry in entries:
        line = raw[entry.file][entry.line - 1]
        found = list(look(entry.text, line))
        for fault in found:
            note(entry, fault)
        if not any(fault.severity == ERROR for fault in found):
            sound.append(entry)
    for remark in _remarks(sources, which):
        # Of a line that more is known of, that is said.
        if not any(fault.severity == ERROR for _, fault in faults.get(remark[:2], ())):
            text, fault = _of_remark(remark)
            faults.setdefault(remark[:2], []).insert(0, (text, fault))
    told = {place for place, found in faults.items() if any(f.severity == ERROR for _, f in found)}
    for entry, other in _shadowed([e for e in sound if e[:2] not in told], which):
        same = "the same as" if entry.text.lower() == other.text.lower() else "covered by"
        where = f'{other.file}:{other.line}: "{_text(other.text)}"'
        note(entry, _Fault(f"{same} {where}", "take one of them out", NOTE))
    order = {source.file: number for number, source in enumerate(sources)}
    return [
        Finding(file, line, _text(text), fault.severity, fault.what, fault.remedy)
        for file, line in sorted(faults, key=lambda place: (order[place[0]], place[1]))
        for text, fault in faults[file, line]
    ]


def _text(text: bytes) -> str:
    return excerpt(text[:80].decode(errors="backslashreplace"))


def _remarks(sources: Sequence[Source], which: str) -> Iterable[Diagnostic]:
    return (Clients(sources) if which == CLIENTS else Recipients(sources)).remarks


def _of_remark(remark: Diagnostic) -> tuple[bytes, _Fault]:
    """Take a remark of the matcher apart: ``"text" – what; remedy``."""
    text, dash, rest = remark.text.partition('" – ')
    if not dash:
        text, rest = '"', remark.text
    what, _, remedy = rest.rpartition("; ") if "; " in rest else (rest, "", "correct it")
    return text[1:].encode(), _Fault(what, remedy)


# Both lists ---------------------------------------------------------------------------------------

_LETTERS = re.compile(rb"[\x21-\x7e]+")
_HOST = re.compile(rb"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
_RANGE = re.compile(rb"[0-9.]+\.[0-9]+\s*-\s*[0-9.]+")
_STARS = re.compile(rb"([0-9]{1,3}(?:\.[0-9]{1,3}){0,2})(?:\.\*)+")
_MASK = re.compile(rb"([0-9]{1,3}(?:\.[0-9]{1,3}){3})/([0-9]{1,3}(?:\.[0-9]{1,3}){3})")
_BAD_OCTET = re.compile(rb"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]*)?")
_LIKE_ADDRESS = re.compile(
    rb"[0-9.]+(/.*)?|[0-9a-f.:/]*:[0-9a-f.:/]*:[0-9a-f.:/%a-z]*", re.IGNORECASE
)
_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*:(?://)?", re.IGNORECASE)


def _beyond_ascii(text: bytes) -> _Fault | None:
    """Return what is wrong with a name that is not ASCII, and how DNS writes it."""
    if _LETTERS.fullmatch(text):
        return None
    try:
        written = text.decode().lower().encode("idna").decode()
    except UnicodeError:
        return _Fault("neither ASCII nor a name in UTF-8", "write it anew")
    if not written.isprintable() or " " in written:
        return _Fault("holds what no name can hold", "write it anew")
    return _Fault("mail servers write such names in ASCII", f"write {written}")


def _broken_network(text: bytes) -> _Fault | None:
    """Return what is wrong with what looks like an address or a network, and is read as a name."""
    if found := _STARS.fullmatch(text):
        data = found[1].split(b".")
        network = b".".join([*data, *[b"0"] * (4 - len(data))]) + b"/%d" % (8 * len(data))
        return _Fault("* stands for nothing in a network", f"write {network.decode()}")
    if _RANGE.fullmatch(text):
        return _Fault("a range of addresses is no entry", "write networks, such as 192.0.2.0/28")
    if (found := _MASK.fullmatch(text)) and (prefix := _prefix(found[2])) is not None:
        return _Fault("no network: its length is a number", f"write {found[1].decode()}/{prefix}")
    if re.fullmatch(rb"[0-9]{1,3}", text) and int(text) < 256:
        return _Fault("no network", f"write {int(text)}.0.0.0/8 out")
    if _BAD_OCTET.fullmatch(text):
        host, _, length = text.partition(b"/")
        numbers = host.split(b".")
        if large := [each for each in numbers if int(each[:9]) > 255]:
            return _Fault(f"no address: {large[0][:20].decode()} is more than 255", "correct it")
        if any(len(each) > 1 and each.startswith(b"0") for each in numbers):
            plain = ".".join(str(int(each)) for each in numbers)
            rest = f"/{length.decode()}" if length else ""
            return _Fault("no address: a zero in front", f"write {plain}{rest}")
        return _Fault("no network: its length is 0 to 32", f"write {host.decode()}/24, say")
    return None


def _prefix(mask: bytes) -> int | None:
    """Return how many bits a netmask has; None where it has holes, or is none."""
    address = parse_address(mask)
    if address is None:
        return None
    bits = f"{address.number:032b}"
    return bits.count("1") if "01" not in bits else None


def _broken_name(text: bytes) -> _Fault | None:
    """Return what keeps a name from matching, or makes it match too much."""
    return _beyond_ascii(text) or _misspelt(text) or _no_host(text) or _too_broad(text)


def _misspelt(text: bytes) -> _Fault | None:
    """Return that something belongs to other notations than a whitelist's."""
    scheme = _SCHEME.match(text)
    if scheme and scheme[0].endswith(b"//"):
        return _never("a URL is no name", re.split(rb"[:/?]", text[scheme.end() :], maxsplit=1)[0])
    if text.startswith((b".", b"*.", b"@", b"*@")):
        return _never("", text.lstrip(b"*.@"), ", which covers all names below it too")
    if text.endswith(b"."):
        return _never("a name ends without a dot", text.rstrip(b"."))
    if b"*" in text:
        pattern = re.escape(text).replace(rb"\*", b".*")
        return _Fault("never matches: * stands for nothing here", f"write /^{_text(pattern)}$/")
    if text.startswith(b"[") and text.endswith(b"]"):
        return _never("", text[1:-1])
    if port := re.fullmatch(rb"([^:]+):[0-9a-z]*", text, re.IGNORECASE):
        return _never("a name has no port", port[1])
    return None


def _no_host(text: bytes) -> _Fault | None:
    if _HOST.fullmatch(text) and len(text) <= 253:
        return None
    odd = re.search(rb"[^a-zA-Z0-9._-]", text)
    what = f"no host name: it can't hold {_text(odd[0])}" if odd else "no host name"
    return _Fault(f"never matches: {what}", "one name or network a line")


def _too_broad(text: bytes) -> _Fault | None:
    name = text.lower().decode()
    if _is_suffix(name):
        return _Fault(f"everybody below .{name} passes", "write the names that are meant")
    if "." not in name and name != "localhost":
        return _Fault("hardly any client's name has no dot", "write the whole name", NOTE)
    return None


def _is_suffix(name: str) -> bool:
    """Whether names below this one belong to all kinds of people (the public suffix list)."""
    return bool(load_suffixes().publicsuffix(name) == name)


def _never(what: str, instead: bytes, why: str = "") -> _Fault:
    remedy = f"write {_text(instead)}{why}" if instead else "take it out"
    return _Fault(f"never matches: {what}" if what else "never matches", remedy)


def _cut_by_comment(text: bytes, line: bytes) -> _Fault | None:
    """Return that a pattern's ``#`` has begun a comment."""
    whole = line.strip()
    if not text.startswith(b"/") or is_pattern(text) or b"/" not in whole[len(text) :]:
        return None
    return _Fault("never matches: # begins a comment, also inside a pattern", r"write \x23 for it")


def _flags(text: bytes) -> _Fault | None:
    """Return that a pattern has Perl's flags behind it."""
    found = re.fullmatch(rb"(/.+/)[a-z]+", text)
    if found is None:
        return None
    return _Fault(
        "never matches: what follows the last slash makes it no pattern",
        f"write {_text(found[1])}, which is case-blind anyway",
    )


# Patterns -----------------------------------------------------------------------------------------

_PROBES = {
    CLIENTS: (
        b"unknown", b"localhost", b"mail.quux.example", b"host-198-51-100-7.dyn.isp.test",
        b"mx1.zyxw.invalid", b"out7-12.smtp.qvc.zone", b"a.vk",
    ),
    RECIPIENTS: (
        b"jqx@zyxw.invalid", b"info@quux.example", b"k.v@mail.fhw.test", b"postmaster@gd.zone",
        b"sales-7@b.vk",
    ),
}  # fmt: skip
"""Names and addresses that have nothing in common but what all have."""

_PIECE = re.compile(
    rb"(?P<quoted>\\Q.*?(?:\\E|\Z))|(?P<escaped>\\(?:x[0-9a-fA-F]{2}|.))|(?P<class>\[\^?\]?(?:\\.|[^\]\\])*\])"
    rb"|(?P<repeat>[*+?]|\{[0-9]+(?:,[0-9]*)?\})|(?P<dot>\.)|(?P<literal>[A-Za-z0-9_@-])|(?P<other>.)",
    re.DOTALL,
)


def _pattern(text: bytes, which: str) -> Iterator[_Fault]:
    """Yield what a pattern does that it should hardly do."""
    pattern = text[1:-1]
    if not pattern:
        return
    try:
        search = search_of(pattern)
    except re2.error:
        if pattern.startswith(b"*"):
            yield _Fault("skipped: * repeats what stands before it", r"write .* for any text")
        return
    too_much = _matches_too_much(pattern, search, which)
    if too_much is not None:
        yield too_much
        return
    if impossible := _matches_nothing(pattern, which):
        yield impossible
        return
    pieces = [(found.lastgroup or "", found[0]) for found in _PIECE.finditer(pattern)]
    if dot := _loose_dot(pieces):
        yield _Fault("a dot means any character", rf"write {_text(dot)}", NOTE)
    if star := _glob(pieces):
        yield _Fault(
            f"{_text(star)} repeats {_text(star[:-1])}, and stands for no other text",
            "write .* for any text",
            NOTE,
        )
    yield from _anchors(pattern, pieces, which)


def _matches_too_much(pattern: bytes, search: Search, which: str) -> _Fault | None:
    everything = "every client" if which == CLIENTS else "every recipient"
    if search(b""):
        empty = "an alternative is empty, so it" if re.search(rb"\|\||^\||\|$", pattern) else "it"
        return _Fault(f"{empty} lets {everything} pass", "take it out, or write what is meant")
    if suffix := re.fullmatch(rb"\^?(?:\.[*+])?\\?\.((?:[a-z0-9-]|\\\.)+)\$", pattern):
        name = suffix[1].replace(b"\\", b"").decode()
        if _is_suffix(name):
            return _Fault(f"everybody below .{name} passes", "write the names that are meant")
    matched = [each for each in _PROBES[which] if search(each)]
    if len(matched) == len(_PROBES[which]):
        return _Fault(f"lets {everything} pass", "take it out, or write what is meant")
    if which == CLIENTS and b"unknown" in matched:
        return _Fault(
            "lets every client pass that has no confirmed name, which is called unknown",
            "write a domain into it",
        )
    if len(matched) > 1:
        like = " and ".join(each.decode() for each in matched[:2])
        return _Fault(f"matches names such as {like}", "write a domain into it")
    return None


def _matches_nothing(pattern: bytes, which: str) -> _Fault | None:
    if which == RECIPIENTS:
        return None
    if re.fullmatch(
        rb"\^?[0-9]{1,3}(\\?\.([0-9]{1,3}|[0-9]*\[[0-9-]+\]\+?|\\d\+|\*)){1,3}(\\?\.)?\$?", pattern
    ):
        return _Fault(
            "searched in the client's name only, never in its address",
            "write a network, such as 192.0.2.0/24",
        )
    if b"@" in pattern and b"\\@" not in pattern.replace(b"\\@", b"@@"):
        return _Fault("never matches: no client's name holds @", "if it is meant for recipients,"
                      " move it to their list")  # fmt: skip
    if re.search(rb"[a-z0-9]\\\.\$$", pattern, re.IGNORECASE):
        return _Fault(r"never matches: a name ends without a dot", r"take the \. at the end out")
    return None


def _loose_dot(pieces: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Return how a dot between two words should be written; None where there is none."""
    for place in range(1, len(pieces) - 1):
        before, here, after = pieces[place - 1 : place + 2]
        if here[0] == "dot" and before[0] in ("literal", "class") and after[0] == "literal":
            start, end = place, place + 1
            while start and pieces[start - 1][0] == "literal":
                start -= 1
            while end < len(pieces) and pieces[end][0] in ("literal", "dot"):
                end += 1
            if end < len(pieces) and pieces[end][0] == "repeat":
                end -= 1
            words = [piece for _, piece in pieces[start:end]]
            return b"".join(rb"\." if word == b"." else word for word in words)
    return None


def _glob(pieces: Sequence[tuple[str, bytes]]) -> bytes | None:
    """Return a letter or dot that ``*`` repeats, which is hardly meant."""
    for before, here in pairwise(pieces):
        if here == ("repeat", b"*") and (before[0] == "literal" or before[1] == rb"\."):
            return before[1] + here[1]
    return None


def _anchors(pattern: bytes, pieces: Sequence[tuple[str, bytes]], which: str) -> Iterator[_Fault]:
    """Yield that a pattern's ends are open, where it says so little that this matters."""
    words = [piece for kind, piece in pieces if kind in ("literal", "quoted")]
    if not any(re.search(rb"[a-z]", word.lower().lstrip(b"\\q")) for word in words):
        yield _Fault("no letter stands in it, so it matches in any domain",
                     "write a domain into it", NOTE)  # fmt: skip
    elif which == CLIENTS and not pattern.endswith((b"$", rb"\z", rb"\Z")):
        if re.search(rb"\\?\.[a-z]{2,}/?$", pattern, re.IGNORECASE):
            yield _Fault("matches names too that go on after it, in domains of others",
                         "end it with $", NOTE)  # fmt: skip
        elif sum(map(len, words)) < 6 and not pattern.startswith(b"^"):
            yield _Fault("matches wherever these letters stand in a name",
                         "write a domain into it, or ^ and $", NOTE)  # fmt: skip
    elif which == RECIPIENTS and sum(map(len, words)) < 4 and not pattern.startswith(b"^"):
        yield _Fault("matches wherever these letters stand in an address", "write ^, @ or $", NOTE)


# Clients ------------------------------------------------------------------------------------------


def _look_at_client(text: bytes, line: bytes) -> Iterator[_Fault]:
    if is_pattern(text):
        yield from _pattern(text, CLIENTS)
    elif fault := _cut_by_comment(text, line) or _flags(text):
        yield fault
    elif network := network_of_entry(text):
        yield from _network(text, network)
    elif text.startswith(b"/"):
        # The matcher says so.
        return
    elif text.lower() == b"unknown":
        yield _Fault(
            "lets every client pass that has no confirmed name, so nearly all spam",
            "enter addresses instead",
        )
    elif fault := _broken_network(text):
        yield fault
    elif _LIKE_ADDRESS.fullmatch(text):
        # The matcher says that it is none.
        return
    elif b"@" in text.lstrip(b"*.@"):
        yield _Fault(
            "never matches: a mail address; of clients name and address are compared",
            "a recipient stands in the recipients' list, and senders can't be entered",
        )
    elif fault := _broken_name(text):
        yield fault


_BROAD = {32: 8, 128: 16}


def _network(text: bytes, network: Network) -> Iterator[_Fault]:
    number, prefix, bits = network
    if prefix == 0:
        yield _Fault("lets everybody pass", "take it out; --mode=off turns greylisting off")
        return
    if prefix < _BROAD[bits]:
        yield _Fault("an enormous network", "write those that are meant", NOTE)
    host, slash, _ = text.partition(b"/")
    if not slash or b"." not in text + b"." or _is_whole(host, network):
        return
    packed = number.to_bytes(bits // 8, "big")
    written = inet_ntop(AF_INET if bits == 32 else AF_INET6, packed)
    yield _Fault(
        f"read as {written}/{prefix}",
        f"write {written}/{prefix}, or {_text(host)} for the one address",
        NOTE,
    )


def _is_whole(host: bytes, network: Network) -> bool:
    address = parse_address(host)
    return address is None or address.number == network.number


# Recipients ---------------------------------------------------------------------------------------


def _look_at_recipient(text: bytes, line: bytes) -> Iterator[_Fault]:
    if is_pattern(text):
        yield from _pattern(text, RECIPIENTS)
    elif fault := _cut_by_comment(text, line) or _flags(text):
        yield fault
    elif text.startswith(b"/"):
        yield _Fault("never matches: a pattern is /…/", "close it with a slash")
    elif network_of_entry(text) or _LIKE_ADDRESS.fullmatch(text) or _broken_network(text):
        yield _Fault("never matches: an address of a client", "move it to the clients' list")
    elif text.startswith(b"<") or text.endswith(b">") or text.lower().startswith(b"mailto:"):
        yield _never("", re.sub(rb"^mailto:", b"", text.strip(b"<>"), flags=re.IGNORECASE))
    elif b"@" in text.lstrip(b"*.@") and not text.startswith((b"@", b"*@")):
        yield from _broken_address(text)
    elif _HOST.fullmatch(text) and b"." not in text and text.lower() != b"localhost":
        what = "everybody below it passes" if _is_suffix(text.lower().decode()) else "never matches"
        yield _Fault(
            f"{what}: read as a domain", f"write {_text(text)}@ for that local part at any domain"
        )
    elif fault := _broken_name(text):
        yield fault


def _broken_address(text: bytes) -> Iterator[_Fault]:
    """Yield what keeps ``user@domain`` or ``user@`` from matching; at most one."""
    user, _, domain = text.rpartition(b"@")
    if fault := _beyond_ascii(domain) if domain else None:
        # With SMTPUTF8 the sender may write it so.
        remedy = fault.remedy.replace("write ", f"write {_text(user)}@", 1)
        yield fault._replace(remedy=remedy, severity=NOTE)
    elif domain in (b"*", b"*.*"):
        yield _never("* stands for nothing here", user + b"@", " for any domain")
    elif b"*" in user or domain.startswith((b"*", b".")):
        pattern = re.escape(text).replace(rb"\*", b".*")
        yield _Fault("never matches: * and a dot in front stand for nothing here",
                     f"write a pattern, such as /^{_text(pattern)}$/")  # fmt: skip
    elif domain.endswith(b"."):
        yield _never("a domain ends without a dot", text.rstrip(b"."))
    elif domain and not (_HOST.fullmatch(domain) or domain.startswith(b"[")):
        yield _Fault("never matches: what follows the @ is no domain", "correct it")
    elif domain and b"." not in domain and not domain.startswith(b"[") and domain != b"localhost":
        yield _Fault("the domain has no dot", "write the whole domain", NOTE)


# What is covered by another -----------------------------------------------------------------------


def _shadowed(entries: Iterable[Entry], which: str) -> Iterator[tuple[Entry, Entry]]:
    """Yield entries that another one makes needless, each with that."""
    patterns, networks, rest = [], [], []
    for entry in entries:
        if is_pattern(entry.text):
            patterns.append(entry)
        elif which == CLIENTS and (network := network_of_entry(entry.text)):
            networks.append((entry, network))
        else:
            rest.append(entry)
    yield from _same(patterns, lambda text: text)
    yield from _covered_networks(networks)
    yield from _covered_names(rest, which)


def _same(entries: Iterable[Entry], key: Callable[[bytes], bytes]) -> Iterator[tuple[Entry, Entry]]:
    seen: dict[bytes, Entry] = {}
    for entry in entries:
        first = seen.setdefault(key(entry.text), entry)
        if first is not entry:
            yield entry, first


def _covered_networks(networks: Sequence[tuple[Entry, Network]]) -> Iterator[tuple[Entry, Entry]]:
    known: dict[tuple[int, int], dict[int, Entry]] = {}
    for entry, (number, prefix, bits) in networks:
        known.setdefault((bits, prefix), {}).setdefault(number, entry)
    lengths = sorted(known)
    for entry, (number, prefix, bits) in networks:
        for family, shorter in lengths:
            if family != bits or shorter > prefix:
                continue
            free = bits - shorter
            other = known[bits, shorter].get(number >> free << free)
            if other is not None and other is not entry:
                yield entry, other
                break


def _covered_names(entries: Sequence[Entry], which: str) -> Iterator[tuple[Entry, Entry]]:
    known: dict[bytes, Entry] = {}
    for entry in entries:
        known.setdefault(entry.text.lower(), entry)
    for entry in entries:
        text = entry.text.lower()
        for broader in (text, *_broader(text, which)):
            other = known.get(broader)
            if other is not None and other is not entry:
                yield entry, other
                break


def _broader(text: bytes, which: str) -> Iterator[bytes]:
    """Yield the entries that would cover one."""
    user, at, domain = text.rpartition(b"@")
    if which == RECIPIENTS and at:
        plain = user.partition(b"+")[0]
        yield from (b"%b@%b" % (plain, domain), plain + b"@", user + b"@")
        if not domain:
            return
        yield domain
    while b"." in domain:
        domain = domain.partition(b".")[2]
        yield domain
