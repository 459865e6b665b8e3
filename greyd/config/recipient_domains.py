"""Settings that apply only to mail for a recipient domain (``--recipient-domain``).

On the command line: ``example.com;delay=60;mode=learn``. In the TOML file::

    [recipient_domain."example.com"]
    delay = 60              # or four numbers, as for --delay
    mode = "learn"          # on, learn, off
    greylist = "suspicious" # all, suspicious
    subdomains = true       # also for all domains below example.com
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greyd.config.durations import parse_delay
from greyd.config.errors import SettingsError
from greyd.config.values.composite_values import CompositeValueError, parse_parts, require_keys
from greyd.config.values.domain_names import parse_domain
from greyd.config.values.parsers import one_of, parse_flag
from greyd.config.vocabulary import DELAYS, GREYLIST_RULES, MODES
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_RECIPIENT_DOMAINS = 10_000
"""Maximum number of recipient domains with settings of their own."""

_TABLE = '[recipient_domain."example.com"]'
_KEYS = ("delay", "mode", "greylist", "subdomains")


@dataclass(frozen=True, slots=True)
class RecipientDomain:
    """The settings for mail to the addresses of a domain; unset ones are those of the server."""

    domain: str
    """In lower case, in UTF-8 or ASCII (``xn--…``)."""
    delay_seconds: int | None = None
    """As ``Settings.delay_seconds``; None if unset."""
    delays: tuple[int, ...] = ()
    """As ``Settings.delays``."""
    mode: str = ""
    """``on``, ``learn`` or ``off``; empty if unset."""
    greylist: str = ""
    """``all`` or ``suspicious``; empty if unset."""
    subdomains: bool = False
    """Whether the settings also apply to the domains below, except those with their own."""
    where: str = field(default="", compare=False)
    """Where it was set, for messages."""

    @property
    def all_delays(self) -> tuple[int, ...]:
        """The delays that a request can get; empty if the domain sets none."""
        return self.delays or (() if self.delay_seconds is None else (self.delay_seconds,))


def parse_domain_delay(text: str) -> int | tuple[int, ...]:
    """Return one delay in seconds, at least 1, or four in the order of ``DELAYS``."""
    delay = parse_delay(text)
    if isinstance(delay, int) and delay < 1:
        raise ValueError('a number of seconds, 1 or more; mode = "off" passes all mail')
    return delay


_PARSERS = {
    "delay": parse_domain_delay,
    "mode": one_of(*MODES),
    "greylist": one_of(*GREYLIST_RULES),
    "subdomains": parse_flag,
}


def parse_recipient_domain(text: str) -> RecipientDomain:
    """Parse ``DOMAIN;KEY=VALUE;…``."""
    name, *others = text.split(";")
    domain = parse_domain(
        name,
        for_names_below=" and subdomains=yes",
        for_addresses="write its domain, or use --whitelist-recipients",
    )
    parts = parse_parts(others, _PARSERS)
    if not {"delay", "mode", "greylist"} & parts.keys():
        raise CompositeValueError(f"{domain}: sets nothing; give it a delay, a mode or greylist")
    delay = parts.get("delay")
    delays = delay if isinstance(delay, tuple) else ()
    return RecipientDomain(
        domain,
        # As for --delay: a client without evidence is unsure.
        delays[DELAYS.index("UNSURE")] if delays else delay,
        delays,
        parts.get("mode", ""),
        parts.get("greylist", ""),
        parts.get("subdomains", False),
    )


def recipient_domains_of_toml(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield the text of each recipient domain in a TOML table, with its place for messages.

    Raises:
        SettingsError: a key is unknown, or a value has an unsupported type.
    """
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: write a table for each domain: {_TABLE}")
    for domain, table in value.items():
        place = f'{where}."{excerpt(domain)}"'
        if not isinstance(table, dict):
            raise SettingsError(f"{where}: write a table for each domain: {_TABLE}")
        if any(isinstance(each, dict) for each in table.values()):
            raise SettingsError(f"{place}: enclose the whole domain in quotation marks: {_TABLE}")
        if ";" in domain:
            raise SettingsError(f"{place}: expected a domain, such as example.com")
        require_keys(table, _KEYS, place)
        texts = (f"{key}={_part_text(each, f'{place}: {key}')}" for key, each in table.items())
        yield place, ";".join([domain, *texts])


def _part_text(value: object, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) or (isinstance(value, str) and ";" not in value):
        return str(value)
    if isinstance(value, list) and all(_is_delay(each) for each in value):
        return ",".join(map(str, value))
    raise SettingsError(f"{where}: use a string, a whole number, true, false or a list of numbers")


def _is_delay(value: object) -> bool:
    """Whether a value is a whole number, or a text that may be a duration with a unit."""
    is_duration = isinstance(value, str) and value.isalnum() and not value.isdigit()
    return is_duration or type(value) is int


def check_recipient_domains(domains: Sequence[RecipientDomain]) -> None:
    """Raise SettingsError if a domain is set twice, or if there are too many."""
    if len(domains) > MAX_RECIPIENT_DOMAINS:
        raise SettingsError(
            f"{domains[0].where}: {len(domains)} recipient domains; at most"
            f" {MAX_RECIPIENT_DOMAINS} can have settings of their own"
        )
    known: dict[str, RecipientDomain] = {}
    for each in domains:
        first = known.setdefault(each.domain, each)
        if first is not each:
            raise SettingsError(f"{each.where}: {each.domain} is set twice; set it once")
