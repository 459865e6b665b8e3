"""Directs edits to master.cf where a service sets the parameter with ``-o``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from greyd.doctor.postfix.fix.edits import ListEdit, ValueEdit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.doctor.findings import ConfigChange, Finding
    from greyd.doctor.postfix.config.master_cf import MasterService


def bound(findings: Sequence[Finding], service: MasterService) -> list[Finding]:
    """Return the findings about a service; their edits name it if it overrides the parameter."""
    return [
        replace(each, edits=tuple(_bound(edit, service) for edit in each.edits))
        if each.edits
        else each
        for each in findings
    ]


def _bound(edit: ConfigChange, service: MasterService) -> ConfigChange:
    if not isinstance(edit, ListEdit | ValueEdit) or edit.parameter not in service.overrides:
        return edit
    return replace(edit, service=f"{service.name}/{service.kind}")
