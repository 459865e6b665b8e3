"""What the doctor says of restrictions and master.cf is what the installed smtpd does."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from greyd.doctor.findings import FindingState as State
from greyd.doctor.postfix.config.postconf import read_config
from greyd.doctor.postfix.config.restriction_table import RESTRICTIONS, Argument
from greyd.doctor.postfix.config_files import findings_of_files
from greyd.doctor.postfix.smtpd import CheckedService
from greyd.doctor.postfix.words import findings_of_words
from tests.integration.postfix import SMTPD, postfix
from tests.processes import free_port, program

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.integration

ARGUMENTS = {
    Argument.NONE: "",
    Argument.TABLE: "static:DUNNO",
    Argument.POLICY: "inet:127.0.0.1:9",
    Argument.DOMAIN: "bl.example.org",
    Argument.NUMBER: "0",
}

FORMS = [
    "PERMIT_MyNetworks",
    "check_ccert_access { static:DUNNO, { search_order = subject_cn } }",
    "check_client_access,static:DUNNO",
    "check_policy_service { inet:127.0.0.1:9, timeout=1s, { default_action = DUNNO } }",
    "check_sender_access inline:{a=OK}",
    "reject_rbl_client bl.example.org=127.0.0.[2..4]",
    "warn_if_reject reject_unknown_client_hostname",
    "permit_mynetworks,,,permit_auth_destination",
]

WRONG = [
    "permit_mynetwork", "check_policy_servce", "rejekt_all", "reject_unauth_destinatio",
    "OK", "DUNNO", "discard", "prepend", "450", "permit_all", "rejected", "deferred", "checks",
    "permit_", "check_", "check_x_access static:DUNNO", "reject_rhsbl_x bl.example.org",
    "check_client_access", "check_client_access permit", "check_policy_service",
    "sleep", "sleep soon", "sleep permit",
    "check_client_access { static:DUNNO, { search_order = subject_cn } }",
    "check_sender_access { static:DUNNO }",
    "check_sasl_acces static:DUNNO", "check_helo_a static:DUNNO", "no_such_class",
    "check_client_access nosuchtype:/etc/x", "check_client_access texthash:/nonexistent/file",
]  # fmt: skip

BARE = ["static:DUNNO"]

LISTS = ("client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn")


def class_lines(words: list[str]) -> str:
    """Return a class of main.cf for each list of words."""
    names = " ".join(f"case{n}" for n in range(len(words)))
    lines = [f"case{n} = {text}\n" for n, text in enumerate(words)]
    return f"smtpd_restriction_classes = {names}\n" + "".join(lines)


def answer_in(list_name: str, port: int, number: int) -> str:
    """Return smtpd's answer where the list evaluates one class."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.com", timeout=30) as smtp:
        smtp.ehlo()
        if list_name == "etrn":
            code, text = smtp.docmd("ETRN", f"case{number}.example.org")
            return f"{code} {text.decode()}"
        smtp.mail("alice@example.com")
        code, text = smtp.rcpt(f"case{number}@example.org")
        if list_name in ("data", "end_of_data"):
            assert code == 250, text
            code, text = smtp.docmd("DATA")
            if list_name == "end_of_data":
                assert code == 354, text
                smtp.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                code, text = smtp.getreply()
            elif code == 354:
                smtp.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                smtp.getreply()
        return f"{code} {text.decode()}"


def faulty_cases(etc: Path, cases: list[str]) -> set[str]:
    """Return the classes for which the doctor says that smtpd answers with 451."""
    config = asyncio.run(read_config(str(etc)))
    found = findings_of_words(CheckedService(config, config.services[0], ()))
    seen = "\n".join(each.seen for each in found if "smtpd answers 451" in each.seen)
    return {case for n, case in enumerate(cases) if f"class case{n}: " in seen}


def test_every_word_is_judged_as_the_installed_smtpd_does(tmp_path: Path) -> None:
    program("postconf")
    output = subprocess.run(
        [program("postconf"), "-dh", "mail_version"], capture_output=True, text=True, check=True
    ).stdout
    major, minor = map(int, re.findall("[0-9]+", output)[:2])
    words = {
        f"{each.name} {ARGUMENTS[each.argument]}".strip(): each.is_in((major, minor))
        for each in RESTRICTIONS.values()
    }
    cases = [*words, *FORMS, *WRONG, *BARE]
    wrong = {*WRONG, *(word for word, is_known in words.items() if not is_known)}
    table = tmp_path / "cases"
    table.write_text(
        "".join(f"case{n}@example.org case{n}\ncase{n}.example.org case{n}\n"
                for n in range(len(cases)))
    )  # fmt: skip
    tmp_path.chmod(0o755)
    lines = (
        class_lines(cases)
        + "smtpd_error_sleep_time = 0\nsmtpd_client_connection_count_limit = 0\n"
        + "smtpd_relay_restrictions = reject_unauth_destination\n"
    )
    by_list = dict.fromkeys(LISTS, f"check_recipient_access texthash:{table}")
    by_list["etrn"] = f"check_etrn_access texthash:{table}"
    with postfix(tmp_path, main_cf=lines, **dict.fromkeys(LISTS, "")) as mail:
        master = mail.etc / "master.cf"
        text = master.read_text()
        for name in LISTS:
            old = SMTPD.format(port=mail.ports[name])
            assert old in text
            lists = by_list[name]
            if name == "relay":
                lists += ", reject_unauth_destination"
            text = text.replace(old, f"{old}  -o {{ smtpd_{name}_restrictions = {lists} }}\n")
        master.write_text(text)
        reload(mail.etc)
        assert faulty_cases(mail.etc, cases) == wrong
        for name in LISTS:
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(
                    lambda n, name=name: answer_in(name, mail.ports[name], n),
                    range(len(cases)),
                ))  # fmt: skip
            refused = {
                case for case, answer in zip(cases, answers, strict=True)
                if "Server configuration error" in answer
            }  # fmt: skip
            if name == "etrn":
                # Without a sender smtpd does not look up the table.
                refused.add("check_sender_access { static:DUNNO }")
            bare = BARE if name in ("data", "end_of_data") else ()
            assert refused == {*wrong, *bare}, name


