r"""Whitelists in postgrey's format: files in, a matcher out.

A file is read line by line. ``#`` starts a comment anywhere, space around is trimmed, blank lines
count for nothing. Clients (``client_name`` and ``client_address`` are matched)::

    /regex/                  searched in the name, case-blind
    192.0.2.7, 192.0.2.0/24  IPv4 address, network; 192.0.2 is 192.0.2.0/24
    2001:db8::/32            IPv6 address, network: anything with two colons
    example.com              that name, and every name below it

Recipients::

    /regex/                  searched in the address, case-blind
    user@example.com         that address, and user+anything@example.com
    user@                    that local part at any domain, extensions too
    example.com              the domain and its subdomains

Patterns are Perl's, as far as a search in linear time can take them (RE2): a name is under the
control of whoever sends mail, and must not be able to hang the server. What RE2 can't take
(look-around, back-references, possessive and atomic forms) is reported with its line and skipped.

Nothing here raises for what stands in a file: a line that can't be used becomes a remark.
"""

from __future__ import annotations

import re
from socket import AF_INET6, inet_pton  # arithmetic on addresses, no I/O
from typing import TYPE_CHECKING, Any, NamedTuple

import re2

from greyd.config.regular_files import FileError, read_regular_file
from greyd.errors import GreydError
from greyd.redaction import excerpt
from greyd.rules.address import Address, ipv4_within, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Search = Callable[[bytes], Any]

if not hasattr(re2, "Options"):
    raise ImportError(f"{re2.__file__} is another package of that name", name="re2")

MAX_FILE = 32 * 1024 * 1024
"""Octets of a whitelist file; a larger one is not read."""


class WhitelistError(GreydError):
    """A file can't be read."""


class Entry(NamedTuple):
    """Where an entry stands."""

    file: str
    line: int
    text: bytes


class Diagnostic(NamedTuple):
    """Something about a line that its author should know."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Source(NamedTuple):
    """A file's name and content."""

    file: str
    content: bytes


def read_file(file: str) -> Source:
    """Read a file.

    Raises:
        WhitelistError: it is missing, no regular file, not readable, or too large; the text says
            which.
    """
    try:
        return Source(file, read_regular_file(file, MAX_FILE))
    except FileError as error:
        raise WhitelistError(f"{file}: {error}") from error


def entries_of(source: Source, remarks: list[Diagnostic], what: str) -> Iterator[Entry]:
    """Yield the entries of a file, each ``what``; a line that can't be one becomes a remark."""
    for number, line in enumerate(source.content.split(b"\n"), 1):
        text = line.partition(b"#")[0].strip(b" \t\r\v\f")
        if text.startswith(b"\xef\xbb\xbf") and number == 1:
            remarks.append(Diagnostic(source.file, 1, "starts with a byte order mark; take it out"))
        if len(text.split()) > 1:
            remarks.append(
                Diagnostic(source.file, number, f"{_shown(text)} – not {what}; one entry a line")
            )
        elif text:
            yield Entry(source.file, number, text)


def _shown(text: bytes) -> str:
    return '"' + excerpt(text[:80].decode(errors="backslashreplace")) + '"'


# Patterns ---------------------------------------------------------------------------------------


def _options(most_bytes: int) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.log_errors = False
    options.max_mem = most_bytes
    return options


_OF_ONE = _options(2**20)
_OF_MANY = _options(2**23)
# Names hold no line feed, so both of Perl's ends of a string are RE2's only one.
_PERL_ONLY = re.compile(rb"\\.|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*\]", re.DOTALL)
_IN_CLASS = re.compile(rb"\\h|\\.", re.DOTALL)


def _in_re2(pattern: bytes) -> bytes:
    """Write what Perl and RE2 only spell differently as RE2 does."""

    def spell(found: re.Match[bytes]) -> bytes:
        if found[0].startswith(b"["):
            return _IN_CLASS.sub(lambda one: b" \\t" if one[0] == b"\\h" else one[0], found[0])
        return {b"\\Z": b"\\z", b"\\h": b"[ \\t]"}.get(found[0], found[0])

    return _PERL_ONLY.sub(spell, pattern)


_TOGETHER = 200


