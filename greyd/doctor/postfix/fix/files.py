"""Applies edits to the texts of main.cf and master.cf together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.doctor.postfix.config.restrictions import parse_restrictions
from greyd.doctor.postfix.fix.edits import (
    ColumnEdit,
    CommentEdit,
    DuplicateEdit,
    IndentEdit,
    ListEdit,
    NameEdit,
    NotFoundError,
    ValueEdit,
)
from greyd.doctor.postfix.fix.main_cf_text import LaidOutList, MainCfText
from greyd.doctor.postfix.fix.master_cf_text import MasterCfText, PlainList, UneditableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from greyd.doctor.findings import ConfigChange

_MAX_DEPTH = 5
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|\((\w+)\)|(\w+))")


@dataclass(frozen=True, slots=True)
class Target:
    """What an edit has changed: a parameter or a column, of main.cf or of a service."""

    name: str
    service: str = ""
    is_column: bool = False


@dataclass
class PostfixFiles:
    """The texts of both files, and what applies where they set nothing."""

    main: MainCfText
    master: MasterCfText
    effective: Mapping[str, str] = field(default_factory=dict)
    """The values in force in main.cf, with references resolved, by parameter."""
    overrides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The values that ``-o`` sets in master.cf, by service (``NAME/TYPE``) and parameter."""

    def apply(self, edit: ConfigChange) -> Target | None:
        """Apply an edit; return what it changed, if a command can set that by its name.

        Raises:
            UneditableError: the setting is not in the text in a form that can be changed safely.
        """
        match edit:
            case ListEdit(parameter=name, service=""):
                return self._edit_list(name, edit, _MAX_DEPTH)
            case ListEdit(parameter=name, service=service):
                return self._edit_option(name, service, edit)
            case ValueEdit(parameter=name, value=value, service=service):
                return self._set_value(name, value, service)
            case ColumnEdit(service=service, column=column, value=value):
                self.master.set_column(service, column, value)
                return Target(column, service, is_column=True)
            case CommentEdit(parameter=name):
                return self._move_comments(name)
            case DuplicateEdit(parameter=name):
                self._remove_earlier(name)
            case IndentEdit() | NameEdit():
                self._edit_line(edit)
        return None

    def _set_value(self, name: str, value: str, service: str) -> Target:
        if service:
            self.master.set_option(service, name, value)
            self._override(service, name, value)
        else:
            self.main.set_value(name, value)
        return Target(name, service)

    def _move_comments(self, name: str) -> Target:
        if (entry := self.main.entry(name)) is None:
            raise UneditableError(f"main.cf does not set {name}")
        self.main.move_end_comments(entry)
        return Target(name)

    def _remove_earlier(self, name: str) -> None:
        earlier = [each for each in self.main.entries() if each.name == name][:-1]
        for entry in reversed(earlier):
            self.main.remove(entry)

    def _edit_line(self, edit: IndentEdit | NameEdit) -> None:
        text = self.main.lines[edit.line - 1]
        if isinstance(edit, NameEdit):
            if edit.old not in text:
                raise UneditableError(f"main.cf:{edit.line} does not contain {edit.old}")
            changed = edit.new + text[text.index(edit.old) + len(edit.old) :]
        else:
            changed = f"{'    ' if edit.is_continuation else ''}{text.lstrip()}"
        self.main.lines[edit.line - 1] = changed

    def _edit_list(self, name: str, edit: ListEdit, depth: int) -> Target:
        """Change a list where its text is: in the parameter itself, or in one that it refers to."""
        if (entry := self.main.entry(name)) is None:
            plain = PlainList(self.effective.get(name, ""))
            try:
                edit.apply_to(plain)
            except NotFoundError as error:
                raise UneditableError(f"main.cf does not set {name}; no {error} in it") from None
            restrictions = [str(each) for each in parse_restrictions(plain.value, {})]
            self.main.append_list(name, restrictions)
            return Target(name)
        words = LaidOutList(self.main, entry)
        try:
            edit.apply_to(words)
        except NotFoundError as error:
            for word in words.words if depth else ():
                if (found := _REFERENCE.fullmatch(word)) is None:
                    continue
                referred = next(filter(None, found.groups()))
                if self.main.entry(referred) is not None:
                    try:
                        return self._edit_list(referred, edit, depth - 1)
                    except UneditableError:
                        continue
            raise UneditableError(f"{name} does not contain “{error}” itself") from None
        return Target(name)

    def _edit_option(self, name: str, service: str, edit: ListEdit) -> Target:
        value = self.overrides.get(service, {}).get(name, "")
        if "$" in value:
            raise UneditableError(f"-o {name} of {service} refers to another parameter")
        plain = PlainList(value)
        try:
            edit.apply_to(plain)
        except NotFoundError as error:
            raise UneditableError(f"-o {name} of {service} does not contain “{error}”") from None
        is_flat = not any("{" in each or ":" in each for each in plain.words)
        self.master.set_option(service, name, ",".join(plain.words) if is_flat else plain.value)
        self._override(service, name, plain.value)
        return Target(name, service)

    def _override(self, service: str, name: str, value: str) -> None:
        own = {**self.overrides.get(service, {}), name: value}
        self.overrides = {**self.overrides, service: own}

    def value_of(self, target: Target) -> str:
        """Return the value of a target on one line, as a command would set it."""
        if target.service:
            return self.overrides.get(target.service, {}).get(target.name, "")
        return (self.main.value(target.name) or "").rstrip(" ,")
