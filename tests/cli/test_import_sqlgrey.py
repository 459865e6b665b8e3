"""sqlgrey's database in its SQLite file, and in dumps of MariaDB, PostgreSQL and SQLite.

The files in tests/corpus/sqlgrey were written by mariadb-dump 10.11 and pg_dump 15 with the options
in their names, from tables that sqlgrey 1.8.0 made.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import re
import sqlite3
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greyd.cli.errors import CommandError
from greyd.cli.importing.items import ImportedEntry, SkippedEntry, UnreadableItem
from greyd.cli.importing.sql.rows import SqlDump, is_sql
from greyd.cli.importing.sql.tokens import MAX_TOKEN_BYTES
from greyd.cli.importing.sqlgrey import SqlgreyDatabase
from greyd.cli.importing.sqlgrey_dump import open_dump
from greyd.cli.importing.timestamps import parse_time, parse_zone
from greyd.config.settings import Settings
from tests.commands import answer_of, content, run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

CORPUS = Path(__file__).parent.parent / "corpus" / "sqlgrey"
NOW = int(time.time())
BERLIN = ZoneInfo("Europe/Berlin")


# Times --------------------------------------------------------------------------------------------

NOON = int(datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01 12:00:00", NOON - 7200),
        ("2026-05-01T12:00:00", NOON - 7200),
        ("2026-05-01 12:00", NOON - 7200),
        ("2026-05-01 12:00:00.123456", NOON - 7200),
        ("2026-05-01 12:00:00,5", NOON - 7200),
        (" 2026-05-01 12:00:00 ", NOON - 7200),
        ("2026-5-1 12:00:00", NOON - 7200),
        ("2026-05-01 12:00:00+00", NOON),
        ("2026-05-01 12:00:00.5+00:00", NOON),
        ("2026-05-01 12:00:00-0530", NOON + 19800),
        ("2026-05-01 12:00:00 +0100", NOON - 3600),
        ("2026-05-01T12:00:00Z", NOON),
        ("2026-05-01 12:00:00 UTC", NOON),
        ("2026-01-01 12:00:00", int(datetime(2026, 1, 1, 11, tzinfo=UTC).timestamp())),
        ("20260501120000", NOON - 7200),
        ("2016-12-31 23:59:60", int(datetime(2016, 12, 31, 22, 59, 59, tzinfo=UTC).timestamp())),
        (str(NOON), NOON),
        (f"{NOON}.75", NOON),
        ("0000-00-00 00:00:00", None),
        ("00000000000000", None),
        ("2026-02-30 12:00:00", None),
        ("2026-05-01 25:00:00", None),
        ("2026-05-01", None),
        ("infinity", None),
        ("", None),
        ("yesterday", None),
    ],
)
def test_times_of_every_database_are_read(text: str, expected: int | None) -> None:
    assert parse_time(text, BERLIN) == expected


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("UTC", UTC),
        ("utc", UTC),
        ("+01:00", timezone(timedelta(hours=1))),
        ("-0530", timezone(-timedelta(hours=5, minutes=30))),
        ("+2", timezone(timedelta(hours=2))),
        ("Europe/Berlin", BERLIN),
    ],
)
def test_time_zones_are_read(text: str, zone: tzinfo) -> None:
    assert parse_zone(text) == zone


@pytest.mark.parametrize("text", ["", "Europe", "+1:2:3", "../etc/passwd", "MEST2", "+25:00"])
def test_other_texts_are_not_time_zones(text: str) -> None:
    with pytest.raises(ValueError, match="a time zone"):
        parse_zone(text)


# Dumps --------------------------------------------------------------------------------------------

FIRST = int(datetime(2026, 10, 1, 10, tzinfo=UTC).timestamp())
"""The time in the dumps of MariaDB; those of PostgreSQL have the same in local time of UTC+2."""
LAST = FIRST + 86400

CONNECT = [
    (b"ann", b"example.com", b"198.51.100.77", b"bob@example.org", FIRST),
    (b"o'hara", b"example.com", b"198.51.100", b"bob@example.org", FIRST),
    (b"back\\slash", b"example.com", b"198.51.100.78", b"bob@example.org", FIRST),
    (b'dq"uote;--x', b"example.com", b"198.51.100.79", b"carl,(a)@example.org", FIRST),
    (b"-undef-", b"-undef-", b"198.51.100.80", b"bob@example.org", FIRST),
    (b"tab\there", b"example.com", b"198.51.100.81", b"bob@example.org", FIRST),
    ("näme".encode(), b"example.com", b"2001:0db8:0000:0001:0000:0000:0000:0007",
     b"bob@example.org", FIRST),
]  # fmt: skip
FROM_AWL = [
    (b"#-x", b"example.com", b"198.51.100", FIRST, LAST),
    (b"ann", b"example.com", b"198.51.100.77", FIRST, LAST),
]
DOMAIN_AWL = [
    (b"example.com", b"203.0.113", FIRST, LAST),
    (b"example.net", b"198.51.100.77", FIRST, LAST),
]


def rows_of(dump: bytes, zone: tzinfo = UTC, chunk: int = 1 << 20) -> dict[str, list[Any]]:
    """Return the rows of a dump's tables in order."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or chunk, chunk))

    assert is_sql(dump[:65536])
    with open_dump(Slow(dump), dump[:65536], zone) as opened:
        assert opened.problem == ""
        return {
            table: sorted(opened.connection.execute(f"SELECT * FROM {table}"))
            for table in ("connect", "from_awl", "domain_awl", "optout_email")
        }


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.sql")), ids=lambda path: path.stem)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_dumps_of_all_forms_have_the_same_rows(file: Path, end: bytes) -> None:
    zone = UTC if file.stem.startswith("mariadb") else timezone(timedelta(hours=2))
    # One of the dumps is in ISO 8859-1, as the table.
    dump = file.read_bytes().replace("ä".encode("latin-1"), "ä".encode())
    assert rows_of(dump.replace(b"\n", end), zone) == {
        "connect": sorted(CONNECT),
        "from_awl": FROM_AWL,
        "domain_awl": DOMAIN_AWL,
        "optout_email": [(b"boss@example.org",)],
    }


