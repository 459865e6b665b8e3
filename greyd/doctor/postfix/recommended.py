"""The recommended configuration for Postfix and Exim; docs/postfix.md has the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greyd.config.settings import Settings
    from greyd.doctor.listeners import Listener

QUEUE_DIRECTORY = Path("/var/spool/postfix")
"""Postfix's default for ``queue_directory``."""


def policy_endpoint(listeners: Sequence[Listener], queue_directory: Path = QUEUE_DIRECTORY) -> str:
    """Return the server's endpoint for main.cf: a Unix socket in the queue directory, else TCP."""
    paths = [each for each in listeners if isinstance(each, Path)]
    for path in paths:
        if path.is_relative_to(queue_directory):
            return f"unix:{path.relative_to(queue_directory)}"
    for listener in listeners:
        if not isinstance(listener, Path):
            return f"inet:{listener.local_addresses()[0]}"
    return f"unix:{paths[0]}"


def policy_service(endpoint: str, context: str = "") -> str:
    """Return the restriction ``check_policy_service …`` that calls the endpoint."""
    outbound = f" policy_context={context}," if context else ""
    return f"check_policy_service {{ {endpoint}, timeout=10s,{outbound} default_action=DUNNO }}"


_BEGINNING = """\
# Recommended by greyd postfix-config. Replace the lines of main.cf that set the same parameters.
# Then: postfix check && postfix reload && greyd doctor
"""

_IN_CHROOT = """\
# The socket is outside Postfix's queue directory: smtpd reaches it only without a chroot
# (master.cf, fifth column: n).
"""

_MINIMAL = """\
# Permit own users, reject relaying and unknown recipients; greylisting comes last.
smtpd_recipient_restrictions =
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination,
    reject_unlisted_recipient,
    # greyd answers in milliseconds; without an answer within 10 s, mail passes.
    {policy}
"""

_WHOLE = """\
# Tip 2: require HELO.
smtpd_helo_required = yes

# Only own users may relay mail to other domains.
smtpd_relay_restrictions =
    permit_mynetworks,
    permit_sasl_authenticated,
    reject_unauth_destination

# Everything else in one list, evaluated from top to bottom; the first match decides.
smtpd_recipient_restrictions =
    # Own users skip everything below.
    permit_mynetworks,
    permit_sasl_authenticated,
    # No relaying; before any other permit.
    reject_unauth_destination,
    # What Postfix knows by itself, so that greyd stores no guessed recipients.
    reject_unlisted_recipient,
    reject_non_fqdn_sender,
    reject_non_fqdn_recipient,
    # Tip 2: the HELO name. reject_unknown_helo_hostname is left out: it rejects servers that use
    # their internal name.
    reject_invalid_helo_hostname,
    reject_non_fqdn_helo_hostname,
    # Tip 1: clients without a PTR record. Tip 3, reject_unknown_client_hostname, is left out: it
    # rejects many small servers.
    reject_unknown_reverse_client_hostname,
    # Exceptions from the blocklists, so above them: one name=OK per client. A file works too:
    # texthash:/etc/postfix/known_clients
    check_client_access inline:{{ known.example.net=OK }},
    # Tip 4: sender domains to which no reply can be sent.
    reject_unknown_sender_domain,
    # Tip 6: blocklists, with the answers that count. Use a resolver of your own: Spamhaus refuses
    # queries through public resolvers.
    reject_rbl_client zen.spamhaus.org=127.0.0.[2..11],
    reject_rhsbl_sender dbl.spamhaus.org=127.0.1.[2..99],
    reject_rhsbl_helo dbl.spamhaus.org=127.0.1.[2..99],
    reject_rhsbl_reverse_client dbl.spamhaus.org=127.0.1.[2..99],
    # Tip 5: greylisting, last, for the mail that the others let through. greyd answers in
    # milliseconds; without an answer within 10 s, mail passes.
    {policy}
"""

_OUTBOUND = """
# Submission: greyd learns whom your users write to (--learn-outbound); their mail always passes.
submission_recipient_restrictions =
    {policy},
    permit_sasl_authenticated,
    reject
# To use it, add this below the submission line of master.cf:
#   -o smtpd_recipient_restrictions=$submission_recipient_restrictions
"""


def main_cf(endpoint: str, settings: Settings, *, minimal: bool = False) -> str:
    """Return the recommended lines for ``main.cf``; ``minimal``: only those for greylisting."""
    lines = (_MINIMAL if minimal else _WHOLE).format(policy=policy_service(endpoint))
    in_chroot = _IN_CHROOT if endpoint.startswith("unix:/") else ""
    text = f"{_BEGINNING}{in_chroot}\n{lines}"
    if settings.learn_outbound:
        text += _OUTBOUND.format(policy=policy_service(endpoint, "outbound"))
    return text


_EXIM = r"""  # One name for a message, so that greyd adds its header once.
  warn
    set acl_m_instance = ${{if def:acl_m_instance {{$acl_m_instance}}{{$pid.$tod_epoch_l}}}}
    set acl_m_greyd = ${{readsocket{{{endpoint}}}\
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
    """Return the ACL that lets Exim use the server."""
    for listener in listeners:
        if not isinstance(listener, Path):
            return _EXIM.format(endpoint=f"inet:{listener.local_addresses()[0]}")
    return _EXIM.format(endpoint=listeners[0])
