"""Configurations of Postfix, and what the doctor finds in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from greyd.config.settings import Settings
from greyd.doctor.findings import FAILED_STATES, Finding
from greyd.doctor.findings import FindingState as State
from greyd.doctor.listeners import Listener, TcpListener
from greyd.doctor.postfix.config.master_cf import MasterService
from greyd.doctor.postfix.config.postconf import PostfixConfig
from greyd.doctor.postfix.main_cf import findings_of_config
from greyd.doctor.postfix.recommended import policy_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from greyd.doctor.postfix.rspamd import RspamdGreylisting


OURS = "inet:127.0.0.1:10023"

LINE = policy_service(OURS)

LISTENERS: tuple[Listener, ...] = (TcpListener("localhost", 10023),)

GOOD_LIST = f"""permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination,
    reject_unlisted_recipient, reject_invalid_helo_hostname, reject_non_fqdn_helo_hostname,
    reject_unknown_reverse_client_hostname,
    check_client_access texthash:/etc/postfix/known_clients, reject_unknown_sender_domain,
    reject_rbl_client zen.spamhaus.org=127.0.0.[2..11],
    reject_rhsbl_sender dbl.spamhaus.org=127.0.1.[2..99], {LINE}"""

DEFAULTS = {
    "compatibility_level": "3.6",
    "mail_version": "3.7.11",
    "mynetworks": "127.0.0.0/8 192.0.2.0/24",
    "queue_directory": "/var/spool/postfix",
    "smtpd_client_restrictions": "",
    "smtpd_data_restrictions": "",
    "smtpd_delay_reject": "yes",
    "smtpd_end_of_data_restrictions": "",
    "smtpd_etrn_restrictions": "",
    "smtpd_helo_required": "yes",
    "smtpd_helo_restrictions": "",
    "smtpd_milters": "",
    "smtpd_policy_service_default_action": "451 4.3.5 Server configuration problem",
    "smtpd_policy_service_max_idle": "300s",
    "smtpd_policy_service_policy_context": "",
    "smtpd_policy_service_timeout": "100s",
    "smtpd_policy_service_try_limit": "2",
    "smtpd_recipient_restrictions": GOOD_LIST,
    "smtpd_reject_unlisted_recipient": "yes",
    "smtpd_relay_before_recipient_restrictions": "yes",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_restriction_classes": "",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_sender_restrictions": "",
}

SMTP = MasterService("smtp")

USERS = "permit_sasl_authenticated,reject"


def recipients(text: str) -> dict[str, str]:
    """Return main.cf's parameters with another list for recipients."""
    return {"smtpd_recipient_restrictions": text}


def after_relay_check(text: str) -> dict[str, str]:
    """Return them with a list that begins as it should."""
    return recipients(
        "permit_mynetworks permit_sasl_authenticated reject_unauth_destination"
        f" reject_unlisted_recipient {text}"
    )


def judged(
    set_: Mapping[str, str] | None = None,
    services: Sequence[MasterService] = (SMTP,),
    listeners: Sequence[Listener] = LISTENERS,
    settings: Settings | None = None,
    rspamd: RspamdGreylisting | None = None,
    **more: object,
) -> list[Finding]:
    """Return the findings for main.cf's defaults with some parameters set."""
    postfix = PostfixConfig({**DEFAULTS, **(set_ or {})}, services, **more)  # type: ignore[arg-type]
    return findings_of_config(postfix, listeners, settings or Settings(), rspamd)


def wrong(found: Sequence[Finding]) -> dict[str, State]:
    """Return what is wrong."""
    return {each.check: each.state for each in found if each.state in FAILED_STATES}


def of(found: Sequence[Finding], check: str) -> Finding:
    """Return the one finding of a check."""
    (one,) = [each for each in found if each.check == check]
    return one
