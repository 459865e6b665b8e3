"""The URL of a store: what it means, what is refused, and that no message shows a password."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from greyd.config.settings import Settings
from greyd.redaction import redacted
from greyd.store.errors import StoreError
from greyd.store.opening import open_store
from greyd.store.url import RedisHost, StoreUrlError, parse_redis_url, redact_url, validate_url
from tests.commands import run_here

SECRET = "geheimnis"


# What a URL means ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        ("redis://db", "redis://db/0"),
        ("redis://db/", "redis://db/0"),
        ("redis://db/3", "redis://db/3"),
        ("redis://db/3/", "redis://db/3"),
        ("redis://db?db=3", "redis://db/3"),
        ("redis://db/3?db=3", "redis://db/3"),
        ("redis:///2", "redis://localhost/2"),
        ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/0"),
        ("redis://[::1]/0", "redis://[::1]/0"),
        ("redis://u:p@[2001:db8::1]:7/1", "redis://[2001:db8::1]:7/1"),
        ("redis://bücher.example/0", "redis://bücher.example/0"),
        ("REDIS://db/0", "redis://db/0"),
        ("rediss://db/0?ssl_ca_certs=/ca.pem", "rediss://db/0"),
        ("valkey://db/4", "valkey://db/4"),
        ("valkeys://u:p@db/4", "valkeys://db/4"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ("unix://:p@/run/redis.sock?db=3", "unix:///run/redis.sock?db=3"),
        ("redis+sentinel://a,b:99/mail", "redis+sentinel://a,b:99/mail/0"),
        ("redis+sentinel://u:p@a/mail/5", "redis+sentinel://a/mail/5"),
        ("valkey+sentinel://a/mail/5", "valkey+sentinel://a/mail/5"),
        ("valkeys+sentinel://a/mail/5", "valkeys+sentinel://a/mail/5"),
        ("redis+cluster://a,b:7/", "redis+cluster://a,b:7"),
        ("redis+cluster://a/0", "redis+cluster://a"),
        ("valkey+cluster://a,b", "valkey+cluster://a,b"),
        ("valkeys+cluster://[::1]:7", "valkeys+cluster://[::1]:7"),
        ("sqlite:/var/lib/greyd/greyd.db", "sqlite:/var/lib/greyd/greyd.db"),
        ("sqlite:///var/lib/greyd/greyd.db", "sqlite:/var/lib/greyd/greyd.db"),
        ("sqlite:/home/a@b/greyd.db", "sqlite:/home/a@b/greyd.db"),
        ("memory://", "memory://"),
    ],
)
def test_a_url_that_is_understood_is_shown_without_its_login(url: str, shown_as: str) -> None:
    validate_url(url)
    if not url.startswith("sqlite:"):
        open_store(Settings(store=url), Path("/nonexistent"))
    assert redact_url(url) == shown_as


@pytest.mark.parametrize(
    ("login", "username", "password"),
    [
        ("", None, None),
        (":pw@", None, "pw"),
        ("mail:pw@", "mail", "pw"),
        ("mail@", "mail", None),
        ("mail:p%40%2F%3A%23%25@", "mail", "p@/:#%"),
        ("mail:p:q@", "mail", "p:q"),
        ("mail:p@q@", "mail", "p@q"),
        ("mail:50%off@", "mail", "50%off"),
        ("mail:p%C3%BC@", "mail", "pü"),
    ],
)
def test_a_login_is_read_as_uris_have_it(
    login: str, username: str | None, password: str | None
) -> None:
    url = parse_redis_url(f"redis://{login}db/0")
    assert (url.username, url.password, url.hosts) == (username, password, (RedisHost("db", 6379),))


def test_a_login_may_stand_among_the_options() -> None:
    url = parse_redis_url("redis://db/0?username=mail&password=p%40&ssl_ca_certs=/ca.pem")
    assert (url.username, url.password) == ("mail", "p@")
    assert url.options == (("ssl_ca_certs", "/ca.pem"),)


# What is refused ----------------------------------------------------------------------------------

NO_DATABASE = [
    ("redis://db/name", "/name is not the number of a database; write redis://HOST/0"),
    ("redis://db/2x", "/2x is not the number of a database"),
    ("redis://db/-1", "/-1 is not the number of a database"),
    ("redis://db/+1", "/[+]1 is not the number of a database"),
    ("redis://db/1/2", "/1/2 is not the number of a database"),
    ("redis://db//1", "//1 is not the number of a database"),
    ("redis://db/9999999999", "/9999999999 is not the number of a database"),
    ("redis://db/%31", "is not the number of a database"),
    ("redis://db/²", "is not the number of a database"),
    ("redis://db/mymaster/0", "/mymaster/0 is not the number of a database"),
    ("redis://db:6379/name", "/name is not the number of a database"),
    ("valkey://db/name", "/name is not the number of a database; write valkey://HOST/0"),
    ("redis://db?db=x", "[?]db=x is not the number of a database"),
    ("redis://db?db=-1", "[?]db=-1 is not the number of a database"),
    ("redis://db?db=", "is not the number of a database"),
    ("redis://db/1?db=2", "two databases"),
    ("unix:///run/redis.sock?db=x", "[?]db=x is not the number of a database"),
    (
        "redis+sentinel://a/mail/x",
        "/x is not the number of a database; .* redis.sentinel://HOST/NAME/0",
    ),
    ("redis+sentinel://a/mail/0/1", "/0/1 is not the number of a database"),
    ("redis+sentinel://a/mail?db=x", "is not the number of a database"),
    ("redis+sentinel://a/0", "name the master"),
    ("redis+sentinel://a/", "name the master"),
    ("redis+sentinel://a/ma%20il/0", "name the master"),
    ("redis+cluster://a/1", "a Cluster has no databases"),
    ("redis+cluster://a/name", "a Cluster has no databases"),
    ("redis+cluster://a?db=1", "a Cluster has no databases"),
]

NO_URL = [
    ("greyd.db", "=greyd.db: not a URL; for a file write sqlite:greyd.db"),
    ("geheim", "=…: not a URL; for a file write sqlite:PATH"),
    ("mysql://db/0", "unknown scheme; write sqlite:PATH"),
    ("redis:/db/0", "write two slashes"),
    ("redis:db", "write two slashes"),
    ("redis//db/0", "not a URL"),
    ("http+sentinel://db/0", "unknown scheme"),
    ("unix+cluster:///run/redis.sock", "unknown scheme"),
    ("redis://db:0/0", "HOST:PORT"),
    ("redis://db:65536/0", "HOST:PORT"),
    ("redis://db:port/0", "HOST:PORT"),
    ("redis://db:/0", "HOST:PORT"),
    ("redis://[::1/0", "brackets"),
    ("redis://::1/0", "brackets"),
    ("redis://::1]/0", "brackets"),
    ("redis://[::g]/0", "brackets"),
    ("redis://-db/0", "HOST:PORT"),
    ("redis://[u:p@db/0", "a bracket precedes the @"),
    ("redis://a,b/0", "several hosts"),
    ("redis+cluster://a,,b", "HOST:PORT"),
    ("redis+cluster://", "no host"),
    ("redis+sentinel:///mail/0", "no host"),
    ("redis://d b/0", "a space"),
    ("redis://db/0 ", "a space"),
    ("redis://db\\0", "a space, a control character, "),
    ("redis://db/0#x", "#"),
    ("redis://u:%ff@db/0", "UTF-8"),
    ("redis://u:%0a@db/0", "control character"),
    ("redis://u:a@db/0?password=b", "two passwords"),
    ("redis://db/0?colour=grey", "unknown option"),
    ("redis://db/0?ssl_colour=grey", "unknown option or invalid value"),
    ("rediss://db/0?ssl_cert_reqs=grey", "unknown option or invalid value"),
    ("redis://db/0?socket_timeout=soon", "unknown option or invalid value"),
    ("redis://db/0?nothing", "NAME=VALUE"),
    ("redis://db/0?db=1&db=2", "given twice"),
    ("unix://run/redis.sock", "unix:///PATH"),
    ("unix://", "unix:///PATH"),
    ("sqlite://u:p@db/0", "a file has no login"),
]


@pytest.mark.parametrize(("url", "line"), NO_DATABASE + NO_URL)
def test_a_url_that_means_nothing_is_refused_with_what_to_write(url: str, line: str) -> None:
    with pytest.raises(StoreError, match=line) as error:
        open_store(Settings(store=url), Path("/nonexistent"))
    assert str(error.value).startswith("--store")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("url", ["redis://db/name", "redis://u:p@[::1/0", "redis+cluster://a/1"])
def test_a_command_is_refused_with_one_line_and_status_2(url: str) -> None:
    done = run_here("stats", f"--store={url}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("greyd: --store=redis")
    assert done.stderr.count("\n") == 1


# No password --------------------------------------------------------------------------------------

URLS = [
    "redis://u:{}@h/0", "redis://:{}@h:6379/0", "rediss://u:{}@[::1]:6379/0", "valkey://u:{}@h",
    "redis+sentinel://u:{}@a,b/mail/0", "redis+cluster://u:{}@a,b", "unix://u:{}@/run/redis/0",
    "redis://h/0?password={}", "redis://h/0?username=u&password={}",
]  # fmt: skip


def slips(url: str) -> list[str]:
    """Return a URL with each character of its delimiters left out, doubled, or another one."""
    places = [place for place, char in enumerate(url) if char in ":/@?=[]+,"]
    changed = [
        url[:place] + instead + url[place + 1 :]
        for place in places
        for instead in ("", url[place] * 2, " ", "#", ";", "\\")
    ]
    return [url, f" {url}", f'"{url}"', url.upper(), url.replace("://", ":/"), url.partition("://")[2],
            *changed]  # fmt: skip


PASSWORDS = [SECRET, "ge heim", "ge@heim", "ge/heim", "ge?heim", "ge#heim", "ge%heim", "ge:heim"]
KINDS = list(itertools.product(URLS, PASSWORDS))


def secrets_in(password: str, text: str) -> list[str]:
    """Return what of a password stands in a text: the whole, or a part that tells it."""
    parts = [password, quote(password, safe=""), "heim", SECRET]
    return [part for part in parts if part.lower() in text.lower() and part.lower() in password]


def all_that_is_said_of(url: str) -> str:
    """Return what a message, the log, a page or a command could show of a URL."""
    said = [redact_url(url), repr(Settings(store=url))]
    for refuse in (
        parse_redis_url,
        lambda text: open_store(Settings(store=text), Path("/nonexistent")),
    ):
        try:
            refuse(url)
        except (StoreUrlError, StoreError) as error:
            said.append(str(error))
    return "\n".join(said)


@pytest.mark.parametrize(("url", "password"), KINDS)
def test_no_mistyped_url_shows_its_password(url: str, password: str) -> None:
    for mistyped in slips(url.format(password)):
        if "@" in password and mistyped.count("@") == 1:
            # Nothing tells this from a shorter password and a host.
            continue
        said = all_that_is_said_of(mistyped) + redacted(mistyped)
        assert not secrets_in(password, said), mistyped


@st.composite
def mistyped_urls(draw: st.DrawFn) -> tuple[str, str]:
    """Make a URL with a password, and change some of what stands around it."""
    letters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="@")
    password = "Zq7" + draw(st.text(letters, min_size=4, max_size=20))
    before, after = draw(st.sampled_from(URLS)).split("{}")
    for _ in range(draw(st.integers(0, 2))):
        side = draw(st.booleans())
        text = before if side else after
        place = draw(st.integers(0, max(len(text) - 1, 0)))
        text = text[:place] + draw(st.text(max_size=2)) + text[place + draw(st.integers(0, 1)) :]
        before, after = (text, after) if side else (before, text)
    return before + password + after, password


@given(mistyped_urls())
@settings(max_examples=500)
@example(("redis:/u:Zq7geheim@h/0", "Zq7geheim"))
@example(("redis//u:Zq7geheim@h/0", "Zq7geheim"))
def test_no_change_of_a_url_makes_it_show_its_password(mistyped: tuple[str, str]) -> None:
    url, password = mistyped
    with contextlib.suppress(StoreUrlError):
        if parse_redis_url(url).password is None:
            # What stands where a host or a user does is one.
            return
    assert "zq7" not in all_that_is_said_of(url).lower(), (url, password)


COMMANDS = [
    ["stats", "--store={}"],
    ["list", "--store", "{}"],
    ["doctor", "--store={}"],
    ["import", "{}"],
    ["import", "--store={}", "redis://127.0.0.1:1/0"],
    ["stats", "{}"],
    ["stats", "--sotre={}"],
    ["mode", "{}"],
    ["{}"],
    ["serve", "--sotre={}"],
    ["serve", "--store={}", "--delay=x"],
    ["serve", "--delay={}"],
    ["serve", "--metrics={}"],
    ["postfix-config", "--store={}"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "url",
    [
        f"redis:/u:{SECRET}@h/0", f"u:{SECRET}@h/0", f"redis://u:{SECRET}@[::1/0",
        f"redis://h/0?passwd={SECRET}",
    ],
)  # fmt: skip
def test_no_command_shows_the_password_of_a_mistyped_url(words: list[str], url: str) -> None:
    done = run_here(*(word.replace("{}", url) for word in words))
    assert SECRET not in done.stdout + done.stderr
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("url", [f"redis:/u:{SECRET}@h/0", f"redis://u:{SECRET}@[::1/0", SECRET])
def test_nor_does_one_in_the_environment_or_a_file(tmp_path: Path, url: str) -> None:
    file = tmp_path / "greyd.toml"
    file.write_text(f'store = "{url}"\n')
    for done in (
        run_here("stats", GREYD_STORE=url),
        run_here("stats", f"--config={file}"),
        run_here("serve", GREYD_OPTS=f"--store='{url}'"),
        run_here("serve", POSTGREY_OPTS=f"--store='{url}'"),
    ):
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert SECRET not in done.stdout + done.stderr
