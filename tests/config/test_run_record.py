"""What a server writes into greyd.run is read as it was; anything else is refused with a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from greyd.config.loading import read_settings, settings_of_server
from greyd.config.running.run_record import MAX_RECORD_BYTES, RunRecord, RunRecordError
from greyd.server.description import record_of

if TYPE_CHECKING:
    from pathlib import Path

RECORD = RunRecord(
    pid=1234,
    version="0.2.0",
    started_at=1_790_000_000,
    sockets=("inet:127.0.0.1:10023", "inet:[::1]:10023", "unix:/run/greyd/socket"),
    metrics="[::1]:9923",
    store="redis://db1/0",
    options=(
        ("delay", "60"),
        ("recipient-domain", "example.com;delay=5"),
        ("greylist-text", "„x“"),
    ),
    has_login=True,
)


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(RECORD.dump()), **fields}).encode()


def test_a_record_is_read_as_it_was_written() -> None:
    assert RunRecord.load(RECORD.dump()) == RECORD


@pytest.mark.parametrize(
    "fields",
    [{"new_field": {"a": 1}}, {"options": [*map(list, RECORD.options), ["no-such-option", "1"]]}],
)
def test_fields_of_newer_versions_are_ignored(fields: dict[str, object]) -> None:
    assert RunRecord.load(changed(**fields)) == RECORD


WRONG_VALUES = {
    "pid": [None, "1", 1.0, True, 0, -5, 2**31, 10**300, float("inf"), float("nan"), [], {}],
    "started_at": [None, "1", 1.5, False, -1, 10**30, float("-inf"), [], {}],
    "version": [None, 1, "", "9" * 5000, [], {}],
    "sockets": [
        None, "inet:1", {}, {"inet:1": 1}, [None], [1], [""], ["unix:"], ["inet:"], ["inet:name"],
        ["inet:host:99999"], ["/run/greyd/socket"], [["inet:1"]],
    ],
    "metrics": [1, True, "", "off", "name", "host:99999", [], {}],
    "store": [None, 1, "", "sqlite:/" + "a" * 5000, [], {}],
    "options": [
        None, 1, "ab", {"delay": "1"}, ["ab"], [["delay"]], [["delay", "1", "2"]], [["delay", 1]],
        [["delay", None]], [[["delay"], "1"]], [[]], [None],
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG_VALUES.items() for value in values],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_that_no_server_writes_is_refused(name: str, value: object) -> None:
    with pytest.raises(RunRecordError, match="an incomplete or damaged record"):
        RunRecord.load(changed(**{name: value}))


@pytest.mark.parametrize("name", WRONG_VALUES)
def test_a_record_without_one_of_its_fields_is_refused(name: str) -> None:
    document = json.loads(RECORD.dump())
    del document[name]
    with pytest.raises(RunRecordError, match="incomplete"):
        RunRecord.load(json.dumps(document).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not the record"),
        (b"null", "not the record"),
        (b"[]", "not the record"),
        (b"\xff\xfe\x00", "not the record"),
        (b"[" * 200_000, "not the record"),
        (b'{"format": ' + b"9" * 6000 + b"}", "not the record"),
        (changed(format="1"), "not the record"),
        (changed(format=2), "newer greyd"),
        (changed(format=10**30), "newer greyd"),
        (b" " * (MAX_RECORD_BYTES + 1), "longer than 8 MiB"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_other_files_are_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(RunRecordError, match=reason) as error:
        RunRecord.load(content)
    assert str(error.value).isprintable()


def test_no_text_in_a_record_can_control_the_terminal() -> None:
    record = RunRecord.load(
        changed(
            version="\x1b[31m", store="sqlite:/\x1b]0;\x07", sockets=["unix:/\x9b1m"], metrics=None
        )
    )
    assert all(each.isprintable() for each in (record.version, record.store, *record.sockets))


@pytest.mark.parametrize("option", ["dnsbl", "rhsbl", "dnswl"])
def test_a_key_in_the_name_of_a_list_is_neither_written_nor_passed_over(
    option: str, tmp_path: Path
) -> None:
    zone = "abcdefgh12345678.zen.dq.spamhaus.net"
    settings = read_settings(
        [f"--{option}={zone}", f"--{option}=plain.example", f"--shadow={option}={zone}"], {}
    )
    record = record_of(settings, tmp_path, (), ())
    assert "abcdefgh12345678" not in record.dump().decode()
    assert (option, "plain.example") in record.options
    assert record.withheld == (option, "shadow")
    assert RunRecord.load(record.dump()) == record


def test_a_record_of_the_first_version_withholds_nothing() -> None:
    document = json.loads(RECORD.dump())
    del document["withheld"]
    assert RunRecord.load(json.dumps(document).encode()) == RECORD


def test_paths_are_absolute_wherever_an_option_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(
        [
            "--whitelist-clients=clients",
            "--unix=socket",
            "--dnsbl={key}.list.example=1h;key_file=key;weight=0.5",
            "--dnsbl=other.example=900",
            "--dnswl={key}.good.example=low,support;KEY_FILE=key",
            "--shadow=whitelist-senders=senders",
            "--shadow=rhsbl={key}.domains.example;key_file=../key",
            "--shadow=delay=60",
        ],
        {},
    )
    assert sorted(settings.given) == [
        ("dnsbl", "other.example=900"),
        ("dnsbl", f"{{key}}.list.example=1h;key_file={tmp_path}/key;weight=0.5"),
        ("dnswl", f"{{key}}.good.example=low,support;key_file={tmp_path}/key"),
        ("shadow", "delay=60"),
        ("shadow", f"rhsbl={{key}}.domains.example;key_file={tmp_path}/../key"),
        ("shadow", f"whitelist-senders={tmp_path}/senders"),
        ("unix", f"{tmp_path}/socket"),
        ("whitelist-clients", f"{tmp_path}/clients"),
    ]
    elsewhere = settings_of_server([], settings.given)
    assert elsewhere.given == settings.given
    assert elsewhere.shadow_settings is not None


def test_the_record_of_the_largest_configuration_can_be_read() -> None:
    domains = tuple(("recipient-domain", f"ü{number}.example;delay=5") for number in range(40_000))
    record = RunRecord(1, "0.2.0", 1, (), None, "sqlite:/a", domains)
    assert RunRecord.load(record.dump()) == record
