"""The edits for words of a restriction list that smtpd does not know or can't use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restriction_table import (
    ACCESS_ACTIONS,
    RESTRICTIONS,
    Argument,
    nearest_restriction,
)
from greyd.doctor.postfix.config.restrictions import AFTER_RCPT, BARE_TABLE, parameter_of
from greyd.doctor.postfix.config.tables import split_table
from greyd.doctor.postfix.fix.edits import CommentEdit, replaced

if TYPE_CHECKING:
    from greyd.doctor.postfix.config.restrictions import Restriction
    from greyd.doctor.postfix.fix.edits import Edits
    from greyd.doctor.postfix.smtpd import CheckedService

_HOST_AND_PORT = re.compile(r"[\w.-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")


def edits_of_fault(service: CheckedService, list_name: str, restriction: Restriction) -> Edits:
    """Return the edits that correct a restriction; none if what was meant is uncertain."""
    parameter = restriction.in_class or parameter_of(list_name)
    name, argument = restriction.name, restriction.argument
    if name == BARE_TABLE:
        return _edits_of_table(list_name, parameter, restriction)
    known = RESTRICTIONS.get(name)
    if known is None or not known.is_in(service.postfix.known_version):
        return _edits_of_unknown(service, parameter, name)
    if known.argument is Argument.POLICY and _HOST_AND_PORT.fullmatch(argument):
        return replaced(parameter, restriction, f"{name} inet:{argument}")
    if known.argument is Argument.TABLE and ":" in argument:
        return _edits_of_table(list_name, parameter, restriction)
    return ()


def _edits_of_unknown(service: CheckedService, parameter: str, word: str) -> Edits:
    if word.startswith("#"):
        return (CommentEdit(parameter),)
    if word == "\\" or word.lower() in ACCESS_ACTIONS:
        return replaced(parameter, word)
    known = RESTRICTIONS.get(word)
    if word in service.classes or (known and known.argument is not Argument.NONE):
        return ()
    if known is not None:
        return replaced(parameter, word)
    nearest = nearest_restriction(word, service.postfix.known_version, service.classes)
    return replaced(parameter, word, nearest) if nearest else ()


def _edits_of_table(list_name: str, parameter: str, restriction: Restriction) -> Edits:
    argument = restriction.argument
    if "{" in argument:
        # What is in the braces has more parts than a table, e.g. a whole check_policy_service.
        return ()
    kind, _, rest = argument.partition(":")
    first = split_table(argument)[0][0]
    if first in RESTRICTIONS and rest:
        return replaced(parameter, restriction, f"{first} {rest}")
    if kind == "inet" and restriction.name == BARE_TABLE and list_name not in AFTER_RCPT:
        return replaced(parameter, restriction, f"check_policy_service {argument}")
    return ()
