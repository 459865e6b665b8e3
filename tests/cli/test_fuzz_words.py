"""Whatever words the server, the environment, a file or a URL has: one line, no traceback, no wait.

``make fuzz`` runs the same for longer (``--hypothesis-profile=fuzz``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from greyd.config.loading import read_settings
from greyd.config.options import OPTIONS
from greyd.errors import GreydError
from greyd.store.opening import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from greyd.config.settings import Settings

NOW = int(time.time())
MAX_SECONDS = 60
"""After which a command is taken to hang; each takes some milliseconds."""

ODD = [
    "", " ", "-1", "-3", "0", "5", "1.5", "9" * 25, "9" * 5000, "-" + "9" * 5000, "1e999", "nan",
    "inf", "0x10", "1_0", "\udcff", "\udc80\udcfe", "\ud800", "\x1b[31m", "a\nb", "\u2028", "ü",
    "😀", "９", "١", "{}", "[", "[" * 3000, "::1", "[::1", "192.0.2.7", "192.0.2.7/33",
    "192.0.2.0/24",
    "2001:db8::/129", "a@b.invalid", "A@B@c.invalid", "@", "<>", "<", "@x.invalid",
    "\udcff@x.invalid",
    "x" * 70_000, "--", "-", "-x", "--x", "--x=y", "=", "/", "/dev/null", "/nonexistent/x",
    "999999999d", "99999999999999999999h", "10m", "-10m", "1d1d", "0s", "2026-99-99", "0000-00-00",
    "9999-12-31", "10000-01-01", "1970-01-01T00:00:00", "redis:/u:geheim@h/0",
    "redis://u:geheim@[::1/0", "redis://h/x", "sqlite:", "memory://", "mysql://x", "on", "off",
    "127.0.0.1:0", ":99999", "localhost:-1", "x.invalid:http", "*", "delay=abc", "delay=", "=60",
]  # fmt: skip
words = st.sampled_from(ODD) | st.text(max_size=8)
# What a process can be given: no NUL, and octets that are no UTF-8 as lone surrogates of them.
arguments = words.map(
    lambda word: os.fsdecode(word.encode(errors="surrogatepass").replace(b"\0", b""))
)

settings.register_profile("fuzz", max_examples=5000)
NO_DOMAINS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """Fail where something takes much too long."""

    def give_up(*_: object) -> None:
        pytest.fail(f"it hangs: nothing within {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def settle(words: list[str], environment: dict[str, str]) -> Settings | None:
    """Read settings as the server does, and open the store; None where that is refused."""
    try:
        with no_hang():
            found = read_settings(words, environment)
            open_store(found, found.dbdir or _NOWHERE)
    except GreydError as error:
        text = str(error)
        assert text.isprintable(), (words, environment, text)
        assert "geheim" not in text
        assert len(text) < 2000
        return None
    return found


_NOWHERE = Path("/nonexistent/greyd")

options = st.sampled_from([f"--{each.name}" for each in OPTIONS if each.name != "config"])
given_options = st.lists(
    st.tuples(options, arguments).map("=".join) | options | arguments, max_size=5
)
variables = st.dictionaries(
    st.sampled_from(
        [each.variable for each in OPTIONS if each.name != "config"]
        + ["GREYD_OPTS", "POSTGREY_OPTS", "POSTGREY_TEXT", "GREYD_NOSUCH"]
    ),
    arguments,
    max_size=4,
)


@NO_DOMAINS
@given(given_options, variables)
@example(["--listen-queue-size=999999999999"], {})
@example([], {"GREYD_OPTS": "'"})
def test_no_options_and_no_environment_do(line: list[str], environment: dict[str, str]) -> None:
    settle(line, environment)


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["9" * 5000, "1" * 100]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def toml(value: Any) -> str:
    """Write a value in TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        escaped = (f"\\U{ord(each):08x}" if not each.isalnum() else each for each in value)
        return f'"{"".join(escaped)}"' if not value.isdigit() else value
    return str(value)


@NO_DOMAINS
@given(
    st.dictionaries(st.sampled_from([each.key for each in OPTIONS]), toml_values, max_size=4),
    st.binary(max_size=20),
)
def test_no_file_of_settings_does(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, Any], data: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / f"greyd-{os.getpid()}.toml"
    text = "".join(f"{key} = {toml(value)}\n" for key, value in table.items())
    for content in (
        text.encode(errors="surrogatepass"),
        data,
        text.encode(errors="replace") + data,
    ):
        file.write_bytes(content)
        settle([f"--config={file}"], {})


@NO_DOMAINS
@given(
    words
    | st.text()
    | st.sampled_from(ODD).flatmap(lambda odd: words.map(lambda w: f"redis://{w}@{odd}/{w}"))
)
def test_no_url_of_a_store_does(url: str) -> None:
    settle([], {"GREYD_STORE": url})
