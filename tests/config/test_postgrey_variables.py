"""The variables of distributions, panels and containers that run postgrey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from greyd.config import server_settings, unexported_flags
from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings
from greyd.config.server_settings import read_server_settings
from greyd.config.unexported_flags import with_warnings_of_rc_conf
from greyd.config.vocabulary import DAY, Endpoint

if TYPE_CHECKING:
    from greyd.config.settings import Settings


def settings_of(tmp_path: Path, **variables: str) -> Settings:
    """Return the settings of these variables alone."""
    (tmp_path / "empty.toml").touch()
    return read_settings([f"--config={tmp_path / 'empty.toml'}"], variables)


FORMS: list[tuple[dict[str, str], dict[str, Any]]] = [
    # docker-mailserver
    (
        {
            "POSTGREY_DELAY": "30",
            "POSTGREY_MAX_AGE": "7",
            "POSTGREY_AUTO_WHITELIST_CLIENTS": "3",
            "POSTGREY_TEXT": "Delayed by Postgrey",
            "ENABLE_POSTGREY": "1",
        },
        {
            "delay_seconds": 30,
            "max_age_seconds": 7 * DAY,
            "auto_whitelist_clients": 3,
            "greylist_text": "Delayed by Postgrey",
        },
    ),
    # Gentoo
    (
        {
            "POSTGREY_TYPE": "inet",
            "POSTGREY_HOST": "127.0.0.1",
            "POSTGREY_PORT": "10030",
            "POSTGREY_SOCKET": "/var/spool/postfix/private/postgrey",
            "POSTGREY_DELAY": "60",
            "POSTGREY_OPTS": "",
        },
        {"inet": (Endpoint("127.0.0.1", 10030),), "unix": (), "delay_seconds": 60},
    ),
    (
        {
            "POSTGREY_TYPE": "unix",
            "POSTGREY_HOST": "127.0.0.1",
            "POSTGREY_PORT": "10030",
            "POSTGREY_SOCKET": "/var/spool/postfix/private/postgrey",
        },
        {"inet": (), "unix": (Path("/var/spool/postfix/private/postgrey"),)},
    ),
    # EPEL
    (
        {
            "POSTGREY_TYPE": "--unix=/var/spool/postfix/postgrey/socket",
            "POSTGREY_DELAY": "--delay=30",
            "POSTGREY_OPTS": "--privacy --max-age=7",
        },
        {
            "unix": (Path("/var/spool/postfix/postgrey/socket"),),
            "delay_seconds": 30,
            "privacy": True,
            "max_age_seconds": 7 * DAY,
        },
    ),
    ({"POSTGREY_DELAY": "--delay 30 --quiet"}, {"delay_seconds": 30, "quiet": True}),
    # FreeBSD
    (
        {"postgrey_flags": "--inet=10023 --delay=30", "postgrey_enable": "YES"},
        {"inet": (Endpoint("localhost", 10023),), "delay_seconds": 30},
    ),
    # Another distribution's name for options
    ({"POSTGREY_CONFIG": "--delay=30 --privacy"}, {"delay_seconds": 30, "privacy": True}),
    # The command line of each distribution has the options after the delay.
    ({"POSTGREY_OPTS": "--delay=90", "POSTGREY_DELAY": "30"}, {"delay_seconds": 90}),
    # Other options of postgrey, and other forms of values
    ({"POSTGREY_RETRY_WINDOW": "6h"}, {"retry_window_seconds": 6 * 3600}),
    ({"POSTGREY_DELAY": "5m"}, {"delay_seconds": 300}),
    ({"POSTGREY_PRIVACY": "yes"}, {"privacy": True}),
    ({"POSTGREY_WHITELIST_CLIENTS": "/a /b"}, {"whitelist_clients": (Path("/a"), Path("/b"))}),
    # Compose's ${X} without a value
    (
        {"POSTGREY_DELAY": "", "POSTGREY_MAX_AGE": " ", "POSTGREY_TEXT": "", "postgrey_flags": ""},
        {"delay_seconds": 300, "max_age_seconds": 35 * DAY},
    ),
]


@pytest.mark.parametrize(("variables", "expected"), FORMS)
def test_each_form_of_postgrey_s_variables_applies(
    variables: dict[str, str], expected: dict[str, Any], tmp_path: Path
) -> None:
    settings = settings_of(tmp_path, **variables)
    assert {name: getattr(settings, name) for name in expected} == expected
    assert settings.warnings == ()


def test_greyd_s_own_settings_take_precedence(tmp_path: Path) -> None:
    assert settings_of(tmp_path, POSTGREY_DELAY="30", GREYD_DELAY="60").delay_seconds == 60
    (tmp_path / "own.toml").write_text("delay = 90")
    own = read_settings([f"--config={tmp_path / 'own.toml'}"], {"POSTGREY_DELAY": "30"})
    assert own.delay_seconds == 90


@pytest.mark.parametrize(
    ("variables", "warned"),
    [
        ({"POSTGREY_NOSUCH": "1"}, "POSTGREY_NOSUCH: unknown setting"),
        ({"postgrey_nosuch": "1"}, "postgrey_nosuch: unknown setting"),
        ({"POSTGREY_TYPE": "tcp"}, "POSTGREY_TYPE: unknown setting"),
        ({"POSTGREY_TYPE": "inet"}, "POSTGREY_TYPE: unknown setting"),
        ({"POSTGREY_PORT": "10030"}, "POSTGREY_PORT: unknown setting"),
        ({"POSTGREY_USER": "--user=postgrey"}, "POSTGREY_USER: --user: ignored"),
        ({"POSTGREY_PID": "/run/postgrey.pid"}, "POSTGREY_PID: ignored"),
        ({"POSTGREY_OPTS": "$POSTGREY_OPTS --delay=60"}, "write all options on one line"),
        # RHEL 6's file, which is left on a machine that was upgraded
        ({"OPTIONS": "--unix=/var/spool/postfix/postgrey/socket --delay=60"}, "POSTGREY_OPTS"),
        ({"OPTIONS": "-d -i 10023"}, "POSTGREY_OPTS"),
        ({"OPTIONS": "--verbose --delay 60"}, "OPTIONS: not read"),
    ],
)
def test_unsupported_variables_cause_a_warning(
    variables: dict[str, str], warned: str, tmp_path: Path
) -> None:
    (warning,) = settings_of(tmp_path, **variables).warnings
    assert warned in warning


@pytest.mark.parametrize(
    "variables",
    [
        {"POSTGREY_NOSUCH": ""},
        # Kubernetes sets these for a service of that name.
        {"POSTGREY_PORT": "tcp://10.0.0.1:10023", "POSTGREY_SERVICE_HOST": "10.0.0.1"},
        {"POSTGREY_PORT_10023_TCP_ADDR": "10.0.0.1", "POSTGREY_SERVICE_PORT_POLICY": "10023"},
        {"GREYD_PORT": "tcp://10.0.0.1:10023", "GREYD_SERVICE_HOST": "10.0.0.1"},
        {"GREYD_PORT_10023_TCP_PROTO": "tcp", "GREYD_SERVICE_PORT": "10023"},
        # Other programs' variable of this name
        {"OPTIONS": ""},
        {"OPTIONS": "--verbose"},
        {"OPTIONS": "-4 -l --user=nobody --pidfile=/run/named.pid"},
        {"OPTIONS": "delay=60 inet"},
        {"OPTIONS": "--nosuch --delayed"},
    ],
)
def test_variables_that_set_nothing_are_skipped(variables: dict[str, str], tmp_path: Path) -> None:
    assert settings_of(tmp_path, **variables).warnings == ()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"POSTGREY_DELAY": "soon"}, "POSTGREY_DELAY=soon: expected"),
        ({"POSTGREY_DELAY": "--delay=soon"}, "POSTGREY_DELAY: --delay=soon: expected"),
        ({"postgrey_flags": "--nosuch"}, "postgrey_flags: --nosuch: unknown option"),
    ],
)
def test_an_error_names_the_variable(variables: dict[str, str], place: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        settings_of(tmp_path, **variables)
    assert str(error.value).startswith(place)
    assert str(error.value).isprintable()


def test_options_of_rhel_6_do_not_apply(tmp_path: Path) -> None:
    assert settings_of(tmp_path, OPTIONS="--delay=60").delay_seconds == 300


@pytest.mark.parametrize(
    ("rc_conf", "arguments", "variables", "warned"),
    [
        (
            'postgrey_flags="--delay=30"',
            [],
            {},
            "rc.conf: postgrey_flags: --delay=30: not in force",
        ),
        ('postgrey_options="--delay=30"', [], {}, "rc.conf: postgrey_options: --delay=30: not in"),
        ('postgrey_flags="--delay=30 --privacy"', [], {}, ": --delay=30 --privacy: not"),
        # All that differs is named, and only that.
        ('postgrey_flags="--delay=30 --privacy"', ["--privacy"], {}, ": --delay=30: not"),
        ('postgrey_flags="--delay=30"', ["--delay=30"], {}, None),
        ('postgrey_flags="--delay=30"', ["--delay=30s"], {}, None),
        ('postgrey_flags="--delay=300"', [], {}, None),
        ('postgrey_flags="--delay=30"', [], {"postgrey_flags": "--delay=30"}, None),
        # The script's own
        ('postgrey_flags="-d --user=postgrey --pidfile=/run/p --dbdir=/var/db/p"', [], {}, None),
        ('postgrey_flags=""', [], {}, None),
        ('postgrey_enable="YES"\ngreyd_enable="YES"\nhostname="mx"', [], {}, None),
        # It is another program's file: its faults do not stop the server.
        ('postgrey_flags="--nosuch"', [], {}, "postgrey_flags: --nosuch: unknown option"),
        ('postgrey_flags="--delay=soon"', [], {}, "--delay=soon: expected"),
        ('postgrey_flags="--delay=30', [], {}, None),
        (b"\xff\xfe", [], {}, None),
    ],
)
def test_flags_of_freebsd_that_do_not_reach_the_server_are_reported(
    rc_conf: str | bytes, arguments: list[str], variables: dict[str, str], warned: str | None,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    file = tmp_path / "rc.conf"
    file.write_bytes(rc_conf if isinstance(rc_conf, bytes) else f"{rc_conf}\n".encode())
    monkeypatch.setattr(unexported_flags, "RC_CONF_FILES", (file, tmp_path / "absent"))
    (tmp_path / "empty.toml").touch()
    settings = read_settings([f"--config={tmp_path / 'empty.toml'}", *arguments], variables)
    warnings = with_warnings_of_rc_conf(settings, variables).warnings
    assert len(warnings) == (warned is not None)
    assert all((warned or "") in each and each.isprintable() for each in warnings)


# The files that commands read ---------------------------------------------------------------------

FILES = [
    ("default/postgrey", 'POSTGREY_OPTS="--delay=30"\n'),
    ("sysconfig/postgrey", 'POSTGREY_DELAY="--delay=30"\nPOSTGREY_USER="--user=postgrey"\n'),
    ("conf.d/postgrey", 'POSTGREY_DELAY=30   # seconds\nPOSTGREY_OPTS=""\n'),
    ("rc.conf", 'hostname="mx1"\npostgrey_enable="YES"\npostgrey_flags="--delay=30" # half\n'),
    ("sysconfig/greyd", "GREYD_DELAY=30\n"),
    # Forms that editors, Windows and administrators make of them.
    ("sysconfig/postgrey", '\ufeffPOSTGREY_DELAY="--delay=30"\n'),
    ("default/postgrey", 'POSTGREY_OPTS="--delay=30"\r\nPOSTGREY_TEXT="wait"\r\n'),
    ("sysconfig/greyd", "GREYD_DELAY=30 \r\n"),
    ("default/postgrey", 'POSTGREY_OPTS="--inet=10023 \\\n  --delay=30"\n'),
    ("default/postgrey", 'POSTGREY_OPTS="--inet=10023 \\\r\n  --delay=30"\r\n'),
    ("default/postgrey", 'POSTGREY_OPTS="--inet=10023\n  --delay=30"\nPOSTGREY_TEXT="wait"\n'),
    ("default/postgrey", '# POSTGREY_OPTS="--delay=60 \\\nPOSTGREY_OPTS="--delay=30"\n'),
    ("conf.d/postgrey", "export POSTGREY_DELAY='30'\n"),
    ("conf.d/postgrey", "; POSTGREY_DELAY=60\n #POSTGREY_DELAY=60\n POSTGREY_DELAY=30"),
]


@pytest.mark.parametrize(("name", "text"), FILES)
def test_the_commands_read_the_files_of_each_distribution(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text.encode())
    etc = Path("/etc")
    assert etc / name in (*server_settings.RC_CONF_FILES, *server_settings.SERVICE_FILES)
    for files in ("RC_CONF_FILES", "SERVICE_FILES"):
        moved = [tmp_path / each.relative_to(etc) for each in getattr(server_settings, files)]
        monkeypatch.setattr(server_settings, files, tuple(moved))
    monkeypatch.delenv("GREYD_DELAY", raising=False)
    (tmp_path / "empty.toml").touch()
    arguments = [f"--config={tmp_path / 'empty.toml'}"]
    assert read_server_settings(arguments).delay_seconds == 30
    # An empty variable of the shell is not set.
    monkeypatch.setenv("GREYD_DELAY", "")
    assert read_server_settings(arguments).delay_seconds == 30
