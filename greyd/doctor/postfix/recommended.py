"""The lines that Postfix and Exim need to ask this server; docs/postfix.md has the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener

QUEUE_DIRECTORY = Path("/var/spool/postfix")
"""Where Postfix's own is, unless it says otherwise."""


def endpoint(listeners: Sequence[Listener], queue_directory: Path = QUEUE_DIRECTORY) -> str:
    """Return the server's place as Postfix names it: a socket in its queue directory, else TCP."""
    paths = [each for each in listeners if isinstance(each, Path)]
    for path in paths:
        if path.is_relative_to(queue_directory):
            return f"unix:{path.relative_to(queue_directory)}"
    for listener in listeners:
        if not isinstance(listener, Path):
            return f"inet:{listener.to_ask()[0]}"
    return f"unix:{paths[0]}"


def policy_service(place: str, context: str = "") -> str:
    """Return the line that asks a server at a place."""
    outbound = f" policy_context={context}," if context else ""
    return f"check_policy_service {{ {place}, timeout=10s,{outbound} default_action=DUNNO }}"


_BEGINNING = """\
# greyd: what greyd postfix-config recommends. It takes the place of these parameters in main.cf.
# See it in force with: postfix check && postfix reload, and then: greyd doctor
"""

_IN_CHROOT = """\
# The socket is outside of Postfix's queue directory: smtpd reaches it only without a chroot
# (master.cf, fifth column: n).
"""

_MINIMAL = """\
# Own users first, then no relaying, then whom Postfix does not know; greylisting is asked last.
smtpd_recipient_restrictions =
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination,
    reject_unlisted_recipient,
    # Answers in milliseconds; without an answer within 10 s mail goes on.
    {policy}
"""

_WHOLE = """\
# Tip 2: a client has to say who it is.
smtpd_helo_required = yes

# Who may send through this server to elsewhere.
smtpd_relay_restrictions =
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination

# All the rest in one list, so that its order can be read: the first match decides.
smtpd_recipient_restrictions =
    # Own users first: nothing below is for them.
    permit_mynetworks,
    permit_sasl_authenticated,
    # No relaying, before anything asks or permits.
    reject_unauth_destination,
    # What Postfix knows by itself; greyd need not remember guessed addresses.
    reject_unlisted_recipient,
    reject_non_fqdn_sender,
    reject_non_fqdn_recipient,
    # Tip 2: the name in HELO. reject_unknown_helo_hostname is left out: it hits servers that
    # say their internal name.
    reject_invalid_helo_hostname,
    reject_non_fqdn_helo_hostname,
    # Tip 1: clients without a PTR record. Tip 3, reject_unknown_client_hostname, is left out: it
    # hits many small servers.
    reject_unknown_reverse_client_hostname,
    # Whom you want although a blacklist names them: above the blacklists, or it comes too late.
    # One name=OK each; a file does as well: texthash:/etc/postfix/known_clients
    check_client_access inline:{{ known.example.net=OK }},
    # Tip 4: a sender whom no answer can reach.
    reject_unknown_sender_domain,
    # Tip 6: blacklists, with the answers that count. Ask them through a resolver of your own;
    # Spamhaus answers no public ones.
    reject_rbl_client zen.spamhaus.org=127.0.0.[2..11],
    reject_rhsbl_sender dbl.spamhaus.org=127.0.1.[2..99],
    reject_rhsbl_helo dbl.spamhaus.org=127.0.1.[2..99],
    reject_rhsbl_reverse_client dbl.spamhaus.org=127.0.1.[2..99],
    # Tip 5: greylisting, last, so that it is asked only about what the others leave. It answers
    # in milliseconds; without an answer within 10 s mail goes on.
    {policy}
"""

_OUTBOUND = """
# Submission: greyd learns whom your users write to (--learn-outbound) and always lets them pass.
submission_recipient_restrictions =
    {policy},
    permit_sasl_authenticated,
    reject
# It counts with this below the line of submission in master.cf:
#   -o smtpd_recipient_restrictions=$submission_recipient_restrictions
"""


def main_cf(place: str, settings: Settings, *, minimal: bool = False) -> str:
    """Return the lines for ``main.cf``."""
    lines = (_MINIMAL if minimal else _WHOLE).format(policy=policy_service(place))
    in_chroot = _IN_CHROOT if place.startswith("unix:/") else ""
    text = f"{_BEGINNING}{in_chroot}\n{lines}"
    if settings.learn_outbound:
        text += _OUTBOUND.format(policy=policy_service(place, "outbound"))
    return text


_EXIM = r"""  # One name for a message, so that greyd adds its header once.
  warn
    set acl_m_instance = ${{if def:acl_m_instance {{$acl_m_instance}}{{$pid.$tod_epoch_l}}}}
    set acl_m_greyd = ${{readsocket{{{place}}}\
        {{request=smtpd_access_policy\n\
         client_address=$sender_host_address\n\
         client_name=${{if eq{{$sender_host_name}}{{}} {{unknown}}{{$sender_host_name}}}}\n\
         helo_name=$sender_helo_name\n\
         sender=$sender_address\n\
         recipient=$local_part@$domain\n\
         instance=$acl_m_instance\n\n}}\
        {{5s}}{{}}{{action=DUNNO}}}}

  defer
    condition = ${{if match{{$acl_m_greyd}}{{\N^action=DEFER\N}}}}
    message   = ${{if match{{$acl_m_greyd}}{{\N^action=\S+\s+(.*\S)\N}}{{$1}}}}

  warn
    condition  = ${{if match{{$acl_m_greyd}}{{\N^action=PREPEND\N}}}}
    add_header = ${{if match{{$acl_m_greyd}}{{\N^action=\S+\s+(.*\S)\N}}{{$1}}}}
"""


def exim_acl(listeners: Sequence[Listener]) -> str:
    """Return the ACL that asks the server, for Exim."""
    for listener in listeners:
        if not isinstance(listener, Path):
            return _EXIM.format(place=f"inet:{listener.to_ask()[0]}")
    return _EXIM.format(place=listeners[0])