@pytest.mark.parametrize("name", ["mariadb", "postgresql"])
def test_the_size_of_the_reads_does_not_matter(name: str) -> None:
    dump = (CORPUS / f"{name}.sql").read_bytes()
    whole = rows_of(dump)
    for chunk in (1, 7, 100, 4096):
        assert rows_of(dump, chunk=chunk) == whole


@pytest.mark.parametrize("name", ["mariadb", "mariadb-bare", "postgresql", "postgresql-inserts"])
def test_a_truncated_dump_is_detected_wherever_it_ends(name: str) -> None:
    dump = (CORPUS / f"{name}.sql").read_bytes().rstrip()
    begin = dump.index(b"connect")
    last = re.search(rb"-- .*dump complete", dump, re.IGNORECASE)
    for end in range(begin, last.start() + 10 if last else len(dump), 97):
        cut = dump[:end]
        with contextlib.suppress(CommandError), open_dump(io.BytesIO(cut), cut, UTC) as opened:
            # Without comments, a dump may end behind any statement.
            assert opened.problem or name == "mariadb-bare"


def test_the_dump_of_sqlite_is_read() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        for row in CONNECT:
            values = [v.decode() if isinstance(v, bytes) else v for v in row]
            connection.execute("INSERT INTO connect VALUES (?, ?, ?, ?, ?)", values)
        dump = "\n".join(connection.iterdump()).encode()
    assert rows_of(dump)["connect"] == sorted(CONNECT)
    assert rows_of(b"PRAGMA foreign_keys=OFF;\n" + dump)["connect"] == sorted(CONNECT)