def reload(etc: Path) -> None:
    """Let the instance read its configuration again."""
    subprocess.run([program("postfix"), "-c", str(etc), "reload"], capture_output=True, timeout=30,
                   check=True)  # fmt: skip


# smtpd that does not start ------------------------------------------------------------------------

POLICY = "-o {{ smtpd_recipient_restrictions = reject_unauth_destination, {} }}"

DYING = [
    POLICY.format("check_policy_service permit"),
    POLICY.format("check_policy_service foo:bar"),
    POLICY.format("check_policy_service tcp:127.0.0.1:9"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, timout=10s }"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, timeout=soon }"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, try_limit=few }"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, timeout }"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, default_action= }"),
    POLICY.format("check_policy_service { }"),
    POLICY.format("check_policy_service inet:"),
    POLICY.format("check_policy_service unix:"),
    POLICY.format("check_policy_service { inet:127.0.0.1:9, timeout=0 }"),
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit_mynetworks",
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=",
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit,reject",
    "-o smtpd_relay_restrictions= -o { smtpd_recipient_restrictions = warn_if_reject reject }",
    "-o smtpd_restriction_classes=nosuchclass",
    "-o smtpd_client_restrictions=permit_mynetworks, reject",
    "-o smtpd_client_restrictions = permit_mynetworks",
    "smtpd_client_restrictions=permit_mynetworks",
    "-o smtpd_client_restrictions",
]

LIVING = [
    "",
    POLICY.format(
        "check_policy_service { inet:127.0.0.1:9, timeout=10s, { default_action = DUNNO } }"
    ),
    POLICY.format("check_policy_service { inet:127.0.0.1:9 timeout=10, policy_context=x }"),
    POLICY.format(
        "check_policy_service { inet:127.0.0.1:9, max_idle=1m, max_ttl=1h, request_limit=9 }"
    ),
    POLICY.format("check_policy_service { unix:private/x, try_limit=1, retry_delay=2s }"),
    POLICY.format("check_policy_service local:private/x"),
    POLICY.format("check_policy_service inet:9"),
    POLICY.format("check_policy_service inet:[::1]:9"),
    POLICY.format("check_policy_service inet:nosuchhost.example.org:9"),
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=reject",
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit_mynetworks,defer",
    "-o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=defer_if_permit",
    "-o smtpd_relay_restrictions=defer_unauth_destination -o smtpd_recipient_restrictions=",
    "-o smtpd_client_restrictions=permit_mynetworks,reject -v",
    "-o { smtpd_client_restrictions = permit_mynetworks, reject }",
]


def greets(port: int) -> bool:
    """Whether smtpd starts and answers a client."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.settimeout(10)
            return client.recv(100).startswith(b"220")
    except OSError:
        return False


def test_only_what_makes_smtpd_die_is_an_error(tmp_path: Path) -> None:
    program("postconf")
    cases = [*DYING, *LIVING]
    ports = [free_port() for _ in cases]
    services = "".join(
        SMTPD.format(port=port) + (f"  {text}\n" if text else "")
        for port, text in zip(ports, cases, strict=True)
    )
    with postfix(tmp_path) as mail:
        master = mail.etc / "master.cf"
        master.write_text(master.read_text() + services)
        config = asyncio.run(read_config(str(mail.etc)))
        reload(mail.etc)
        with ThreadPoolExecutor(len(cases)) as pool:
            dying = [not each for each in pool.map(greets, ports)]
        assert [case for case, dies in zip(cases, dying, strict=True) if dies] == DYING
        of_files = "\n".join(
            each.seen for each in findings_of_files(config) if each.state is State.ERROR
        )
        judged = []
        for port, case in zip(ports, cases, strict=True):
            (service,) = [each for each in config.services if each.port == str(port)]
            found = findings_of_words(CheckedService(config, service, ()))
            if f":{port} inet" in of_files or any(each.state is State.ERROR for each in found):
                judged.append(case)
        assert judged == DYING
