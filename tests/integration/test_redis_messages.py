"""What a command says if it can't open the store in a real Redis: one line with a remedy."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.commands import run_here
from tests.processes import free_port, redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Running


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with redis_server(tmp_path_factory.mktemp("locked"), "--requirepass", "geheim") as running:
        yield running


@contextlib.contextmanager
def other_service(greeting: bytes) -> Iterator[int]:
    """Answer a connection as another service does; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            # The listening socket closes at the end.
            with contextlib.suppress(OSError):
                while True:
                    with listening.accept()[0] as connection:
                        connection.settimeout(10)
                        connection.sendall(greeting)
                        connection.recv(1000)

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def said(url: str) -> str:
    """Return what ``greyd list`` says about a store that it can't open."""
    done = run_here("list", f"--store={url}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()[-1:]
    assert "geheim" not in line
    return line


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:falsch@{locked}/0", "WRONGPASS: wrong user or password; correct --store"),
        ("redis://bob:falsch@{locked}/0", "WRONGPASS: wrong user or password; correct --store"),
        ("redis://{locked}/0", "NOAUTH: Redis needs a password; give --store-password-file"),
        ("redis://:geheim@{redis}/0", "Redis needs no password, but one was given; remove it"),
        ("redis://{redis}/99", "DB index is out of range; correct the number of the database"),
        ("redis://{nobody}/0", "Connection refused; start Redis, or correct the host"),
    ],
)
def test_a_wrong_url_has_its_remedy(
    redis: Running, locked: Running, url: str, message: str
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    places = {"redis": f"127.0.0.1:{redis.port}", "locked": f"127.0.0.1:{locked.port}"}
    line = said(url.format(nobody=nobody, **places))
    assert f": {message}" in line
    assert line.startswith("greyd: 127.0.0.1:")


@pytest.mark.parametrize("greeting", [b"220 mx1 ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_service_is_no_redis(greeting: bytes) -> None:
    with other_service(greeting) as port:
        assert "it does not speak Redis's protocol; correct the host" in said(
            f"redis://127.0.0.1:{port}/0"
        )


def test_a_missing_socket_has_its_remedy(tmp_path: Path) -> None:
    line = said(f"unix://{tmp_path}/redis.sock?db=0")
    assert "No such file or directory; start Redis, or correct the path of the socket" in line
