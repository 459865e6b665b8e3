"""The options of the group "Store"."""

from __future__ import annotations

from greyd.config.durations import parse_seconds
from greyd.config.numbers import parse_bytes
from greyd.config.option import Arity, Option
from greyd.config.values.parsers import one_of, parse_flag, parse_path, parse_store, parse_text

STORE: tuple[Option, ...] = (
    Option(
        "store", "store", parse_store,
        "Where to store triplets: sqlite:PATH, redis://HOST/0, rediss://, valkey://, unix://,"
        " redis+sentinel://, redis+cluster:// or memory://.",
        metavar="URL", default_note="SQLite in --dbdir",
        choices=(
            "sqlite:/var/lib/greyd/greyd.db", "redis://127.0.0.1/0", "rediss://", "valkey://",
            "unix:///run/redis/redis.sock", "redis+sentinel://", "redis+cluster://", "memory://",
        ),
    ),
    Option(
        "store-password-file", "store_password_file", parse_path,
        "Read the Redis password from FILE, instead of writing it into the URL.", metavar="FILE",
    ),
    Option(
        "sentinel-user", "sentinel_user", parse_text,
        "User name for Sentinel itself; the one in --store is for the Redis servers it"
        " monitors.",
        metavar="NAME",
    ),
    Option(
        "sentinel-password-file", "sentinel_password_file", parse_path,
        "Read the password for Sentinel itself from FILE.", metavar="FILE",
    ),
    Option(
        "dbdir", "dbdir", parse_path, "Directory of the SQLite database.", metavar="PATH",
        default_note="/var/lib/greyd for root, else ~/.local/state/greyd",
    ),
    Option(
        "max-store-size", "max_store_bytes", parse_bytes,
        "Maximum size of the SQLite database. When it is full, new triplets pass without"
        " greylisting.",
        metavar="SIZE", default="4G",
    ),
    Option(
        "store-timeout", "store_timeout_seconds", parse_seconds,
        "Maximum time a request waits for the store.",
        metavar="DURATION", default="300ms",
    ),
    Option(
        "store-connect-timeout", "store_connect_timeout_seconds", parse_seconds,
        "Maximum time for each step of connecting to Redis, in the background.",
        metavar="DURATION", default="5s",
    ),
    Option(
        "on-store-failure", "on_store_failure", one_of("pass", "defer"),
        "What to do with mail while the store is unavailable.",
        metavar="pass|defer", default="pass", choices=("pass", "defer"),
    ),
    Option(
        "key-prefix", "key_prefix", parse_text, "Prefix of all keys in Redis.", metavar="TEXT",
        default="greyd:",
    ),
    Option(
        "privacy", "privacy", parse_flag,
        "Store only hashes of addresses (postgrey's SHA-1).", Arity.FLAG,
    ),
    Option(
        "privacy-key", "privacy_key_file", parse_path,
        "With --privacy: store HMAC-SHA-256 hashes with the secret key in FILE.", metavar="FILE",
    ),
)  # fmt: skip
