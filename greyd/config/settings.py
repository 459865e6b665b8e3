"""The settings in force, merged from all sources and validated."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from greyd.config.durations import is_zero_duration, parse_days, parse_delay
from greyd.config.errors import SettingsError
from greyd.config.list_keys import LIST_OPTIONS, PLACEHOLDER, separate_list_keys
from greyd.config.numbers import INTEGER
from greyd.config.option import Arity, Option
from greyd.config.options import BY_NAME
from greyd.config.recipient_domains import RecipientDomain, check_recipient_domains
from greyd.config.sender_groups import SenderGroup, check_sender_groups
from greyd.config.values.absolute_paths import with_absolute_paths
from greyd.config.values.composite_values import CompositeValueError
from greyd.config.values.header_text import parse_header
from greyd.config.values.parsers import parse_text
from greyd.config.vocabulary import (
    DAY,
    DELAYS,
    GREYLIST_TEXT,
    HEADER,
    METRICS_ENDPOINT,
    SIGNALS,
    TRUST,
    Endpoint,
    Zone,
)
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from greyd.config.sources import RawSetting
    from greyd.config.values.parsers import Parser


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of ``greyd serve``, parsed and validated."""

    inet: tuple[Endpoint, ...] = ()
    unix: tuple[Path, ...] = ()
    socket_mode: int = 0o666
    listen_queue_size: int = 1024
    exim: bool = False
    delay_seconds: int = 300
    delays: tuple[int, ...] = ()
    """Seconds for clean, unsure, suspicious and listed clients; empty if one delay is for all."""
    max_age_seconds: int = 35 * DAY
    retry_window_seconds: int = 2 * DAY
    auto_whitelist_clients: int = 5
    preset: str = ""
    identity: tuple[str, ...] = ()
    auto_whitelist_identities: int = 0
    identity_age_seconds: int = DAY
    greylist: str = "all"
    signals: tuple[str, ...] = SIGNALS
    own_domains: tuple[str, ...] = ()
    """Domains of this site; ``read_own_domains`` replaces the paths of files by their domains."""
    dnsbl: tuple[Zone, ...] = ()
    rhsbl: tuple[Zone, ...] = ()
    dnswl: tuple[Zone, ...] = ()
    list_keys: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The keys of the DNS lists whose zones contain ``{key}``."""
    list_override: tuple[Path, ...] = ()
    learn_outbound: bool = False
    correspondents: str = "address"
    outbound_senders: str = "own"
    sender_logins: tuple[Path, ...] = ()
    lookup_by_subnet: bool = True
    lookup_by_host: bool = False
    ipv4cidr: int = 24
    ipv6cidr: int = 64
    mode: str = "on"
    whitelist_clients: tuple[Path, ...] = ()
    whitelist_recipients: tuple[Path, ...] = ()
    whitelist_senders: tuple[Path, ...] = ()
    never_auto_whitelist: tuple[Path, ...] = ()
    sender_groups: tuple[SenderGroup, ...] = ()
    recipient_domains: tuple[RecipientDomain, ...] = ()
    """The settings for one recipient (``greyd.rules.site_rules.recipient_settings``) have none."""
    shadow: tuple[tuple[str, str], ...] = ()
    """Names and values of the settings that the shadow changes; empty if there is no shadow."""
    shadow_settings: Settings | None = field(default=None, repr=False)
    """These settings with the changes of ``shadow``; None if there is no shadow."""
    greylist_action: str = "DEFER_IF_PERMIT"
    greylist_text: str = GREYLIST_TEXT
    header: str = HEADER
    hostname: str | None = None
    store: str = field(default="", repr=False)
    """A URL; it may hold a password."""
    store_password_file: Path | None = None
    store_password: str | None = field(default=None, repr=False)
    """The secret read from ``store_password_file``."""
    sentinel_user: str = ""
    sentinel_password_file: Path | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    """The secret read from ``sentinel_password_file``."""
    dbdir: Path | None = None
    max_store_bytes: int = 4 * 1024**3
    store_timeout_seconds: float = 0.3
    store_connect_timeout_seconds: float = 5.0
    on_store_failure: str = "pass"
    key_prefix: str = "greyd:"
    privacy: bool = False
    privacy_key_file: Path | None = None
    privacy_key: bytes | None = field(default=None, repr=False)
    """The secret read from ``privacy_key_file``."""
    resolvers: tuple[Endpoint, ...] = ()
    dns_timeout_seconds: float = 1.5
    daemonize: bool = False
    pidfile: Path | None = None
    user: str = ""
    group: str = ""
    workers: int = 1
    config: Path | None = None
    test_time: bool = False
    metrics: Endpoint | None = METRICS_ENDPOINT
    metrics_host: tuple[str, ...] = ()
    status_details: bool = False
    log_format: str = "postgrey"
    syslog_facility: int = 2
    syslog_ident: str = "greyd"
    quiet: bool = False
    verbose: bool = False
    run_dir: Path | None = None
    warnings: tuple[str, ...] = ()
    """Warnings to log at the server's start."""
    given: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """The options that were given, from whatever source, and their texts; paths are absolute."""

    delay_varies: bool = field(init=False, repr=False, compare=False)
    """Whether the delay depends on the request."""
    longest_delay_seconds: int = field(init=False, repr=False, compare=False)
    """The longest delay that any request can get."""
    needs_signals: bool = field(init=False, repr=False, compare=False)
    """Whether decisions depend on signals of spamware."""
    needs_evidence: bool = field(init=False, repr=False, compare=False)
    """Whether decisions need information about a client that is not in the request."""
    uses_dns: bool = field(init=False, repr=False, compare=False)
    """Whether decisions on some mail need the DNS: ``needs_evidence``, or whitelisted senders."""
    keeps_passes: bool = field(init=False, repr=False, compare=False)
    """Whether a triplet that has passed once passes again, even if its delay were longer now.

    Without evidence it waits again if ``--delay`` has become longer (postgrey's behaviour).
    """

    def __post_init__(self) -> None:
        """Compute the fields that depend on others: each request reads them."""
        lists, domains = (*self.dnsbl, *self.rhsbl), self.recipient_domains
        delays = [self.delay_seconds, *self.delays, *(zone.delay_seconds or 0 for zone in lists)]
        delays += [seconds for each in domains for seconds in each.all_delays]
        depends_on_suspicion = (
            bool(self.delays)
            or self.greylist == "suspicious"
            or any(each.delays or each.greylist == "suspicious" for each in domains)
        )
        needs_evidence = bool(
            self.identity or lists or self.dnswl or depends_on_suspicion or self.learn_outbound
        )
        # A signal also voids what a client's identity has earned.
        needs_signals = depends_on_suspicion or self.auto_whitelist_identities > 0
        delay_varies = bool(self.delays or lists or any(each.all_delays for each in domains))
        object.__setattr__(self, "delay_varies", delay_varies)
        object.__setattr__(self, "longest_delay_seconds", max(delays))
        object.__setattr__(self, "needs_signals", needs_signals)
        object.__setattr__(self, "needs_evidence", needs_evidence)
        object.__setattr__(self, "uses_dns", needs_evidence or bool(self.whitelist_senders))
        object.__setattr__(self, "keeps_passes", self.uses_dns)

    @property
    def passes_without_store(self) -> bool:
        """Whether mail passes while the store is unavailable; in mode ``learn`` it always does."""
        return self.on_store_failure == "pass" or self.mode == "learn"

    @property
    def reads_evidence_attributes(self) -> bool:
        """Whether this server's decisions, or those of its shadow, use the DNS."""
        shadow = self.shadow_settings
        return self.uses_dns or (shadow is not None and shadow.uses_dns)