SCHEMA = """
CREATE TABLE from_awl (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, first_seen timestamp NOT NULL, last_seen timestamp NOT NULL);
CREATE TABLE domain_awl (sender_domain varchar(255) NOT NULL, src varchar(39) NOT NULL,
    first_seen timestamp NOT NULL, last_seen timestamp NOT NULL);
CREATE TABLE connect (sender_name varchar(64) NOT NULL, sender_domain varchar(255) NOT NULL,
    src varchar(39) NOT NULL, rcpt varchar(255) NOT NULL, first_seen timestamp NOT NULL);
"""

ROW = (b"a", b"example.com", b"192.0.2.7", b"b@example.org", FIRST)


@pytest.mark.parametrize(
    "dump",
    [
        "INSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',{});",
        "insert into connect values('a','example.com','192.0.2.7','b@example.org','{}');",
        "INSERT INTO \"public\".\"connect\" VALUES ('a','example.com','192.0.2.7',"
        "'b@example.org',{});",
        "INSERT  IGNORE INTO `db`.`connect` VALUES ('a','example.com','192.0.2.7',"
        "_binary 'b@example.org',FROM_UNIXTIME({}));",
        "INSERT INTO connect (rcpt, src, first_seen, extra, sender_domain, sender_name) VALUES"
        " ('b@example.org','192.0.2.7',{},NULL,'example.com','a');",
        "\N{ZERO WIDTH NO-BREAK SPACE}INSERT INTO connect VALUES ('a','example.com','192.0.2.7',"
        "'b@example.org',{});",
        "mysqldump: [Warning] Using a password on the command line can be insecure.\n"
        "/*!40101 SET NAMES utf8 */;\nINSERT INTO connect VALUES ('a','example.com','192.0.2.7',"
        "'b@example.org',{});",
        'INSERT INTO `connect` VALUES ("a","example.com","192.0.2.7","b@example.org",{});',
        # sqlgrey before version 1.5
        "CREATE TABLE connect (sender_name varchar(64), sender_domain varchar(255),"
        " ip_addr varchar(15), rcpt varchar(255), first_seen timestamp, KEY x (ip_addr));\n"
        "INSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',{});",
        "INSERT INTO connect VALUES (X'61',0x6578616d706c652e636f6d,'192.0.2.7',"
        "E'b\\x40example.org'::text,{}) ON CONFLICT DO NOTHING;",
        "INSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',{})"
        " ON DUPLICATE KEY UPDATE src=VALUES(src), rcpt=('x');",
        "CREATE FUNCTION f() AS $body$ it's; 'x $body$;\nINSERT INTO connect VALUES"
        " ('a','example.com','192.0.2.7','b@example.org',{});",
        "/* it's */ -- it's\n# it's\nINSERT INTO t VALUES ('a''b', 'c\\'; d');\n"
        "INSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',{});",
        "COPY connect (rcpt, src, sender_domain, sender_name, first_seen) FROM stdin;\n"
        "b@example.org\t192.0.2.7\texample.com\ta\t{}\n\\.\n",
        "COPY other FROM stdin;\nINSERT INTO connect VALUES (1);\n\\.\n"
        "COPY public.connect FROM stdin WITH (FORMAT text);\n"
        "a\texample.com\t192.0.2.7\tb\\100example.org\t{}\n\\.\n",
    ],
)
def test_rows_of_all_statements_are_read(dump: str) -> None:
    if "E'b" in dump:
        dump = dump.replace("\\x40", "@")
    assert rows_of(dump.replace("{}", str(FIRST)).encode())["connect"] == [ROW]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("/*!40103 SET TIME_ZONE='+00:00' */;", FIRST),
        ('SET time_zone = "+03:00";', FIRST - 10800),
        ("SET @OLD_TIME_ZONE=@@TIME_ZONE;", FIRST - 7200),
        ("SET TIME_ZONE='SYSTEM';", FIRST - 7200),
        ("", FIRST - 7200),
    ],
)
def test_a_dumps_own_time_zone_takes_precedence_over_the_option(
    setting: str, expected: int
) -> None:
    dump = (
        f"{setting}\nINSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',"
        "'2026-10-01 10:00:00');\nSET TIME_ZONE=@OLD_TIME_ZONE;"
    )
    ((*_, when),) = rows_of(dump.encode(), BERLIN)["connect"]
    assert when == expected


