"""Checks main.cf and master.cf as files: what Postfix can't read, and what it only warns about."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, hint, not_checked, ok, warning
from greyd.doctor.postfix.config.master_cf import stray_arguments
from greyd.doctor.postfix.config.restriction_table import RESTRICTIONS, nearest_word
from greyd.doctor.postfix.config.restrictions import split_words
from greyd.doctor.postfix.fix.edits import DuplicateEdit, IndentEdit, NameEdit
from greyd.doctor.programs import FailedProgramError
from greyd.escaping import printable_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.programs import ProgramError

CHECK = "postfix: files"

MAX_FILE_BYTES = 1024 * 1024
_MAX_SHOWN = 200

_DEFAULT_FOLDER = "/etc/postfix"

_BLANKS = " \t\r\v\f"
"""White space as Postfix defines it; no-break spaces from web pages do not count."""

_AT_LINE = re.compile(r"(?:file )?(?P<file>/\S+?)(?:,|:) line (?P<line>\d+): (?P<text>.*)")


# Files that Postfix can't read --------------------------------------------------------------------


def findings_of_unreadable(
    fault: ProgramError, folder: str | None, default_folder: str = _DEFAULT_FOLDER
) -> list[Finding]:
    """Explain why postconf can't read the files in a folder; None for Postfix's default folder."""
    where = folder or default_folder
    if not isinstance(fault, FailedProgramError):
        return [not_checked(CHECK, str(fault), f"postconf -c {where} -n" if folder else "")]
    text = _without_severity(next((each for each in reversed(fault.lines) if each), str(fault)))
    if "Permission denied" in text:
        return [not_checked(CHECK, text, "run greyd doctor as root")]
    if "No such file" in text and not folder and "main.cf" in text:
        remedy = "if Postfix is configured elsewhere: greyd doctor --main-cf=FOLDER"
        return [not_checked(CHECK, text, remedy)]
    if "No such file" in text:
        remedy = f"create the file, or name a folder other than --main-cf={where}"
        return [
            error(CHECK, f"{text}: Postfix does not start", remedy if folder else "postfix check")
        ]
    place, seen = _place_of(fault.lines, text, Path(where))
    return [
        error(
            CHECK,
            f"{place}{seen}: Postfix can't read its configuration, and refuses to start or reload;"
            " nothing else in it was checked",
            _remedy_for(seen, where),
            _edits_of_unreadable(seen, place, Path(where)),
        )
    ]


def _place_of(lines: Sequence[str], text: str, folder: Path) -> tuple[str, str]:
    """Return the file and line of a fault, as far as they can be found, and the fault itself."""
    if found := _AT_LINE.fullmatch(text):
        return f"{found['file']}:{found['line']}: ", _cut(found["text"])
    # Without a place, postconf quotes the text; search the files for it.
    for line in (text, *lines):
        for quoted in _quotations(line):
            for file in (folder / "main.cf", folder / "master.cf"):
                if number := _line_with(file, quoted):
                    return f"{file}:{number}: ", _cut(_without_severity(line))
    reasons = dict.fromkeys(map(_without_severity, lines))
    return f"{folder}: ", _cut("; ".join(filter(None, reasons)))


def _quotations(line: str) -> list[str]:
    """Return the texts that a message quotes, the longest first; they may contain quotes."""
    found = {*re.findall('"([^"]*)"', line), *re.findall('"(.*)"', line)}
    return sorted(found, key=len, reverse=True)


def _remedy_for(seen: str, where: str) -> str:
    test = f"then postconf -c {where} -n (shows whether Postfix can read it)"
    if "missing '='" in seen or "bad field count" in seen:
        return f"begin the line with blanks if it continues the one above, or correct it; {test}"
    if "truncated macro" in seen:
        return f"close the brace or parenthesis; {test}"
    return f"correct it; {test}"


def _edits_of_unreadable(seen: str, place: str, folder: Path) -> Edits:
    """Return the edit that indents a line of restrictions that was meant to continue a list."""
    found = re.fullmatch(rf"{re.escape(str(folder / 'main.cf'))}:(\d+): ", place)
    if found is None or "missing '='" not in seen:
        return ()
    number = int(found[1])
    words = next(
        (split_words(line) for start, line in logical_lines(folder / "main.cf") if start == number),
        [],
    )
    is_list = bool(words) and words[0].lower() in RESTRICTIONS
    return (IndentEdit(number, is_continuation=True),) if is_list else ()


def _without_severity(line: str) -> str:
    return re.sub(r"^(fatal|error|warning): ", "", line)


def _cut(text: str) -> str:
    text = printable_text(text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _line_with(file: Path, text: str) -> int:
    """Return the number of the line in which a logical line with ``text`` begins; 0 if none."""
    wanted = _packed(text)
    return next((n for n, line in logical_lines(file) if wanted and wanted in _packed(line)), 0)


def _packed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def logical_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the logical lines of main.cf or master.cf, with the number of the first line of each.

    A line that begins with white space continues the one above; comments and empty lines do not
    end it. An unreadable file has no lines.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(MAX_FILE_BYTES)
    except OSError:
        return
    start, logical = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in _BLANKS and start:
            logical += line
            continue
        if start:
            yield start, logical
        start, logical = number, line
    if start:
        yield start, logical


# Files that Postfix can read ----------------------------------------------------------------------


def findings_of_files(postfix: PostfixConfig) -> list[Finding]:
    """Show postconf's warnings, and what postconf accepts in master.cf but smtpd rejects."""
    made = [
        *(_finding_of_warning(each, postfix.parameter_names) for each in postfix.warnings),
        *_findings_of_names(postfix),
        *_findings_of_arguments(postfix),
        *_findings_of_duplicates(postfix),
        *_findings_of_programs(postfix),
        *_findings_of_instances(postfix),
    ]
    if made:
        return made
    version = postfix.parameters.get("mail_version", "")
    return [ok(CHECK, f"no warnings from postconf; Postfix {version}")]


