"""Checks every word of the restriction lists: smtpd answers 451 to an unknown one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.findings import Finding, error, not_checked, ok, warning
from greyd.doctor.postfix.config.policy_arguments import NO_START, fault_of_policy_argument
from greyd.doctor.postfix.config.restriction_table import (
    ACCESS_ACTIONS,
    RESTRICTIONS,
    Argument,
    Subject,
    nearest_restriction,
)
from greyd.doctor.postfix.config.restrictions import (
    AFTER_RCPT,
    BARE_TABLE,
    FINAL,
    FOR_ETRN,
    MAX_RESTRICTIONS,
    has_unbalanced_brace,
    parameter_of,
    parse_restrictions,
    reachable_count,
)
from greyd.doctor.postfix.config.tables import INDEX_SUFFIXES, split_table
from greyd.doctor.postfix.fix.edits import ListEdit, Place, moved, replaced
from greyd.doctor.postfix.fix.word_edits import edits_of_fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from greyd.doctor.postfix.config.postconf import PostfixConfig
    from greyd.doctor.postfix.config.restrictions import Restriction
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.postfix.smtpd import CheckedService

_CHECK = "postfix: restrictions"
_ANSWER = "smtpd answers 451 4.3.5 Server configuration error"

_SEARCH_ORDER_SINCE = (3, 5)

_KNOWN_IN_LIST = {
    "client": {Subject.CLIENT},
    "helo": {Subject.CLIENT, Subject.HELO},
    "sender": {Subject.CLIENT, Subject.HELO, Subject.SENDER},
    FOR_ETRN: {Subject.CLIENT, Subject.HELO, Subject.ETRN},
}
"""What smtpd knows when it evaluates a list, with ``smtpd_delay_reject = no``."""

_OF_MAIL = {Subject.CLIENT, Subject.HELO, Subject.SENDER, Subject.RECIPIENT}

_ENDING_RELAYING = (
    "reject_unauth_destination",
    "defer_unauth_destination",
    "reject",
    "defer",
    "defer_if_permit",
    "check_relay_domains",
)
"""The restrictions of which smtpd requires one, in the list for relaying or for recipients."""


_OWN_PERMITS = ("permit_mynetworks", "permit_sasl_authenticated")


def findings_of_words(service: CheckedService) -> list[Finding]:
    """Check that smtpd knows every word of a service's lists, and can use it there."""
    made = [*_findings_of_classes(service), *_findings_of_relay_protection(service)]
    for name, restrictions in service.lists.items():
        made += _findings_of_list(service, name, restrictions)
    # It is unknown which list an access table is in, and so what a bare table looks up.
    returned = [
        each for restrictions in _classes_outside_lists(service).values() for each in restrictions
    ]
    for each in returned:
        made += _findings_of_restriction(service, "recipient", each, is_reached=True)
    unique = list(dict.fromkeys(made))
    if unique:
        return unique
    version = service.postfix.parameters.get("mail_version", "")
    count = len(returned) + sum(map(len, service.lists.values()))
    return [
        ok(
            _CHECK,
            f"all {count} words are restrictions of Postfix {version}, each with its argument"
            " (what access tables return was not read)",
        )
    ]


def _findings_of_list(
    service: CheckedService, name: str, restrictions: Sequence[Restriction]
) -> Iterator[Finding]:
    parameter = parameter_of(name)
    if has_unbalanced_brace(service.value(parameter)) and service.postfix.has_braces:
        yield error(
            _CHECK,
            f"{parameter}: a brace is not closed, so {NO_START}, or {_ANSWER}",
            f"postconf {parameter} (shows the list)",
        )
    if len(restrictions) >= MAX_RESTRICTIONS:
        seen = f"{parameter}: only the first {MAX_RESTRICTIONS} restrictions were checked"
        yield not_checked(_CHECK, seen, "shorten the list")
    reachable = reachable_count(restrictions)
    for index, each in enumerate(restrictions):
        if index and (joined := _joined(service, restrictions[index - 1], each)):
            yield _finding_of_blank(name, restrictions[index - 1], each, joined)
        else:
            yield from _findings_of_restriction(service, name, each, is_reached=index < reachable)


def _joined(service: CheckedService, first: Restriction, second: Restriction) -> str:
    """Return the restriction that a blank split into two words, e.g. “permit mynetworks”."""
    if first.name not in FINAL or second.name in RESTRICTIONS or second.name in service.classes:
        return ""
    joined = f"{first.name}_{second.name}".lower()
    known = RESTRICTIONS.get(joined)
    return joined if known and known.is_in(service.postfix.known_version) else ""


def _finding_of_blank(
    list_name: str, first: Restriction, second: Restriction, joined: str
) -> Finding:
    what = {"permit": "permits", "reject": "rejects", "defer": "defers"}[first.name]
    return error(
        _CHECK,
        f"{_place(list_name, first)}: “{first} {second.name}” is two words, and the first"
        f" {what} all mail; did you mean {joined}?",
        f"main.cf: write {joined}",
        replaced(first.in_class or parameter_of(list_name), f"{first} {second.name}", joined),
    )


