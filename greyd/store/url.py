"""Parses and redacts the URL of a store.

==============================  ====================================================
``sqlite:PATH``                 a file
``redis://[[USER]:PASS@]H[:P]/DB``  one server; ``rediss://`` with TLS
``unix://[[USER]:PASS@]/PATH?db=0``  the same over a Unix socket
``redis+sentinel://…@A,B,C/NAME/DB``  the master that Sentinel names; port 26379
``redis+cluster://…@A,B,C``     a Cluster, which has no databases
``memory://``                   within the server's process, for tests
==============================  ====================================================

``valkey`` and ``valkeys`` mean the same as ``redis`` and ``rediss``. Options follow after ``?``.

Any URL may contain a password, even if it is mistyped. So messages show only the parts of a URL
that were parsed, without the login and the options.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from greyd.store.errors import StoreError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
MAX_DATABASE = 2**31 - 1

SCHEMES = (
    "sqlite:PATH, redis://HOST/0, rediss://, valkey://, valkeys://, unix://, redis+sentinel://,"
    " redis+cluster:// or memory://"
)

_SCHEMES = {
    f"{name}{topology}": (connection, topology.removeprefix("+"))
    for name, connection in (
        ("redis", "redis"), ("rediss", "rediss"), ("valkey", "redis"), ("valkeys", "rediss"),
    )
    for topology in ("", "+sentinel", "+cluster")
} | {"unix": ("unix", "")}  # fmt: skip

_OPTIONS = frozenset(
    {
        "client_name", "db", "health_check_interval", "password", "retry_on_timeout",
        "socket_connect_timeout", "socket_keepalive", "socket_read_size", "socket_timeout",
        "username",
    }
)  # fmt: skip
"""The options of redis-py's URLs that greyd supports, besides ``ssl_…``."""

# Letters of any script, for internationalised names.
_HOST = re.compile(r"(?=.{1,253}\Z)[^\W_]([\w.-]*[\w.])?|\[(?P<v6>[0-9a-fA-F:.]+)\]")
_SERVICE = re.compile(r"[A-Za-z0-9._-]{1,200}")
_FILE = re.compile(r"[\w./-]{1,100}\.(db|sqlite|sqlite3)")
_DIGITS = re.compile(r"[0-9]{1,10}")


class StoreUrlError(StoreError):
    """The URL of a store is invalid; the text gives the reason and the fix, and shows no secret."""


class RedisHost(NamedTuple):
    """The address of a server; a tuple, like the address of a TCP socket."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """The parsed URL of a Redis store."""

    scheme: str
    """The scheme as written, in lower case."""
    connection: str
    """``redis``, ``rediss`` (with TLS) or ``unix``."""
    topology: str
    """Empty for one server, else ``sentinel`` or ``cluster``."""
    hosts: tuple[RedisHost, ...]
    """The servers, Sentinels or Cluster nodes; empty for a Unix socket."""
    path: str
    """The path of the Unix socket; empty for other connections."""
    service: str
    """The name of the master that Sentinel monitors; empty for other topologies."""
    database: int
    username: str | None
    password: str | None
    options: tuple[tuple[str, str], ...]
    """redis-py's options, without the database and the login."""

    @property
    def redacted(self) -> str:
        """The URL for messages: without login and options."""
        if self.connection == "unix":
            return f"unix://{self.path}?db={self.database}"
        usual = SENTINEL_PORT if self.topology == "sentinel" else REDIS_PORT
        hosts_text = ",".join(str(each).removesuffix(f":{usual}") for each in self.hosts)
        if self.topology == "cluster":
            return f"{self.scheme}://{hosts_text}"
        service = f"{self.service}/" if self.service else ""
        return f"{self.scheme}://{hosts_text}/{service}{self.database}"


def redact_url(url: str) -> str:
    """Return a store's URL for messages, even an invalid one: without login and options."""
    scheme, colon, _ = url.partition(":")
    if colon and scheme.lower() == "memory":
        return "memory://"
    try:
        if colon and scheme.lower() == "sqlite":
            return f"sqlite:{sqlite_path(url)}"
        return parse_redis_url(url).redacted
    except StoreUrlError:
        return f"{scheme.lower()}:…" if colon and scheme.lower() in (*_SCHEMES, "sqlite") else "…"


