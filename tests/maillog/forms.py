"""Forms of log lines: what programs, daemons and people put around a message."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Form = Callable[[str, str], str]
    """Returns the line for a message and the program that logs it."""

DECISION = (
    "action=greylist, reason=new, client_name=mx.example.com, client_address=192.0.2.7,"
    " sender=alice@example.com, recipient=bob@example.org"
)
MESSAGES = {
    "postgrey": DECISION,
    "postgrey, prefix length": DECISION.replace("192.0.2.7", "192.0.2.7/32"),
    "early": DECISION.replace("reason=new", "reason=early-retry (38s missing)"),
    "pass": DECISION.replace("greylist, reason=new", "pass, reason=triplet found, delay=400"),
    "queue ID": f"4F1A2B3C4D: {DECISION}",
    "greyd": f"{DECISION}, identity=example.com, signals=no_ptr+helo_is_ours",
    "JSON": json.dumps(
        {
            "time": "2026-11-24T12:00:00.000Z",
            "level": "info",
            "action": "greylist",
            "reason": "new",
            "client_name": "mx.example.com",
            "client_address": "192.0.2.7",
            "sender": "alice@example.com",
            "recipient": "bob@example.org",
        }
    ),
}
"""Decisions of one mail, of greyd and postgrey."""

REJECTION = (
    "NOQUEUE: reject: RCPT from mx.example.com[192.0.2.7]: 450 4.2.0 <bob@example.org>: Recipient"
    " address rejected: Greylisted; from=<alice@example.com> to=<bob@example.org> proto=ESMTP"
    " helo=<mx.example.com>"
)


def _journal(message: str, program: str) -> str:
    return json.dumps(
        {
            "__REALTIME_TIMESTAMP": "1795521600000000",
            "SYSLOG_IDENTIFIER": program,
            "MESSAGE": message,
        }
    )


def _unit(program: str) -> str:
    return "postfix@-" if program.startswith("postfix") else program


TEXT_FORMS: dict[str, Form] = {
    # RFC 3164
    "rsyslog, old": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "no process": lambda m, p: f"Nov 24 12:00:00 mx1 {p}: {m}",
    "two spaces": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]:  {m}",
    "priority": lambda m, p: f"<22>Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "fraction": lambda m, p: f"Nov 24 12:00:00.000000 mx1 {p}[7]: {m}",
    "year before time": lambda m, p: f"Nov 24 2026 12:00:00 mx1 {p}[7]: {m}",
    "year first": lambda m, p: f"2026 Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "ctime": lambda m, p: f"Tue Nov 24 12:00:00 2026 mx1 {p}[7]: {m}",
    "Russian journal": lambda m, p: f"ноя 24 12:00:00 mx1 {p}[7]: {m}",
    "Japanese journal": lambda m, p: f"11月 24 12:00:00 mx1 {p}[7]: {m}",
    "Korean journal": lambda m, p: f"11월 24 12:00:00 mx1 {p}[7]: {m}",
    "Chinese date": lambda m, p: f"2026年11月24日 12:00:00 mx1 {p}[7]: {m}",
    "French journal": lambda m, p: f"nov. 24 12:00:00 mx1 {p}[7]: {m}",
    # RFC 3339
    "rsyslog": lambda m, p: f"2026-11-24T12:00:00.000000+00:00 mx1 {p}[7]: {m}",
    "other zone": lambda m, p: f"2026-11-24T13:00:00+01:00 mx1 {p}[7]: {m}",
    "short-iso": lambda m, p: f"2026-11-24T12:00:00+0000 mx1 {p}[7]: {m}",
    "space in date": lambda m, p: f"2026-11-24 12:00:00 mx1 {p}[7]: {m}",
    "UTC in date": lambda m, p: f"2026-11-24 12:00:00 UTC {p}[7]: {m}",
    "Synology": lambda m, p: f"2026-11-24T12:00:00+00:00 DiskStation {p}[7]: {m}",
    # RFC 5424
    "5424": lambda m, p: f"<22>1 2026-11-24T12:00:00.000000+00:00 mx1 {p} 7 - - {m}",
    "5424, OPNsense": lambda m, p: (
        f'<22>1 2026-11-24T12:00:00+00:00 fw.example {p} 7 - [meta sequenceId="1"] {m}'
    ),
    "5424, two elements": lambda m, p: (
        f'<22>1 2026-11-24T12:00:00Z mx1 {p} - ID47 [a@1 b="x: y\\"]"][c d="e"] \ufeff{m}'
    ),
    "5424 without priority": lambda m, p: f"1 2026-11-24T12:00:00Z mx1 {p} 7 - - {m}",
    "5424 without version": lambda m, p: f"2026-11-24T12:00:00Z mx1 {p} 7 - - {m}",
    # Two heads
    "syslog-ng": lambda m, p: f"Nov 24 12:00:00 relay Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "syslog-ng, two hosts": lambda m, p: f"Nov 24 12:00:00 relay mx1 {p}[7]: {m}",
    "syslog-ng, chained hosts": lambda m, p: f"Nov 24 12:00:00 relay/mx1 {p}[7]: {m}",
    "two dates": lambda m, p: (
        f"2026-11-24T12:00:00+00:00 relay 2026-11-24T12:00:00+00:00 mx1 {p}[7]: {m}"
    ),
    # busybox and the BSDs
    "busybox": lambda m, p: f"Nov 24 12:00:00 mx1 mail.info {p}[7]: {m}",
    "busybox, no host": lambda m, p: f"Nov 24 12:00:00 mail.info {p}[7]: {m}",
    "syslogd -v": lambda m, p: f"Nov 24 12:00:00 <2.6> mx1 {p}[7]: {m}",
    "syslogd -vv": lambda m, p: f"Nov 24 12:00:00 <mail.info> mx1 {p}[7]: {m}",
    # journalctl
    "short-full": lambda m, p: f"Tue 2026-11-24 12:00:00 UTC mx1 {p}[7]: {m}",
    "with-unit": lambda m, p: f"Tue 2026-11-24 12:00:00 UTC mx1 {_unit(p)}.service[7]: {m}",
    "short-unix": lambda m, p: f"1795521600.000000 mx1 {p}[7]: {m}",
    # Containers
    "docker logs -t": lambda m, p: f"2026-11-24T12:00:00.000000000Z {p}[7]: {m}",
    "compose": lambda m, p: f"mail-1  | Nov 24 12:00:00 6e7f8a9b {p}[7]: {m}",
    "compose -t": lambda m, p: (
        f"mail-1  | 2026-11-24T12:00:00.000000000Z Nov 24 12:00:00 6e7f8a {p}[7]: {m}"
    ),
    "compose with colours": lambda m, p: (
        f"\x1b[36mmail-1  | \x1b[0m2026-11-24T12:00:00.000000000Z {p}[7]: {m}"
    ),
    "mailcow": lambda m, p: f"postfix-mailcow-1  | Nov 24 12:00:00 6e7f8a9b {p}[7]: {m}",
    "service logs": lambda m, p: f"stack_mail.1.a1b2c3@node1  | Nov 24 12:00:00 mail {p}[7]: {m}",
    "CRI": lambda m, p: f"2026-11-24T12:00:00.000000000Z stdout F {p}[7]: {m}",
    "CRI with a head": lambda m, p: (
        f"2026-11-24T12:00:00.000000000+00:00 stderr F Nov 24 12:00:00 mx1 {p}[7]: {m}"
    ),
    "kubectl --prefix": lambda m, p: (
        f"[pod/mail-0/mail] 2026-11-24T12:00:00.000000000Z {p}[7]: {m}"
    ),
    "Docker's syslog driver": lambda m, p: (
        f"Nov 24 12:00:00 host e1b2c3d4f5a6[812]: Nov 24 12:00:00 mail {p}[7]: {m}"
    ),
    "Docker's syslog driver, tag": lambda m, p: (
        f"Nov 24 12:00:00 host docker/postfix[812]: 2026-11-24T12:00:00+00:00 mail {p}[7]: {m}"
    ),
    # Others
    "Net::Server": lambda m, p: f"2026/11/24-12:00:00 {p}[7]: {m}",
    "pfSense": lambda m, p: f"Nov 24 12:00:00 pfSense {p}[7]: {m}",
    "multilog": lambda m, p: f"@400000006b057c4a00000000 {p}[7]: {m}",
    "svlogd": lambda m, p: f"2026-11-24_12:00:00.00000 {p}[7]: {m}",
    "metalog": lambda m, p: f"Nov 24 12:00:00 [{p}] {m}",
    "Solaris": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: [ID 197553 mail.info] {m}",
    "AIX": lambda m, p: f"Nov 24 12:00:00 mx1 mail:info {p}[7]: {m}",
    "OpenWrt": lambda m, p: f"Tue Nov 24 12:00:00 2026 mail.info {p}[7]: {m}",
    "supervisor": lambda m, p: f"2026-11-24 12:00:00,000 DEBG '{p}' stdout output: {p}[7]: {m}",
    "cell of a table": lambda m, p: f"<td>Nov 24 12:00:00 mx1 {p}[7]: {m}</td>",
    "code": lambda m, p: f"`Nov 24 12:00:00 mx1 {p}[7]: {m}`",
    "tabs around the tag": lambda m, p: f"Nov 24 12:00:00\tmx1\t{p}[7]:\t{m}",
    "date in brackets": lambda m, p: f"[24/Nov/2026:12:00:00 +0000] {p}[7]: {m}",
    "level": lambda m, p: f"2026-11-24 12:00:00,000 [INFO] {p}[7]: {m}",
    "mail date": lambda m, p: f"Tue, 24 Nov 2026 13:00:00 +0100 {p}[7]: {m}",
    "tabs": lambda m, p: f"2026-11-24 12:00:00\tMail.Info\t192.0.2.1\t{p}[7]: {m}",
    "grep": lambda m, p: f"/var/log/mail.log:Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "grep -n": lambda m, p: f"mail.log.1:1234:Nov 24 12:00:00 mx1 {p}[7]: {m}",
    "quoted in a mail": lambda m, p: f"> Nov 24 12:00:00 mx1 {p}[7]: {m}",
    # What follows
    "Windows": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}\r",
    "escaped return": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}#015",
    "escaped line end": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}#015#012",
    "octal": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}\\015",
    "caret": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}^M",
    "escaped colours": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: #033[32m{m}#033[0m",
    "colours": lambda m, p: f"\x1b[32mNov 24 12:00:00\x1b[0m mx1 \x1b[1m{p}[7]\x1b[0m: {m}\x1b[0m",
    "trailing spaces": lambda m, p: f"Nov 24 12:00:00 mx1 {p}[7]: {m}   ",
    "byte order mark": lambda m, p: f"\ufeffNov 24 12:00:00 mx1 {p}[7]: {m}",
}
"""Each has the date 2026-11-24 12:00:00 UTC."""

JSON_FORMS: dict[str, Form] = {
    "Docker": lambda m, p: json.dumps(
        {
            "log": f"Nov 24 12:00:00 mail {p}[7]: {m}\n",
            "stream": "stdout",
            "time": "2026-11-24T12:00:00.0Z",
        }
    ),
    "journal": _journal,
    "journal, array of bytes": lambda m, p: json.dumps(
        {
            "MESSAGE": list(m.encode()),
            "__REALTIME_TIMESTAMP": "1795521600000000",
            "SYSLOG_IDENTIFIER": p,
        }
    ),
    "journal, server-sent": lambda m, p: f"data: {_journal(m, p)}",
    "journal, sequence": lambda m, p: f"\x1e{_journal(m, p)}",
    "journal of a container": lambda m, p: _journal(f"Nov 24 12:00:00 mail {p}[7]: {m}", "a1b2c3"),
    "GELF": lambda m, p: json.dumps(
        {
            "version": "1.1",
            "host": "mx1",
            "short_message": m,
            "timestamp": 1795521600.0,
            "_application_name": p,
        }
    ),
    "Graylog": lambda m, p: json.dumps(
        {"timestamp": "2026-11-24T12:00:00.000Z", "source": "mx1", "message": f"{p}[7]: {m}"}
    ),
    "Elasticsearch": lambda m, p: json.dumps(
        {
            "_index": "mail",
            "_source": {
                "@timestamp": "2026-11-24T12:00:00.000Z",
                "message": m,
                "process": {"name": p},
            },
        }
    ),
    "rsyslog's mmjsonparse": lambda m, p: json.dumps(
        {"timereported": "2026-11-24T12:00:00+00:00", "programname": p, "msg": f" {m}"}
    ),
    "milliseconds": lambda m, p: json.dumps({"timestamp": 1795521600000, "message": f"{p}: {m}"}),
    "CRI with JSON": lambda m, p: (
        "2026-11-24T12:00:00.000000000Z stdout F " + json.dumps({"message": m, "program": p})
    ),
    "syslog with JSON": lambda m, p: (
        "Nov 24 12:00:00 mx1 vector[9]: " + json.dumps({"message": f"{p}[7]: {m}"})
    ),
    "unknown keys": lambda m, p: json.dumps(
        {"when": "2026-11-24T12:00:00Z", "payload": {"x": 1, "y": f"Nov 24 12:00:00 mx {p}: {m}"}}
    ),
}

QUOTED_FORMS: dict[str, Form] = {
    "CSV": lambda m, p: f'"2026-11-24T12:00:00.000Z","mx1","{p}[7]: {m}","6","mail"',
    "logfmt": lambda m, p: f'time="2026-11-24T12:00:00Z" level=info msg="{p}[7]: {m}" source=x',
}
"""Forms with quotation marks, in which JSON is not escaped."""

UNDATED_FORMS: dict[str, Form] = {
    "cat": lambda m, _: m,
    "short-monotonic": lambda m, p: f"[   12.345678] mx1 {p}[7]: {m}",
    "compose without dates": lambda m, p: f"greyd-1  | {p}[7]: {m}",
    "kubectl logs": lambda m, p: f"{p}: {m}",
    "stern": lambda m, _: f"greyd-0 greyd {m}",
    "truncated JSON": lambda m, p: json.dumps({"log": f"{p}[7]: {m}\n", "stream": "x"})[:-5],
}

FORGED = [
    "Nov 24 12:00:00 mx1 postfix/cleanup[1]: 4F1A2B3C: warning: header Subject: {} from x",
    "Nov 24 12:00:00 mx1 postfix/cleanup[1]: 4F1A2B3C: warning: header Subject: postgrey[7]: {}",
    "<22>1 2026-11-24T12:00:00Z mx1 postfix/cleanup 1 - - 4F1A2B3C: warning: header Subject: {}",
    "mail-1  | Nov 24 12:00:00 mx1 postfix/cleanup[1]: 4F1A2B3C: warning: header Subject: Nov 24"
    " 12:00:00 mx1 postgrey[7]: {}",
    "Tue 2026-11-24 12:00:00 UTC mx1 postfix@-.service[1]: 4F1A2B3C: warning: header Subject: {}",
    "Nov 24 12:00:00 mx1 postfix/smtpd[9]: NOQUEUE: reject: RCPT from x[192.0.2.9]: 550 no;"
    " from=<{}> to=<c@d> proto=SMTP helo=<x>",
    '2026-11-24 12:00:00 1abCde-000123-AB <= a@b.example H=host [192.0.2.9] P=esmtps T="{}"',
    "Nov 24 12:00:00 mx1 dovecot: imap-login: Login: user=<{}>",
    "Nov 24 12:00:00 mx1 dovecot: lmtp(1): msgid=<x@y>: {}",
    'Nov 24 12:00:00 mx1 amavis[9]: (123) Passed CLEAN, Subject: "{}"',
    "Nov 24 12:00:00 mx1 spamd[9]: processing message {}",
    '{{"SYSLOG_IDENTIFIER": "postfix/cleanup", "MESSAGE": "4F1A2B: warning: header Subject: {}"}}',
    '{{"SYSLOG_IDENTIFIER": "spamd", "MESSAGE": "result: Y subject={}"}}',
]
"""Lines of other programs that contain what a stranger has sent."""
