"""Groups of clients that count as one sender (``--sender-group``).

On the command line: ``NAME=MEMBER,MEMBER``. In the TOML file::

    [[sender_group]]
    name = "example"
    networks = ["192.0.2.0/24", "2001:db8:25::/48"]
    names = ["out.example.com"]     # confirmed client names: this one, and all below it
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING

from greyd.config.errors import SettingsError
from greyd.config.values.composite_values import CompositeValueError, require_keys
from greyd.config.values.domain_names import parse_domain
from greyd.redaction import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

GROUP_PREFIX = b"group:"
"""The beginning of the name of a group's identity."""

MAX_SENDER_GROUPS = 200
"""Maximum number of groups."""

MAX_GROUP_MEMBERS = 1000
"""Maximum number of networks and names of a group."""

MIN_PREFIX = {4: 8, 6: 16}
"""Minimum prefix length of a member, by the version of IP: a wider network is not one sender."""

_KEYS = ("name", "networks", "names")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_.-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class SenderGroup:
    """A group of clients that count as one sender."""

    name: str
    networks: tuple[str, ...] = ()
    """In CIDR notation."""
    names: tuple[str, ...] = ()
    """Confirmed client names in lower case; each stands for itself and all names below it."""
    where: str = field(default="", compare=False)
    """Where it was set, for messages."""

    @property
    def identity(self) -> bytes:
        """The name of the group's identity in keys and logs; no organisation has such a name."""
        return GROUP_PREFIX + self.name.encode()


def parse_sender_group(text: str) -> SenderGroup:
    """Parse ``NAME=MEMBER,…``; each member is a network in CIDR notation or a host name."""
    name, equals, rest = text.partition("=")
    members = [each.strip() for each in rest.split(",") if each.strip()]
    if not equals or not members:
        raise ValueError("NAME=MEMBER,…, such as example=192.0.2.0/24,out.example.com")
    if len(members) > MAX_GROUP_MEMBERS:
        raise CompositeValueError(
            f"{excerpt(name)}: {len(members)} members; at most {MAX_GROUP_MEMBERS} are allowed"
        )
    networks, names = [], []
    for member in members:
        if re.fullmatch(r"[0-9./]+|[0-9a-fA-F:.]*:[0-9a-fA-F:./]*", member):
            networks.append(parse_group_network(member))
        else:
            names.append(parse_member_name(member))
    return SenderGroup(parse_group_name(name), tuple(networks), tuple(names))


def parse_group_name(text: str) -> str:
    """Return the name of a group in lower case."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise CompositeValueError(
            f"{excerpt(text) or '(empty)'}: expected a name of up to 40 letters, digits and -_."
        )
    return name


def parse_group_network(text: str) -> str:
    """Return a network in CIDR notation."""
    try:
        network = ip_network(text)
    except ValueError as error:
        if "host bits" in str(error):
            remedy = f"write {ip_network(text, strict=False)}"
            raise CompositeValueError(f"{excerpt(text)}: has host bits; {remedy}") from None
        raise CompositeValueError(
            f"{excerpt(text)}: expected a network, such as 192.0.2.0/24 or 2001:db8::/32"
        ) from None
    least = MIN_PREFIX[network.version]
    if network.prefixlen < least:
        raise CompositeValueError(
            f"{excerpt(text)}: too wide for one sender; write networks of /{least} or longer"
        )
    return str(network)


def parse_member_name(text: str) -> str:
    """Return the host name of a member in lower case."""
    return parse_domain(
        text,
        for_names_below=", which includes all names below it",
        for_addresses="write the client's host name",
    )


def sender_groups_of_toml(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield the text of each group in a TOML array of tables, with its place for messages.

    Raises:
        SettingsError: a key is unknown, a value has an unsupported type, or a member is invalid.
    """
    tables = value if isinstance(value, list) else [value]
    for number, table in enumerate(tables, 1):
        if not isinstance(table, dict) or not isinstance(name := table.get("name"), str):
            raise SettingsError(
                f"{where} ({number}.): write a table with a name for each group: [[sender_group]]"
            )
        place = f'{where} "{excerpt(name)}"'
        require_keys(table, _KEYS, place)
        try:
            parse_group_name(name)
            networks = _members(table, "networks", parse_group_network)
            names = _members(table, "names", parse_member_name)
        except CompositeValueError as error:
            raise SettingsError(f"{place}: {error}") from None
        if not networks and not names:
            raise SettingsError(f"{place}: has no members; give it networks or names")
        yield place, f"{name}={','.join([*networks, *names])}"


def _members(table: Mapping[str, object], key: str, parse: Callable[[str], str]) -> list[str]:
    members = table.get(key, [])
    if not isinstance(members, list) or not all(isinstance(each, str) for each in members):
        raise CompositeValueError(f"{key}: use a list of strings")
    try:
        return [parse(each) for each in members]
    except CompositeValueError as error:
        raise CompositeValueError(f"{key}: {error}") from None


def check_sender_groups(groups: Sequence[SenderGroup]) -> None:
    """Raise SettingsError if there are too many groups, or two that contradict each other."""
    if len(groups) > MAX_SENDER_GROUPS:
        raise SettingsError(
            f"{groups[0].where}: {len(groups)} sender groups; at most {MAX_SENDER_GROUPS} are"
            " allowed"
        )
    known: dict[str, SenderGroup] = {}
    owners: dict[str, SenderGroup] = {}
    for group in groups:
        if known.setdefault(group.name, group) is not group:
            raise SettingsError(
                f"{group.where}: two groups have the name {group.name}; name each group once"
            )
        for member in (*group.networks, *group.names):
            owner = owners.setdefault(member, group)
            if owner is not group:
                raise SettingsError(
                    f"{group.where}: {member} is also a member of {owner.name}; a client belongs"
                    " to one group"
                )