def validate_url(url: str) -> None:
    """Raise unless a URL names a store; an empty URL names the default one.

    Raises:
        StoreUrlError: the URL is invalid.
    """
    scheme, colon, _ = url.partition(":")
    if url and not colon:
        # Any other text may be a password, or a URL without its beginning.
        path = url if _FILE.fullmatch(url) else ""
        raise StoreUrlError(
            f"--store={path or '…'}: not a URL; for a file write sqlite:{path or 'PATH'}"
        )
    if scheme.lower() == "sqlite":
        sqlite_path(url)
    elif url and scheme.lower() != "memory":
        parse_redis_url(url)


def sqlite_path(url: str) -> str:
    """Return the path of a ``sqlite:`` URL, which may be empty.

    Raises:
        StoreUrlError: the URL has a login, which a file can't have.
    """
    rest = url.partition(":")[2]
    login = rest.startswith("//") and rest.rpartition("@")[0]
    if login and not login.startswith("///"):
        raise StoreUrlError(
            "--store=sqlite:…: a file has no login; write sqlite:PATH, or redis://USER:PASSWORD@…"
        )
    path = rest.removeprefix("//").partition("?")[0]
    return "".join(each if each.isprintable() else "?" for each in path)


def parse_redis_url(url: str) -> RedisUrl:
    """Parse the URL of a Redis store.

    Raises:
        StoreUrlError: the URL is invalid.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator and scheme.partition(":")[0] in _SCHEMES:
        raise StoreUrlError(
            f"--store={scheme.partition(':')[0]}:…: write two slashes: redis://HOST/0"
        )
    if scheme not in _SCHEMES:
        raise StoreUrlError(f"--store: unknown scheme; write {SCHEMES}")
    return _RedisUrlParser(scheme, rest).read()


class _RedisUrlParser:
    """Parses the part of a Redis URL after its scheme."""

    def __init__(self, scheme: str, rest: str) -> None:
        self._scheme = scheme
        self._rest = rest
        self._connection, self._topology = _SCHEMES[scheme]

    def read(self) -> RedisUrl:
        rest = self._rest
        if not rest.isprintable() or " " in rest or "\\" in rest or "#" in rest:
            raise self._error(
                "it contains a space, a control character, \\ or #; in a password write %20,"
                " %5C and %23 for these"
            )
        before, _, query = rest.partition("?")
        authority, slash, path = before.partition("/")
        if "@" in path + query:
            # The text may be the rest of a password, so the message does not show it.
            raise self._error("an @ follows / or ?; in a password write %2F and %3F for these")
        login, _, hosts_text = authority.rpartition("@")
        if "[" in login or "]" in login:
            raise self._error("a bracket precedes the @; in a password write %5B and %5D")
        options = self._options(query)
        username, password = self._login(login, options)
        service, database = "", 0
        hosts: tuple[RedisHost, ...] = ()
        if self._connection == "unix":
            if hosts_text or not path:
                raise self._error("write unix:///PATH?db=0")
            path = self._unquoted(slash + path)
            database = self._database_of_option(options, 0)
        else:
            hosts = tuple(self._host(each) for each in hosts_text.split(",")) if hosts_text else ()
            service, database = self._path(path, options)
            path = ""
            hosts = hosts or self._default_hosts()
            if len(hosts) > 1 and not self._topology:
                raise self._error("several hosts; write redis+sentinel:// or redis+cluster://")
        return RedisUrl(
            self._scheme, self._connection, self._topology, hosts, path, service, database,
            username, password, tuple(options.items()),
        )  # fmt: skip

    def _error(self, what: str) -> StoreUrlError:
        return StoreUrlError(f"--store={self._scheme}://…: {what}")

    def _unquoted(self, text: str) -> str:
        try:
            text = unquote(text, errors="strict")
        except UnicodeDecodeError:
            raise self._error("the bytes after % are not UTF-8") from None
        if not text.isprintable():
            raise self._error("it contains a control character")
        return text

    def _login(self, login: str, options: dict[str, str]) -> tuple[str | None, str | None]:
        username, _, password = login.partition(":")
        of_options = options.pop("username", None), options.pop("password", None)
        given = self._unquoted(username) or None, self._unquoted(password) or None
        return (
            self._only(given[0], of_options[0], "users"),
            self._only(given[1], of_options[1], "passwords"),
        )

    def _only(self, first: str | None, second: str | None, what: str) -> str | None:
        if first is not None and second is not None and first != second:
            raise self._error(f"two {what}, before the @ and among the options; give one")
        return first if first is not None else second

    def _host(self, text: str) -> RedisHost:
        name, colon, port = text.rpartition(":")
        if not colon or "]" in port:
            name, port = text, str(self._default_port)
        found = _HOST.fullmatch(name)
        if not found or not _DIGITS.fullmatch(port) or not 0 < int(port) < 65536:
            raise self._error(
                "invalid host; write HOST:PORT, an IPv6 address in brackets, and @ after a login;"
                " in a password write %2F %3F %23 %40 for / ? # @"
            )
        return RedisHost(found["v6"] or name, int(port))

    @property
    def _default_port(self) -> int:
        return SENTINEL_PORT if self._topology == "sentinel" else REDIS_PORT

    def _default_hosts(self) -> tuple[RedisHost, ...]:
        if self._topology:
            raise self._error("no host; write HOST:PORT, several with commas")
        return (RedisHost("localhost", REDIS_PORT),)

    def _options(self, query: str) -> dict[str, str]:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query),
                              errors="strict", max_num_fields=50)  # fmt: skip
        except ValueError:
            raise self._error("write options after ? as NAME=VALUE&NAME=VALUE") from None
        options = dict(pairs)
        if len(options) < len(pairs):
            raise self._error("an option is given twice")
        if any(name not in _OPTIONS and not name.startswith("ssl_") for name in options):
            raise self._error(
                "unknown option after ?; docs/stores.md lists the options, such as ssl_ca_certs"
            )
        if not all(value.isprintable() for value in options.values()):
            raise self._error("an option contains a control character")
        return options

    def _path(self, path: str, options: dict[str, str]) -> tuple[str, int]:
        """Return the master's name (for Sentinel) and the database number in a URL's path."""
        service = ""
        if self._topology == "sentinel":
            service, _, path = self._unquoted(path).partition("/")
            if not _SERVICE.fullmatch(service) or (service.isdigit() and not path):
                raise self._error(
                    "name the master as Sentinel does: redis+sentinel://HOST:PORT/NAME/0"
                )
        database = self._database(path.removesuffix("/"))
        database = self._database_of_option(options, database)
        if self._topology == "cluster" and database:
            raise self._error("a Cluster has no databases; write redis+cluster://HOST:PORT")
        return service, database or 0

    def _database_of_option(self, options: dict[str, str], of_path: int | None) -> int:
        text = options.pop("db", None)
        if text is None:
            return of_path or 0
        database = self._number(text, "?db=")
        if of_path not in (None, 0, database):
            raise self._error("two databases, in the path and as ?db=; give one")
        return database

    def _database(self, path: str) -> int | None:
        return self._number(path, "/") if path else None

    def _number(self, text: str, before: str) -> int:
        if _DIGITS.fullmatch(text) and int(text) <= MAX_DATABASE:
            return int(text)
        name = before + (text if self._is_no_secret(text) else "…")
        if self._topology == "cluster":
            raise self._error(f"{name}: a Cluster has no databases; write redis+cluster://HOST")
        path = {"sentinel": "HOST/NAME/0"}.get(self._topology, "HOST/0")
        example = "/PATH?db=0" if self._connection == "unix" else path
        raise self._error(
            f"{name} is not the number of a database; write {self._scheme}://{example}; servers"
            " that share a database need different --key-prefix"
        )

    def _is_no_secret(self, text: str) -> bool:
        """Whether a message may show ``text``: no part before it can be a login without its @."""
        hosts_text = re.sub(r"(:6379|:26379)\b", "", self._rest.partition("?")[0].partition("/")[0])
        plain = re.fullmatch(r"[A-Za-z0-9._+/-]{1,40}", text) is not None
        return plain and ":" not in hosts_text and "@" not in hosts_text