@pytest.mark.parametrize(
    ("text", "filling"),
    [
        *((b"'%s'", filling) for filling in (b"x", b"''", b"\\\\", b"(;", b"a b ")),
        *((text, b"(; ") for text in (b"/* %s */", b"-- %s\n", b"`%s`", b'"%s"', b"$x$%s$x$")),
    ],
)
def test_a_token_that_is_too_long_is_left_out_and_the_next_row_is_read(
    text: bytes, filling: bytes
) -> None:
    long = text % (filling * (3 * MAX_TOKEN_BYTES // len(filling)))
    row = b"('a','example.com','192.0.2.7','b@example.org',%d)" % FIRST
    dump = b"INSERT INTO other VALUES (1, %s);\nINSERT INTO connect VALUES %s;" % (long, row)
    if text.startswith(b"--"):
        dump = long + dump.replace(long, b"2")
    assert rows_of(b"CREATE TABLE x (a);\n" + dump)["connect"] == [ROW]


def test_a_dump_of_another_program_names_its_tables() -> None:
    dump = b"INSERT INTO greylist VALUES (1); CREATE TABLE users (name text);"
    with (
        pytest.raises(CommandError, match=r"none of sqlgrey's tables.*greylist, users"),
        open_dump(io.BytesIO(dump), dump, UTC),
    ):
        pass


PIECES = [
    b"INSERT INTO connect", b"VALUES", b"(", b")", b",", b";", b"'", b"''", b"\\", b"'a'", b"$$",
    b"$x$", b"/*", b"*/", b"/*!40101", b"--", b"#", b"\n", b"COPY connect FROM stdin", b"\\.",
    b"\t", b"\xef\xbb\xbf",
    b"CREATE TABLE connect", b"`", b'"', b"E'", b"x'0'", b"X'61'", b"0x", b"NULL", b"1.5", b"SET",
    b"TIME_ZONE", b"=", b"standard_conforming_strings", b"off", b".", b"\xff", b"\0", b"$",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30),
    st.sampled_from([b"", b"PRAGMA foreign_keys=OFF;\n"]),
    st.sampled_from([1, 5, 1000]),
)
@example([b"$x$", b";"], b"", 1)
@example([b"$", b"x"], b"", 1)
def test_any_text_is_read_to_its_end(pieces: list[bytes], begin: bytes, chunk: int) -> None:
    class Slow(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            return super().read(chunk)

    data = begin + b" ".join(pieces)
    dump = SqlDump(Slow(data), data, {"connect"})
    rows = list(dump.rows())
    assert all(row.table == "connect" for row in rows)
    whole = SqlDump(io.BytesIO(data), data, {"connect"})
    assert rows == list(whole.rows())
    assert dump.is_cut == whole.is_cut


def test_many_rows_are_read_in_little_memory() -> None:
    import tracemalloc

    class Endless(io.RawIOBase):
        """A dump of many rows that is made while it is read."""

        def __init__(self) -> None:
            self._left = 30

        def read(self, _size: int = -1) -> bytes:
            if not self._left:
                return b""
            self._left -= 1
            row = b"('a','example.com','192.0.2.7','b@example.org',%d),\n" % FIRST
            return (b"INSERT INTO connect VALUES\n" if self._left == 29 else b"") + row * 1000

    dump = SqlDump(Endless(), b"", {"connect"})  # type: ignore[arg-type]
    tracemalloc.start()
    count = sum(1 for _ in dump.rows())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30_000
    assert peak < 4_000_000


# Entries ------------------------------------------------------------------------------------------


def items_of(path: Path, zone: tzinfo = UTC) -> list[object]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return list(SqlgreyDatabase(connection, Settings(), zone, NOW).items())


def made(path: Path, schema: str, table: str, *rows: Sequence[object]) -> Path:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema)
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    return path


def text_of(when: int, zone: tzinfo = UTC) -> str:
    return datetime.fromtimestamp(when, zone).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    "when",
    [
        NOW - 100,
        float(NOW - 100),
        text_of(NOW - 100),
        text_of(NOW - 100) + ".25",
        text_of(NOW - 100, BERLIN) + datetime.fromtimestamp(NOW - 100, BERLIN).strftime("%z"),
        str(NOW - 100),
    ],
    ids=["integer", "float", "date", "fraction", "offset", "text"],
)
def test_times_in_the_file_are_numbers_or_dates(tmp_path: Path, when: object) -> None:
    path = made(
        tmp_path / "db", SCHEMA, "connect", ("a", "example.com", "192.0.2.7", "b@c.example", when)
    )
    (item,) = items_of(path)
    assert isinstance(item, ImportedEntry)
    assert item.record.dump() == b"%d" % (NOW - 100)


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE from_awl (sender_name, sender_domain, host_ip, last_seen);",
        "CREATE TABLE FROM_AWL (SENDER_NAME, SENDER_DOMAIN, SRC, LAST_SEEN);",
    ],
    ids=["version 1.4", "upper case"],
)
def test_a_file_of_another_version_may_lack_tables_and_columns(tmp_path: Path, schema: str) -> None:
    path = made(
        tmp_path / "db", schema, "from_awl", ("a", "example.com", "192.0.2.7", text_of(NOW - 100))
    )
    (item,) = items_of(path)
    assert isinstance(item, ImportedEntry)
    assert item.record.dump() == b"1,%d" % (NOW - 100)


