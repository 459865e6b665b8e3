"""The sockets of systemd are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from greyd.doctor.listeners import Listener, TcpListener, connectable, parse_listen_property


def test_the_listen_property_of_systemd_is_parsed() -> None:
    lines = ["127.0.0.1:10023 (Stream)", "[::1]:10023 (Stream)", "/run/g/s (Stream)",
             "[::]:53 (Datagram)", "@abstract (Stream)"]  # fmt: skip
    assert parse_listen_property(lines) == [
        TcpListener("127.0.0.1", 10023),
        TcpListener("::1", 10023),
        Path("/run/g/s"),
    ]


@pytest.mark.parametrize(
    ("listeners", "addresses"),
    [
        ([TcpListener("localhost", 7)], [TcpListener("127.0.0.1", 7), TcpListener("::1", 7)]),
        ([TcpListener("0.0.0.0", 7)], [TcpListener("127.0.0.1", 7)]),
        ([TcpListener("::", 7), TcpListener("::1", 7)], [TcpListener("::1", 7)]),
        (
            [TcpListener("192.0.2.1", 7), Path("/run/g")],
            [TcpListener("192.0.2.1", 7), Path("/run/g")],
        ),
        ([TcpListener("127.0.0.1", 0)], []),
    ],
)
def test_listeners_are_reached_by_local_addresses_each_once(
    listeners: list[Listener], addresses: list[Listener]
) -> None:
    assert connectable(listeners) == addresses