def _findings_of_restriction(
    service: CheckedService, list_name: str, restriction: Restriction, *, is_reached: bool
) -> Iterator[Finding]:
    where = _place(list_name, restriction)
    if fault := _fault_of(service, list_name, restriction):
        seen, remedy = fault
        edits = edits_of_fault(service, list_name, restriction)
        if not restriction.in_class and where in service.service.overrides:
            remedy = remedy.replace("main.cf:", f"master.cf, -o of {service.service.name}:")
        if is_reached:
            yield error(_CHECK, f"{where}: {seen}", remedy, edits)
        else:
            yield warning(_CHECK, f"{where}: {seen} if it were reached", remedy, edits)
    elif reason := _reason_without_effect(service, list_name, restriction):
        yield warning(
            _CHECK,
            f"{where}: {restriction} has no effect there: {reason}",
            "main.cf: move it to smtpd_recipient_restrictions"
            if RESTRICTIONS[restriction.name].subject is not Subject.ETRN
            else "main.cf: move it to smtpd_etrn_restrictions",
            _edits_of_place(list_name, restriction),
        )


def _edits_of_place(list_name: str, restriction: Restriction) -> Edits:
    """Return the edits that move a restriction to the list in which it has an effect."""
    if restriction.in_class:
        return ()
    is_etrn = RESTRICTIONS[restriction.name].subject is Subject.ETRN
    to = f"smtpd_{'etrn' if is_etrn else 'recipient'}_restrictions"
    return moved(parameter_of(list_name), restriction, ListEdit(to, new=(str(restriction),)))


def _place(list_name: str, restriction: Restriction) -> str:
    if restriction.in_class:
        return f"class {restriction.in_class}"
    return parameter_of(list_name)


def _fault_of(
    service: CheckedService, list_name: str, restriction: Restriction
) -> tuple[str, str] | None:
    """Return why smtpd can't evaluate a restriction, and the remedy; None if it can."""
    postfix = service.postfix
    if restriction.name == BARE_TABLE:
        if list_name in AFTER_RCPT:
            return (
                f"“{restriction}” does not say what to look up, so {_ANSWER}",
                f"main.cf: write check_sender_access {restriction.argument} or similar",
            )
        return _fault_of_table(postfix, restriction)
    known = RESTRICTIONS.get(restriction.name)
    if known is None or not known.is_in(postfix.known_version):
        return _fault_of_unknown(service, restriction.name)
    return _fault_of_argument(postfix, restriction)


def _fault_of_unknown(service: CheckedService, word: str) -> tuple[str, str]:
    postfix = service.postfix
    version = ".".join(map(str, postfix.known_version))
    if word in service.classes:
        return (
            f"the class {word} contains itself, so smtpd dies on every mail",
            f"main.cf: remove {word} from the class",
        )
    if known := RESTRICTIONS.get(word):
        if known.since > postfix.known_version:
            needed = ".".join(map(str, known.since))
            seen = f"{word!r} needs Postfix {needed}, but this is {version}"
        else:
            seen = f"Postfix {'.'.join(map(str, known.until or ()))} removed {word!r}"
        return f"{seen}: {_ANSWER}", f"main.cf: remove {word}"
    if word.startswith("#"):
        return (
            f"{word!r} does not begin a comment inside a line, but is a word: {_ANSWER}",
            "main.cf: put the comment on a line of its own",
        )
    if word == "\\":
        return (
            f"'\\' does not continue a line, but is a word of the list: {_ANSWER}",
            "main.cf: remove the backslashes; a line that begins with blanks continues the one"
            " above",
        )
    if word.lower() in ACCESS_ACTIONS:
        return (
            f"{word!r} is an action for access tables, not a restriction: {_ANSWER}",
            f"main.cf: remove {word} (“permit” ends a list; without it the next word is evaluated)",
        )
    nearest = nearest_restriction(word, postfix.known_version, service.classes)
    return (
        f"{word!r} is neither a restriction of Postfix {version} nor a class: {_ANSWER}"
        + (f"; did you mean {nearest}?" if nearest else ""),
        f"main.cf: write {nearest} instead of {word}"
        if nearest
        else "correct the word, or add the class to smtpd_restriction_classes",
    )


# Arguments ----------------------------------------------------------------------------------------


def _fault_of_argument(postfix: PostfixConfig, restriction: Restriction) -> tuple[str, str] | None:
    name, argument = restriction.name, restriction.argument
    kind = RESTRICTIONS[name].argument
    follows = f"but “{argument}” follows" if argument else "but the list ends there"
    seen = f"{name} needs {kind.value}, {follows}: {_ANSWER}"
    remedy = f"main.cf: write {name} with its argument"
    if kind is Argument.TABLE:
        return (seen, remedy) if ":" not in argument else _fault_of_table(postfix, restriction)
    if kind is Argument.POLICY and argument:
        fault = fault_of_policy_argument(argument, postfix.known_version)
        if fault and re.fullmatch(r"[\w.-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}", argument):
            remedy = f"main.cf: {name} inet:{argument}"
        return (fault, remedy) if fault else None
    if kind is Argument.POLICY:
        return seen, remedy
    if kind is Argument.NUMBER and not re.fullmatch("[0-9]+", argument):
        return seen, remedy
    if kind is Argument.DOMAIN and not _is_domain(argument):
        return f"{name} needs {kind.value}, {follows}: it finds nothing", remedy
    return None