@pytest.mark.parametrize("source", ["192.0.2.7/32", "2001:db8::7/128"])
def test_an_address_may_have_a_prefix_length(tmp_path: Path, source: str) -> None:
    row = ("a", "example.com", source, NOW - 100, NOW - 100)
    (item,) = items_of(made(tmp_path / "db", SCHEMA, "from_awl", row))
    assert isinstance(item, ImportedEntry)


def test_a_first_time_that_mysql_lost_is_replaced_by_the_last_time(tmp_path: Path) -> None:
    row = ("a", "example.com", "192.0.2.7", "0000-00-00 00:00:00", text_of(NOW - 100))
    (item,) = items_of(made(tmp_path / "db", SCHEMA, "from_awl", row))
    assert isinstance(item, ImportedEntry)
    row = ("a", "example.com", "192.0.2.7", "b@c.example", "0000-00-00 00:00:00")
    (item,) = items_of(made(tmp_path / "other", SCHEMA, "connect", row))
    assert isinstance(item, UnreadableItem)


def test_times_in_the_future_show_a_wrong_time_zone(tmp_path: Path) -> None:
    row = ("a", "example.com", "192.0.2.7", "b@c.example", text_of(NOW, BERLIN))
    path = made(tmp_path / "db", SCHEMA, "connect", row)
    (item,) = items_of(path)
    assert isinstance(item, SkippedEntry)
    assert item.is_problem
    assert "--from-timezone" in item.reason
    (item,) = items_of(path, BERLIN)
    assert isinstance(item, ImportedEntry)


# The command --------------------------------------------------------------------------------------


def dump_of(zone: tzinfo) -> bytes:
    """Return a dump as pg_dump writes it, with mail that waits and a client."""
    first, last = text_of(NOW - 900, zone), text_of(NOW - 200, zone)
    return (
        "--\n-- PostgreSQL database dump\n--\nSET standard_conforming_strings = on;\n"
        "COPY public.connect (sender_name, sender_domain, src, rcpt, first_seen) FROM stdin;\n"
        f"ann\texample.com\t192.0.2.7\tbob@example.org\t{last}.123\n\\.\n\n"
        "COPY public.from_awl (sender_name, sender_domain, src, first_seen, last_seen) FROM stdin;"
        "\n"
        f"ann\texample.com\t198.51.100.9\t{first}\t{last}\n"
        f"ann\texample.com\t198.51.100\t{first}\t{last}\n\\.\n"
        "COPY public.optout_email (email) FROM stdin;\nboss@example.org\n\\.\n"
        "--\n-- PostgreSQL database dump complete\n--\n"
    ).encode()