_DEFAULTS = {each.name: each.default for each in fields(Settings) if each.init}


# Settings ---------------------------------------------------------------------------------------

_PRESETS: dict[str, dict[str, Any]] = {
    "recommended": {
        "identity": ("spf", "name"),
        "auto_whitelist_identities": 3,
        "greylist": "suspicious",
        "dnsbl": (Zone("zen.spamhaus.org", 3600),),
        "rhsbl": (Zone("dbl.spamhaus.org", 3600),),
        "dnswl": (Zone("list.dnswl.org", trust=TRUST.index("none"), supports=True),),
        "learn_outbound": True,
        "correspondents": "organisation",
    }
}


def preset_fields(name: str) -> Mapping[str, Any]:
    """Return the fields of ``Settings`` that a preset sets, with their values."""
    return _PRESETS.get(name.strip().lower(), {})


def merge_settings(*sources: Iterable[RawSetting], warnings: Iterable[str] = ()) -> Settings:
    """Merge sources into settings; earlier sources take precedence.

    Within a source the last value of an option applies; a repeatable option keeps all values.

    Raises:
        SettingsError: a value is invalid, or two values contradict each other.
    """
    chosen: dict[str, Any] = {}
    texts: dict[str, list[tuple[str, str]]] = {}
    notices = list(warnings)
    for source in sources:
        values: dict[str, Any] = {}
        texts_here: dict[str, list[tuple[str, str]]] = {}
        for given in _in_force(source):
            value = _value(given, notices)
            text = with_absolute_paths(given.text, value, given.option.read, _parser_of)
            earlier = (
                texts_here.get(given.option.field, ()) if given.option.kind is Arity.MANY else ()
            )
            texts_here[given.option.field] = [*earlier, (given.option.name, text)]
            if given.option.field == "store" and values.get("store", value) != value:
                raise SettingsError(f"{given.where}: two different stores; name one")
            if given.option.kind is Arity.MANY:
                value = (*values.get(given.option.field, ()), value)
            values[given.option.field] = value
        chosen = {**values, **chosen}
        texts = {**texts_here, **texts}
    chosen = {**_PRESETS.get(chosen.get("preset", ""), {}), **chosen}
    if isinstance(delays := chosen.get("delay_seconds"), tuple):
        # A client without evidence is unsure.
        chosen |= {"delays": delays, "delay_seconds": delays[DELAYS.index("UNSURE")]}
    chosen["list_keys"] = tuple(_separate_list_keys(chosen, notices).items())
    given_texts = tuple(each for texts_here in texts.values() for each in texts_here)
    settings = Settings(**chosen, warnings=tuple(notices), given=given_texts)
    _check(settings)
    return settings


