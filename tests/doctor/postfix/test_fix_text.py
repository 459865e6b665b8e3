"""How ``greyd doctor --fix`` changes the text of main.cf and master.cf."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from greyd.doctor.postfix.fix.edits import (
    ColumnEdit,
    CommentEdit,
    DuplicateEdit,
    IndentEdit,
    ListEdit,
    NameEdit,
    Place,
    ValueEdit,
    moved,
    replaced,
)
from greyd.doctor.postfix.fix.files import PostfixFiles, Target
from greyd.doctor.postfix.fix.main_cf_text import MainCfText
from greyd.doctor.postfix.fix.master_cf_text import MasterCfText, UneditableError
from tests.doctor.postfix.configs import LINE

if TYPE_CHECKING:
    from greyd.doctor.findings import ConfigChange

R = "smtpd_recipient_restrictions"

MASTER = """\
# service type  private unpriv  chroot
smtp      inet  n       -       y       -       -       smtpd
  -o smtpd_recipient_restrictions=permit_mynetworks,reject_unauth_destination
  # a comment
  -o { smtpd_milters = inet:a:1, inet:b:2 }
pickup    unix  n       -       y       60      1       pickup
"""


def files(main: str, **effective: str) -> PostfixFiles:
    overrides = {
        "smtp/inet": {
            R: "permit_mynetworks,reject_unauth_destination",
            "smtpd_milters": "inet:a:1, inet:b:2",
        }
    }
    return PostfixFiles(MainCfText(main), MasterCfText(MASTER), effective, overrides)


LIST = f"""\
# above
{R} =
    permit_mynetworks,
    # no relaying
    reject_unauth_destination,

    # what others say
    reject_rbl_client bl.example