def _finding_of_warning(text: str, parameter_names: Sequence[str]) -> Finding:
    seen = _cut(_without_severity(text))
    show = "postconf -n (shows these warnings)"
    if found := _AT_LINE.fullmatch(seen):
        seen = f"{found['file']}:{found['line']}: {found['text']}"
    if "overriding earlier entry" in seen:
        earlier = re.search(r"overriding earlier entry: ([^=\s]+)\s*=", seen)
        is_main_cf = re.match(r"\S*main\.cf:", seen) is not None
        return warning(
            CHECK,
            f"{seen}: only the later line counts",
            "remove one of the two lines",
            (DuplicateEdit(earlier[1]),) if earlier and is_main_cf else (),
        )
    if "missing '}'" in seen:
        return error(CHECK, f"{seen}: Postfix does not start", "close the brace")
    if "must not start with whitespace" in seen:
        main_cf = Path(seen.partition(": ")[0])
        begin = next((number for number, line in logical_lines(main_cf) if line[0] in _BLANKS), 0)
        return warning(
            CHECK,
            f"{seen}: Postfix ignores it",
            "remove the blanks before the line",
            (IndentEdit(begin, is_continuation=False),) if begin and "main.cf" in seen else (),
        )
    if unused := re.search(r"(\S+): unused parameter: ([^=\s]+)=", seen):
        file, name = unused.groups()
        if number := _line_with(Path(file), f"{name}="):
            seen = seen.replace(f"{file}:", f"{file}:{number}:", 1)
        if nearest := nearest_word(name, parameter_names):
            is_in_main_cf = bool(number) and Path(file).name == "main.cf"
            return warning(
                CHECK,
                f"{seen}; did you mean {nearest}?",
                f"write {nearest}, or remove the line",
                (NameEdit(number, name, nearest),) if is_in_main_cf else (),
            )
        return hint(CHECK, f"{seen}: Postfix has no such parameter", show)
    if "undefined parameter" in seen:
        return warning(CHECK, seen, show)
    return hint(CHECK, seen, show)


def _findings_of_names(postfix: PostfixConfig) -> Iterator[Finding]:
    """Find names with characters that the eye does not see, e.g. copied from a web page."""
    file = Path(postfix.parameters.get("config_directory") or _DEFAULT_FOLDER) / "main.cf"
    for number, line in logical_lines(file):
        name, has_value, _ = line.partition("=")
        if has_value and not name.isascii():
            yield error(
                CHECK,
                f"{file}:{number}: the name “{_cut(name.strip())}” contains non-ASCII characters,"
                " so Postfix does not recognise the parameter; a byte order mark or a no-break"
                " space is invisible",
                f"delete the line and type it again; cat -A {file} (shows such characters)",
                _edits_of_name(number, name, postfix.parameters),
            )


def _edits_of_name(number: int, name: str, parameters: Mapping[str, str]) -> Edits:
    ascii_name = "".join(each for each in name if each.isascii()).strip()
    return (NameEdit(number, name.rstrip(), ascii_name),) if ascii_name in parameters else ()


def _findings_of_arguments(postfix: PostfixConfig) -> Iterator[Finding]:
    for service in postfix.services:
        if stray := " ".join(stray_arguments(service)):
            place = _place_of_service(postfix, service.name, service.kind)
            yield error(
                CHECK,
                f"{place}{service.name} {service.kind}: “{stray}” is not an option, so smtpd"
                " dies on each connection",
                "write -o { NAME = VALUE }, or a value with commas instead of blanks",
            )


def _findings_of_duplicates(postfix: PostfixConfig) -> Iterator[Finding]:
    counts = Counter(
        (each.name, each.kind) for each in (*postfix.services, *postfix.other_services)
    )
    for (name, kind), count in counts.items():
        if count > 1:
            yield warning(
                CHECK,
                f"{_place_of_service(postfix, name, kind)}{name} {kind} appears {count} times;"
                " Postfix uses the last one",
                "master.cf: remove the others",
            )


def _findings_of_programs(postfix: PostfixConfig) -> Iterator[Finding]:
    for service in (*postfix.services, *postfix.other_services):
        if service.program in postfix.missing_programs:
            place = _place_of_service(postfix, service.name, service.kind)
            folder = postfix.parameters.get("daemon_directory", "")
            yield error(
                CHECK,
                f"{place}{service.name} {service.kind}: {folder} has no program {service.program},"
                " so the service does not answer",
                "correct the last column, or install the program's package",
            )


def _findings_of_instances(postfix: PostfixConfig) -> Iterator[Finding]:
    if others := postfix.parameters.get("multi_instance_directories", ""):
        yield not_checked(
            CHECK,
            f"the other Postfix instances: {_cut(others)}",
            "greyd doctor --main-cf=FOLDER for each",
        )


def _place_of_service(postfix: PostfixConfig, name: str, kind: str) -> str:
    file = Path(postfix.parameters.get("config_directory") or _DEFAULT_FOLDER) / "master.cf"
    for number, line in logical_lines(file):
        if line.split()[:2] == [name, kind]:
            return f"{file}:{number}: "
    return "master.cf: "