class _Patterns:
    """Patterns that are searched together: most names match none, and one search says so."""

    def __init__(self) -> None:
        self._entries: list[tuple[Search, Entry]] = []
        self._groups: list[tuple[Search, list[tuple[Search, Entry]]]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, remarks: list[Diagnostic]) -> None:
        """Add the pattern of an entry, or a remark why it can't be searched."""
        pattern = entry.text[1:-1]
        try:
            if not pattern:
                raise re2.error("empty pattern")
            self._entries.append((search_of(pattern), entry))
        except re2.error as error:
            reason = str(error).removeprefix("b'").removesuffix("'")
            text = f"{_shown(entry.text)} – skipped: {reason}; write the pattern without it"
            remarks.append(Diagnostic(entry.file, entry.line, text))

    def first(self, text: bytes) -> Entry | None:
        """Return the first entry whose pattern is found in ``text``."""
        for search, group in self._groups:
            if search(text):
                return next((entry for each, entry in group if each(text)), None)
        return None

    def combine(self) -> None:
        """Make what was added ready to be searched."""
        for start in range(0, len(self._entries), _TOGETHER):
            group = self._entries[start : start + _TOGETHER]
            try:
                # What begins with \Q may reach beyond its own pattern's end.
                if any(b"\\Q" in entry.text for _, entry in group):
                    raise re2.error("quoted")
                any_of = b"|".join(b"(?:%b)" % entry.text[1:-1] for _, entry in group)
                self._groups.append((_search(any_of, _OF_MANY), group))
            except re2.error:
                self._groups += [(each, [(each, entry)]) for each, entry in group]


def search_of(pattern: bytes) -> Search:
    """Return what searches a pattern as the lists do.

    Raises:
        re2.error: it can't be searched.
    """
    return _search(pattern, _OF_ONE)


def _search(pattern: bytes, options: re2.Options) -> Search:
    search: Search = re2.compile(_in_re2(pattern), options).search
    return search


def is_pattern(text: bytes) -> bool:
    """Whether an entry is a pattern."""
    return len(text) > 1 and text.startswith(b"/") and text.endswith(b"/")


# Networks ---------------------------------------------------------------------------------------

_BYTES = re.compile(rb"[0-9]{1,3}(\.[0-9]{1,3}){1,2}")
_IPV4_LIKE = re.compile(rb"[0-9.]+(/[0-9.]*)?|[0-9]+(\.[0-9*]+){1,3}")


class Network(NamedTuple):
    """An IPv4 or IPv6 network: its address's bits, and how many of them count."""

    number: int
    prefix: int
    bits: int

    def holds(self, address: Address) -> bool:
        """Whether an address is in it."""
        free = self.bits - self.prefix
        return self.bits == address.bits and self.number >> free == address.number >> free


_NAT64 = Network(0x64FF9B << 96, 96, 128)
"""The well-known prefix (RFC 6052, 2.1)."""


def parse_network(text: bytes) -> Network | None:
    """Read an address or a network in CIDR form; None for anything else.

    A network of IPv6 addresses that write down IPv4 clients is the IPv4 network.
    """
    host, slash, length = text.partition(b"/")
    if host.startswith(b"[") and host.endswith(b"]") and b":" in host and not slash:
        host = host[1:-1]
    if slash and not re.fullmatch(rb"[0-9]{1,3}", length):
        return None
    bits = 128 if b":" in host else 32
    prefix = int(length) if slash else bits
    if prefix > bits:
        return None
    if bits == 32:
        address = parse_address(host)
        return _network(address.number, prefix, 32) if address else None
    try:
        number = int.from_bytes(inet_pton(AF_INET6, host.decode("ascii")), "big")
    except (OSError, ValueError):
        return None
    ipv4 = ipv4_within(number)
    # All of NAT64's prefix would be all of IPv4, and hardly what was meant: see Clients.
    if ipv4 is not None and prefix >= (96 if number >> 32 == 0xFFFF else 97):
        return _network(ipv4, prefix - 96, 32)
    return _network(number, prefix, 128)


def network_of_entry(text: bytes) -> Network | None:
    """Return the network that an entry of a clients' list stands for; None where it is none."""
    if _BYTES.fullmatch(text):
        return parse_network(text + (b".0" if text.count(b".") == 2 else b".0.0") + b"/24")
    return parse_network(text)


def _network(number: int, prefix: int, bits: int) -> Network:
    free = bits - prefix
    return Network(number >> free << free, prefix, bits)


def _overlaps(one: Network, other: Network) -> bool:
    free = one.bits - min(one.prefix, other.prefix)
    return one.number >> free == other.number >> free


# Matchers ---------------------------------------------------------------------------------------