WANTED = {
    b"{192.0.2.0}/ann@example.com/bob@example.org": b"%d" % (NOW - 200),
    b"{198.51.100.0}:198.51.100.9": b"1,%d" % (NOW - 200),
}


def stored(folder: Path) -> dict[bytes, bytes]:
    records = content(f"sqlite:{folder / 'greyd.db'}")
    records.pop(b"control", None)
    return records


@pytest.mark.parametrize(
    ("options", "zone"),
    [
        ([], BERLIN),
        (["--from-timezone=UTC"], UTC),
        (["--from-timezone=-03:30"], timezone(-timedelta(hours=3, minutes=30))),
    ],
)
def test_a_dump_is_imported_once(tmp_path: Path, options: list[str], zone: tzinfo) -> None:
    arguments = ("import", "-", f"--dbdir={tmp_path}", "--json", *options)
    done = run_here(*arguments, given=dump_of(zone), TZ="Europe/Berlin")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["entries"]["triplets"]["imported"] == told["entries"]["clients"]["imported"] == 1
    assert told["entries"]["clients"]["not_taken_over"] == 1
    assert "1 recipient," in told["remarks"][0]
    assert stored(tmp_path) == WANTED
    told = json.loads(run_here(*arguments, given=dump_of(zone), TZ="Europe/Berlin").stdout)
    assert told["entries"]["triplets"]["unchanged"] == told["entries"]["clients"]["unchanged"] == 1
    assert stored(tmp_path) == WANTED