def _is_domain(argument: str) -> bool:
    domain = argument.partition("=")[0]
    return "." in domain and ":" not in domain and argument.lower() not in RESTRICTIONS


def _fault_of_table(postfix: PostfixConfig, restriction: Restriction) -> tuple[str, str] | None:
    argument = restriction.argument
    if argument.startswith("{") and (
        restriction.name != "check_ccert_access" or postfix.known_version < _SEARCH_ORDER_SINCE
    ):
        return (
            f"{restriction}: only check_ccert_access takes a table in braces, since Postfix 3.5:"
            f" {_ANSWER}",
            "main.cf: write the table without braces",
        )
    types, path = split_table(argument)
    if types[0] in RESTRICTIONS:
        rest = argument.partition(":")[2]
        return (
            f"“{argument}” lacks a blank after {types[0]}: {_ANSWER}",
            f"main.cf: {types[0]} {rest}",
        )
    if types[0] == "inet":
        return (
            f"“{argument}” without check_policy_service is a table of an unknown type: {_ANSWER}",
            f"main.cf: check_policy_service {argument}",
        )
    if postfix.table_types and (unknown := [t for t in types if t not in postfix.table_types]):
        return (
            f"{argument}: this Postfix has no tables of type {unknown[0]!r}: {_ANSWER}",
            "postconf -m (shows the types); a type may need a package, such as postfix-pcre",
        )
    if path in postfix.missing_files:
        is_indexed = types[-1] in INDEX_SUFFIXES
        return (
            f"{argument}: no such file as {path}: {_ANSWER}",
            f"postmap {argument}" if is_indexed else f"create {path}, or correct the path",
        )
    return None


# Lists and classes --------------------------------------------------------------------------------


def _reason_without_effect(
    service: CheckedService, list_name: str, restriction: Restriction
) -> str:
    """Return why a restriction does nothing in a list; empty if it does something."""
    known = RESTRICTIONS.get(restriction.name)
    if known is None or known.subject is Subject.ANY:
        return ""
    if known.subject is Subject.ETRN:
        return "" if list_name == FOR_ETRN else "it is for the command ETRN"
    if list_name in AFTER_RCPT and known.subject is Subject.RECIPIENT:
        return "it sees no recipient if the mail has several"
    is_delayed = service.value("smtpd_delay_reject").lower() == "yes" and list_name != FOR_ETRN
    subjects = _OF_MAIL if is_delayed else _KNOWN_IN_LIST.get(list_name, _OF_MAIL)
    if known.subject in subjects:
        return ""
    return f"the {known.subject.value} is not known yet" + (
        "" if list_name == FOR_ETRN else " (smtpd_delay_reject = no)"
    )


def _findings_of_classes(service: CheckedService) -> Iterator[Finding]:
    classes = service.classes
    for name in service.postfix.class_names(service.service):
        if not classes.get(name):
            yield error(
                _CHECK,
                f"smtpd_restriction_classes: the class {name} has no definition, so {NO_START}",
                f"main.cf: {name} = RESTRICTIONS, or remove it from smtpd_restriction_classes",
            )
        elif name.lower() in RESTRICTIONS:
            yield warning(
                _CHECK,
                f"smtpd_restriction_classes: {name} is also a restriction, and smtpd uses that one",
                "main.cf: rename the class",
            )


def _findings_of_relay_protection(service: CheckedService) -> Iterator[Finding]:
    if any(_ends_relaying(service.lists[name]) for name in ("relay", "recipient")):
        return
    yield error(
        _CHECK,
        "smtpd_relay_restrictions and smtpd_recipient_restrictions have none of"
        f" {', '.join(_ENDING_RELAYING[:-1])}, so {NO_START}",
        "main.cf: reject_unauth_destination in smtpd_relay_restrictions",
        (
            ListEdit("smtpd_relay_restrictions", new=_OWN_PERMITS, place=Place.FIRST),
            ListEdit("smtpd_relay_restrictions", new=("reject_unauth_destination",)),
        ),
    )


def _ends_relaying(restrictions: Sequence[Restriction]) -> bool:
    for each in restrictions:
        if each.only_warns:
            continue
        if each.name == "permit":
            return False
        if each.name in _ENDING_RELAYING:
            return True
    return False


def _classes_outside_lists(service: CheckedService) -> dict[str, list[Restriction]]:
    """Return the classes that no list names, with their content: access tables may return them."""
    named = {each.in_class for listed in service.lists.values() for each in listed}
    return {
        name: parse_restrictions(name, service.classes, braces=service.postfix.has_braces)
        for name in service.classes
        if name not in named and name.lower() not in RESTRICTIONS
    }