class Clients:
    """Clients that are never greylisted."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.remarks: list[Diagnostic] = []
        self._names: dict[bytes, Entry] = {}
        self._networks: dict[int, dict[int, dict[int, Entry]]] = {32: {}, 128: {}}
        """For addresses of so many bits, and the free ones of a network: entries by the others."""
        self._patterns = _Patterns()
        for source in sources:
            for entry in entries_of(source, self.remarks, "a host name"):
                self._add(entry)
        self._patterns.combine()

    def __len__(self) -> int:
        networks = (
            len(entries) for family in self._networks.values() for entries in family.values()
        )
        return len(self._names) + sum(networks) + len(self._patterns)

    def _add(self, entry: Entry) -> None:
        text = entry.text
        if is_pattern(text):
            self._patterns.add(entry, self.remarks)
        elif network := self._network_of(entry):
            if network.bits == 128 and 32 <= network.prefix <= 96 and _overlaps(network, _NAT64):
                self._remark(
                    entry, "clients behind NAT64 count by their IPv4 addresses: write those"
                )
            family = self._networks[network.bits]
            free = network.bits - network.prefix
            family.setdefault(free, {}).setdefault(network.number >> free, entry)
        else:
            self._check_name(entry)
            self._names.setdefault(text.lower(), entry)

    def _network_of(self, entry: Entry) -> Network | None:
        network = network_of_entry(entry.text)
        if network and entry.text.count(b".") == 1 and _BYTES.fullmatch(entry.text):
            excerpt = entry.text.decode()
            self._remark(
                entry,
                f"read as {excerpt}.0.0/24, as postgrey does; write {excerpt}.0.0/16 or /24 out",
            )
        return network

    def _check_name(self, entry: Entry) -> None:
        text = entry.text
        if text.startswith(b"/"):
            self._remark(entry, "read as a host name, which never matches; a pattern is /…/")
        elif text.count(b":") > 1 or _IPV4_LIKE.fullmatch(text):
            self._remark(entry, "no valid address or network, read as a host name")

    def _remark(self, entry: Entry, text: str) -> None:
        self.remarks.append(Diagnostic(entry.file, entry.line, f"{_shown(entry.text)} – {text}"))

    def match(self, name: bytes, address: Address | None) -> Entry | None:
        """Return the entry that lets a client pass: by its name, else by its address."""
        lower = name.lower()
        return (
            self._match_suffix(lower) or self._match_network(address) or self._patterns.first(name)
        )

    def _match_suffix(self, name: bytes) -> Entry | None:
        names = self._names
        start = 0
        while True:
            if (entry := names.get(name[start:])) is not None:
                return entry
            start = name.find(b".", start) + 1
            if not start:
                return None

    def _match_network(self, address: Address | None) -> Entry | None:
        if address is None:
            return None
        number = address.number
        for free, networks in self._networks[address.bits].items():
            if (entry := networks.get(number >> free)) is not None:
                return entry
        return None


class Recipients:
    """Recipients whose mail is never greylisted."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.remarks: list[Diagnostic] = []
        self._addresses: dict[bytes, Entry] = {}
        self._domains: dict[bytes, Entry] = {}
        self._patterns = _Patterns()
        for source in sources:
            for entry in entries_of(source, self.remarks, "an address"):
                self._add(entry)
        self._patterns.combine()

    def __len__(self) -> int:
        return len(self._addresses) + len(self._domains) + len(self._patterns)

    def _add(self, entry: Entry) -> None:
        if is_pattern(entry.text):
            self._patterns.add(entry, self.remarks)
        elif b"@" in entry.text:
            self._addresses.setdefault(entry.text.lower(), entry)
        else:
            self._domains.setdefault(entry.text.lower(), entry)

    def match(self, recipient: bytes) -> Entry | None:
        """Return the entry that lets mail to a recipient pass."""
        lower = recipient.lower()
        return (
            self._match_address(lower)
            or self._match_domain(lower)
            or self._patterns.first(recipient)
        )

    def _match_address(self, recipient: bytes) -> Entry | None:
        local, at, domain = recipient.partition(b"@")
        if not at:
            return None
        end = len(local)
        while True:
            for rest in (at + domain, at):
                if (entry := self._addresses.get(local[:end] + rest)) is not None:
                    return entry
            # Without its extension, which is not empty, it is still the same recipient.
            end = local.rfind(b"+", 0, min(end, len(local) - 1))
            if end < 0:
                return None

    def _match_domain(self, recipient: bytes) -> Entry | None:
        if not self._domains:
            return None
        for border in re.finditer(rb"[@.]", recipient):
            if (entry := self._domains.get(recipient[border.end() :])) is not None:
                return entry
        return None


class Whitelists(NamedTuple):
    """All lists, as they are in force together."""

    clients: Clients
    recipients: Recipients
    override: Clients = Clients(())
    """Clients whose listings on DNS lists do not count."""
    complete: bool = True
    """Whether all of their files could be read."""

    @property
    def remarks(self) -> list[Diagnostic]:
        """What their authors should know, the clients' files first."""
        return self.clients.remarks + self.recipients.remarks + self.override.remarks

    def match_client(self, name: bytes, address: Address | None) -> Entry | None:
        """Return the entry that lets a client pass."""
        return self.clients.match(name, address)

    def match_recipient(self, recipient: bytes) -> Entry | None:
        """Return the entry that lets mail to a recipient pass."""
        return self.recipients.match(recipient)