def zstd_compress(data: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    compressed: bytes = import_module(name).compress(data)
    return compressed


def lz4_compress(data: bytes) -> bytes:
    compressed: bytes = import_module("lz4.frame").compress(data)
    return compressed


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstd_compress, lz4_compress]
)
def test_a_dump_may_be_compressed(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    source = tmp_path / "dump"
    source.write_bytes(compress(dump_of(UTC)))
    answer_of("import", source, f"--dbdir={tmp_path}", TZ="UTC")
    assert stored(tmp_path) == WANTED


def test_truncated_compressed_data_causes_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "dump.gz"
    source.write_bytes(gzip.compress(dump_of(UTC))[:-20])
    done = run_here("import", source, f"--dbdir={tmp_path}", TZ="UTC")
    assert done.returncode == 1
    assert f"{source}: damaged" in done.stderr


def test_a_truncated_dump_causes_a_warning(tmp_path: Path) -> None:
    source = tmp_path / "dump"
    source.write_bytes(dump_of(UTC)[:-60])
    done = run_here("import", source, f"--dbdir={tmp_path}", TZ="UTC")
    assert done.returncode == 1
    assert "the dump ends too early" in done.stderr


def test_a_wrong_time_zone_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run_here(
        "import", "-", f"--dbdir={tmp_path}", "--from-timezone=Mars", given=dump_of(UTC)
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--from-timezone=Mars: expected a time zone" in done.stderr


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (b"PGDMP\1\2", "pg_restore -f -"),
        (b"toc.dat\0\0", "pg_restore -f -"),
        (b"** This file contains an SQLite 2.1 database **", "sqlite FILE .dump"),
        ("INSERT INTO connect".encode("utf-16"), "iconv -f UTF-16"),
        (b"7z\xbc\xaf\x27\x1c", "7z x -so"),
        (b"\x1f\x9d\x90", "zcat"),
        (b"PK\x03\x04", "unzip -p"),
        (gzip.compress(b"SQLite format 3\0" + b"\0" * 100, mtime=0), "name the plain file"),
        (gzip.compress(b"\0" * 12 + b"\x62\x31\x05\0", mtime=0), "name the plain file"),
        (b"INSERT INTO users VALUES (1);", "its tables: users"),
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
    ],
)
def test_another_form_is_refused_with_the_way_to_convert_it(
    tmp_path: Path, begin: bytes, said: str
) -> None:
    source = tmp_path / "source"
    source.write_bytes(begin)
    done = run_here("import", source, f"--dbdir={tmp_path}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_an_empty_standard_input_shows_where_to_look(tmp_path: Path) -> None:
    done = run_here("import", "-", f"--dbdir={tmp_path}", given=b"")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the command before the pipe printed nothing" in done.stderr


def test_a_pipe_may_deliver_a_dump_in_small_pieces(tmp_path: Path) -> None:
    source = tmp_path / "pipe"
    os.mkfifo(source)
    dump = dump_of(UTC)

    def write() -> None:
        # Opening waits for the reader.
        with source.open("wb", buffering=0) as pipe:
            for piece in (b"Welcome to mx1\n", dump[:20], dump[20:]):
                pipe.write(piece)
                time.sleep(0.2)

    writer = Thread(target=write)
    writer.start()
    answer_of("import", source, f"--dbdir={tmp_path}", TZ="UTC")
    writer.join()
    assert stored(tmp_path) == WANTED


# Damage -------------------------------------------------------------------------------------------

INSERT = "INSERT INTO connect VALUES ('a','example.com','192.0.2.7','b@example.org',1777629600);\n"


@pytest.mark.parametrize(
    ("dump", "problem"),
    [
        (f"BEGIN TRANSACTION;\n{INSERT}COMMIT;\n", ""),
        (f"START TRANSACTION;\n{INSERT}COMMIT;\n", ""),
        (f"BEGIN;\n{INSERT}END;\n", ""),
        (INSERT, ""),
        (f"BEGIN TRANSACTION;\n{INSERT}", "ends too early"),
        (f"START TRANSACTION;\n{INSERT}", "ends too early"),
        (
            f"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n{INSERT}"
            "/****** CORRUPTION ERROR *******/\nROLLBACK; -- due to errors\n",
            "was damaged when it was dumped",
        ),
        (
            f"BEGIN;\nPRAGMA writable_schema = on;\n{INSERT}"
            "CREATE TABLE 'lost_and_found'(rootpgno INTEGER, c0);\n"
            "INSERT INTO 'lost_and_found' VALUES(2, 'x');\nCOMMIT;\n",
            "rows in lost_and_found",
        ),
        (
            f"CREATE TRIGGER t AFTER INSERT ON connect BEGIN DELETE FROM x; END;\n{INSERT}",
            "",
        ),
    ],
)
def test_a_dump_of_a_damaged_database_says_what_is_missing(dump: str, problem: str) -> None:
    data = dump.encode()
    assert is_sql(data)
    with open_dump(io.BytesIO(data), data, UTC) as opened:
        assert (problem in opened.problem, bool(opened.problem)) == (True, bool(problem))
        assert opened.connection.execute("SELECT count(*) FROM connect").fetchone() == (1,)


def test_a_backslash_in_a_dump_of_sqlite_is_no_escape() -> None:
    dump = b"BEGIN;\nPRAGMA writable_schema = on;\n" + (
        b"INSERT OR IGNORE INTO 'connect'('rowid', 'sender_name', 'sender_domain', 'src', 'rcpt',"
        b" 'first_seen') VALUES (1, 'a\\', 'example.com', '192.0.2.7', 'b@example.org', 1);\n"
        b"COMMIT;\n"
    )
    assert rows_of(dump)["connect"][0][0] == b"a\\"


@pytest.mark.parametrize("damage", ["cut", "page", "schema"])
def test_a_damaged_file_is_refused_with_the_way_to_salvage_it(tmp_path: Path, damage: str) -> None:
    rows = [
        (f"a{number}", "example.com", "192.0.2.7", "b@example.org", NOW) for number in range(2000)
    ]
    source = made(tmp_path / "sqlgrey.db", SCHEMA, "connect", *rows)
    data = source.read_bytes()
    if damage == "cut":
        data = data[: len(data) // 2]
    else:
        start = 100 if damage == "schema" else 5 * 4096
        data = data[:start] + b"\xff" * 3996 + data[start + 3996 :]
    source.write_bytes(data)
    done = run_here("import", source, f"--dbdir={tmp_path / 'new'}")
    assert done.returncode == 2
    assert f"sqlite3 {source} .dump | greyd import -" in done.stderr
