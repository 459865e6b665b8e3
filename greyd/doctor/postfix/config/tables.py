"""The lookup tables that restriction lists name: ``TYPE:NAME`` (DATABASE_README)."""

from __future__ import annotations

import re

INDEX_SUFFIXES = {
    "btree": ".db", "hash": ".db", "cdb": ".cdb", "lmdb": ".lmdb", "dbm": ".pag", "sdbm": ".pag",
}  # fmt: skip
"""The types of tables that postmap writes, with the suffixes of their files."""

_PLAIN_FILES = frozenset({"cidr", "pcre", "regexp", "texthash"})


def split_table(argument: str) -> tuple[list[str], str]:
    """Return the types of a table, e.g. ``proxy`` and ``hash``, and its file, if one is known."""
    text = argument.removeprefix("{").strip() if argument.startswith("{") else argument
    # { TYPE:NAME, { search_order = … } }
    first = re.split(r"[\s,}]", text, maxsplit=1)[0] if argument.startswith("{") else text
    kind, _, rest = first.partition(":")
    types = [kind.lower()]
    if types[0] == "proxy":
        kind, _, rest = rest.partition(":")
        types.append(kind.lower())
    if not rest.startswith("/"):
        return types, ""
    if types[-1] in INDEX_SUFFIXES:
        return types, rest + INDEX_SUFFIXES[types[-1]]
    return types, rest if types[-1] in _PLAIN_FILES else ""