def _parser_of(name: str) -> Parser:
    return BY_NAME[name].read


def _separate_list_keys(chosen: dict[str, Any], notices: list[str]) -> dict[str, str]:
    """Replace the keys in the names of the chosen DNS lists; return the keys, and add warnings."""
    keys: dict[str, str] = {}
    for option in LIST_OPTIONS:
        chosen_here, keys_here = separate_list_keys(chosen.get(option, ()))
        if keys_here:
            chosen[option] = chosen_here
            keys |= keys_here
            notices.append(
                f"--{option}: the zone's name contains a registered key, which the process list and"
                f" configuration files show; write {PLACEHOLDER} in its place, and name a file with"
                " the key as key_file (docs/dns-lists.md)"
            )
    return keys


def _in_force(source: Iterable[RawSetting]) -> list[RawSetting]:
    """Return the values of a source without the headers that a later one replaces.

    Earlier versions accepted any text; an invalid one that is replaced must not prevent the start.
    """
    given = list(source)
    headers = [each for each in given if each.option.read is parse_header]
    return [each for each in given if each.option.read is not parse_header or each is headers[-1]]


def _value(given: RawSetting, notices: list[str]) -> Any:
    option, text, where = given.option, given.text, given.where
    default = _DEFAULTS[option.field]
    if (option.empty_is_default and not text) or (
        option.zero_is_default and _is_zero(option, text)
    ):
        remedy = "; none adds no header" if option.read is parse_header else ""
        notices.append(
            f"{where}={excerpt(text)}: using the default ({option.shown_default}){remedy}"
        )
        return default
    try:
        value = option.read(text)
        if isinstance(value, RecipientDomain | SenderGroup):
            value = replace(value, where=where)
        return value
    except CompositeValueError as error:
        raise SettingsError(f"{where}: {error}") from None
    except ValueError as error:
        value = "…" if option.field == "store" else excerpt(text)
        unset = "" if text else "; omit it for the default"
        raise SettingsError(f"{where}={value}: expected {error}{unset}") from None


def _is_zero(option: Option, text: str) -> bool:
    if option.read in (parse_text, parse_header):
        return text == "0"
    if option.read in (parse_delay, parse_days):
        return is_zero_duration(text)
    return bool(INTEGER.fullmatch(text)) and not int(text.replace("_", ""))


def _check(settings: Settings) -> None:
    check_recipient_domains(settings.recipient_domains)
    check_sender_groups(settings.sender_groups)
    if not settings.identity:
        for name, value in (
            ("learn-outbound", settings.learn_outbound),
            ("auto-whitelist-identities", settings.auto_whitelist_identities),
        ):
            if value:
                raise SettingsError(f"--{name} requires --identity=spf,name; add it")
    if settings.privacy_key_file and not settings.privacy:
        raise SettingsError("--privacy-key requires --privacy; add it")
    if settings.store_password_file and not settings.store.startswith(("redis", "valkey", "unix:")):
        raise SettingsError(
            "--store-password-file requires a Redis store; add --store=redis://HOST/0"
        )
    of_sentinel = settings.sentinel_user or settings.sentinel_password_file
    if of_sentinel and "+sentinel:" not in settings.store:
        raise SettingsError(
            "--sentinel-user and --sentinel-password-file require Sentinel; add"
            " --store=redis+sentinel://HOST/NAME/0"
        )
    if settings.workers > 1 and settings.store.startswith("memory:"):
        raise SettingsError(
            "--workers: processes cannot share memory://; use SQLite or Redis, or one worker"
        )