next = 1
"""

CASES: list[tuple[str, tuple[ConfigChange, ...], dict[str, str]]] = [
    # A restriction at the end gets the comma and the indentation of the others.
    (LIST, (ListEdit(R, new=(LINE,)),),
     {"    reject_rbl_client bl.example": f"    reject_rbl_client bl.example,\n    {LINE}"}),
    # Before another one it also precedes that one's comment.
    (LIST, (ListEdit(R, new=("reject_x",), before="reject_rbl_client bl.example"),),
     {"    # what others say": "    reject_x,\n    # what others say"}),
    (LIST, (ListEdit(R, new=("permit_sasl_authenticated",), place=Place.FIRST),),
     {"    # no relaying": "    permit_sasl_authenticated,\n    # no relaying"}),
    # A removed one leaves its comment.
    (LIST, replaced(R, "reject_unauth_destination"), {"    reject_unauth_destination,\n": ""}),
    (LIST, replaced(R, "reject_rbl_client bl.example", "reject_rbl_client bl.example=127.0.0.2"),
     {"bl.example": "bl.example=127.0.0.2"}),
    (LIST, replaced(R, "REJECT_UNAUTH_DESTINATION", "reject"),
     {"reject_unauth_destination": "reject"}),
    (LIST, moved(R, "reject_rbl_client bl.example",
                 ListEdit(R, new=("reject_rbl_client bl.example",),
                          before="reject_unauth_destination")),
     {"    # no relaying": "    reject_rbl_client bl.example,\n    # no relaying",
      "    reject_rbl_client bl.example\nnext": "next"}),
    # A list on one line stays on it, with its own separators.
    (f"{R} = permit_mynetworks reject_unauth_destination\n", (ListEdit(R, new=("permit_x",)),),
     {"destination": "destination permit_x"}),
    (f"{R} = permit_mynetworks, reject_unauth_destination, permit\n", (ListEdit(R, new=("x_y",)),),
     {"permit\n": "x_y, permit\n"}),
    (f"{R} = permit_mynetworks, bogus, reject\n", replaced(R, "bogus"), {"bogus, ": ""}),
    (f"{R} = bogus, reject\n", replaced(R, "bogus"), {"bogus, ": ""}),
    (f"{R} = reject, bogus\n", replaced(R, "bogus"), {", bogus": ""}),
    (f"{R} =\n\treject, bogus\n", replaced(R, "bogus"), {", bogus": ""}),
    # A name and its argument may be on two lines.
    (f"{R} =\n    check_policy_service\n      inet:a:1,\n    permit\n",
     replaced(R, "check_policy_service inet:a:1"),
     {"    check_policy_service\n      inet:a:1,\n": ""}),
    # What is there already is not inserted again.
    (LIST, (ListEdit(R, new=("permit_mynetworks",), place=Place.FIRST),), {}),
    # Lines that end in CR LF get others that do.
    (LIST.replace("\n", "\r\n"), (ListEdit(R, new=("a_b",)),),
     {"bl.example\r\n": "bl.example,\r\n    a_b\r\n"}),
    # Parameters that main.cf does not set are added at its end.
    ("a = 1\n", (ListEdit(R, new=(LINE,)),), {"a = 1\n": f"a = 1\n{R} =\n    {LINE}\n"}),
    ("a = 1", (ValueEdit("b", "2"),), {"a = 1": "a = 1\nb = 2\n"}),
    ("a = 1\n  2\n# x\nb = 3\n", (ValueEdit("a", "5"),), {"a = 1\n  2\n": "a = 5\n"}),
    # The list that the parameter refers to is changed.
    (f"checks = reject_x, bogus\n{R} = permit_mynetworks, $checks\n", replaced(R, "bogus", "fine"),
     {"bogus": "fine"}),
    # Lines and names.
    (f"{R} = permit_mynetworks,\nreject\n", (IndentEdit(2, is_continuation=True),),
     {"\nreject": "\n    reject"}),
    ("  a = 1\n", (IndentEdit(1, is_continuation=False),), {"  a": "a"}),
    ("smtpd_recipent = 1\n", (NameEdit(1, "smtpd_recipent", "right"),),
     {"smtpd_recipent": "right"}),
    ("a = 1\n  2\nb = 1\na = 3\n", (DuplicateEdit("a"),), {"a = 1\n  2\n": ""}),
    (f"{R} = permit_mynetworks, # own\n    reject # all\n", (CommentEdit(R),),
     {f"{R} = permit_mynetworks, # own\n    reject # all":
      f"# own\n{R} = permit_mynetworks,\n    # all\n    reject"}),
]  # fmt: skip


@pytest.mark.parametrize(("main", "edits", "changes"), CASES, ids=range(len(CASES)))
def test_an_edit_changes_its_words_and_no_other_line(
    main: str, edits: tuple[ConfigChange, ...], changes: dict[str, str]
) -> None:
    wanted = main
    for old, new in changes.items():
        assert wanted.count(old) == 1
        wanted = wanted.replace(old, new)
    changed = files(main)
    for edit in edits:
        changed.apply(edit)
    assert changed.main.text == wanted
    assert changed.master.text == MASTER


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (ColumnEdit("smtp/inet", "chroot", "n"),
         "-       y       -       -", "-       n       -       -"),
        (ListEdit(R, new=("permit_x",), service="smtp/inet"),
         "_destination\n", "_destination,permit_x\n"),
        (ListEdit(R, new=("check_policy_service inet:a:1",), service="smtp/inet"),
         f"{R}=permit_mynetworks,reject_unauth_destination",
         f"{{ {R} = permit_mynetworks reject_unauth_destination check_policy_service inet:a:1 }}"),
        (ValueEdit("smtpd_milters", "inet:a:1", "smtp/inet"),
         "{ smtpd_milters = inet:a:1, inet:b:2 }", "smtpd_milters=inet:a:1"),
    ],
)  # fmt: skip
def test_an_edit_of_a_service_changes_its_word_of_master_cf(
    edit: ConfigChange, old: str, new: str
) -> None:
    changed = files("a = 1\n")
    changed.apply(edit)
    first = MASTER.index(old)
    assert changed.master.text == MASTER[:first] + new + MASTER[first + len(old) :]
    assert changed.main.text == "a = 1\n"


@pytest.mark.parametrize(
    "edit",
    [
        ListEdit(R, old="not_there"),
        ListEdit(R, new=("x",), before="not_there"),
        ListEdit(R, old="not_there", service="smtp/inet"),
        ValueEdit("smtpd_delay_reject", "yes", "smtp/inet"),
        ColumnEdit("smtps/inet", "chroot", "n"),
        CommentEdit("not_set"),
    ],
)
def test_what_is_not_in_the_text_is_refused(edit: ConfigChange) -> None:
    changed = files(LIST)
    with pytest.raises(UneditableError):
        changed.apply(edit)
    assert (changed.main.text, changed.master.text) == (LIST, MASTER)


def test_an_edit_names_what_a_command_has_to_set() -> None:
    changed = files(f"checks = bogus,\n    # x\n    permit,\n{R} = $checks\n")
    assert changed.apply(ListEdit(R, old="bogus", new=("a b",))) == Target("checks")
    assert changed.value_of(Target("checks")) == "a b, permit"
