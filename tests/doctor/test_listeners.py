"""The sockets of systemd are parsed."""

from __future__ import annotations

from pathlib import Path

from greyd.doctor.listeners import TcpListener, parse_listen_property


def test_the_listen_property_of_systemd_is_parsed() -> None:
    lines = ["127.0.0.1:10023 (Stream)", "[::1]:10023 (Stream)", "/run/g/s (Stream)",
             "[::]:53 (Datagram)", "@abstract (Stream)"]  # fmt: skip
    assert parse_listen_property(lines) == [
        TcpListener("127.0.0.1", 10023),
        TcpListener("::1", 10023),
        Path("/run/g/s"),
    ]
