"""Patterns mean in greyd what they mean in Perl, which postgrey compiles them with.

Patterns and texts are put together from pieces at random; Perl and greyd search each pattern in all
texts. greyd may refuse what Perl accepts, but never accepts what Perl refuses, and never differs.
"""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from greyd.whitelist.errors import PatternError
from greyd.whitelist.patterns import compile_pattern
from tests.processes import program

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.integration

PIECES = [
    *"abBx-.@$^|()[]*+?{},\"%&~!=<017/\xe9\xc9\xa0", "(?:", "(?i)", "(?-i)", "(?^:", "(?^i:",
    "(?s)", "(?m:", "(?<n>", "(?|", "(?x)", "(?n)", "(?P<q>", "(?=", "(?>", "(?s-i:", "[^", "[a",
    "[[", "[.", "=]", "a-z", "--", "[:alpha:]", "[:^upper:]", "[:blank:]", "[:cntrl:]",
    "[:punct:]", "[:print:]", "{2}", "{,2}", "{1,}", "{0,3}", "{,", "{1,2", "++", "*?", "??",
    "\\d", "\\w", "\\W", "\\s", "\\S", "\\h", "\\H", "\\v", "\\V", "\\R", "\\N", "\\b", "\\B",
    "\\A", "\\z", "\\Z", "\\Q", "\\E", "\\L", "\\u", "\\.", "\\-", "\\x41", "\\x", "\\x{62}",
    "\\x{e9}", "\\101", "\\0", "\\012", "\\10", "\\1", "\\8", "\\o{101}", "\\c[", "\\cA", "\\e",
    "\\m", "\\_", "\\<", "\\>", "\\/", "\\a", "\\t", "\\f", "\\G", "\\K", "\\p", "\\xe", "\\y",
    "&&", "ab", "(a|b)", "\\$",
]  # fmt: skip

LETTERS = [
    *"abBAx-.@017_{}QELum,$\\/:[]^~ \xe9\xc9\xa0\x85\x0b\r\t\x1b\x01\x08\x00\x7f", "{,2}",
    "ab", "aab",
]  # fmt: skip

PERL = r"""
no warnings;
my @texts = map { pack "H*", $_ } split /,/, <STDIN> =~ s/\s//gr, -1;
while (<STDIN>) {
    s/\s//g;
    my $text = pack "H*", $_;
    my $pattern = eval { qr/$text/i };
    print defined $pattern ? join("", map { /$pattern/ ? 1 : 0 } @texts) : "refused", "\n";
}
"""


def answers_of_perl(patterns: Sequence[bytes], texts: Sequence[bytes]) -> list[str]:
    lines = [",".join(text.hex() for text in texts), *(pattern.hex() for pattern in patterns)]
    done = subprocess.run(
        [program("perl"), "-e", PERL], input="\n".join(lines) + "\n", capture_output=True,
        text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout.split()


def answer(pattern: bytes, texts: Sequence[bytes]) -> str:
    try:
        search = compile_pattern(pattern).search
    except PatternError:
        return "refused"
    return "".join("1" if search(text) else "0" for text in texts)


def put_together(pieces: Sequence[str], seed: int, count: int, length: int) -> list[bytes]:
    choose = random.Random(seed)
    texts = {
        "".join(choose.choices(pieces, k=choose.randint(1, length))).encode("latin-1")
        for _ in range(count)
    }
    return sorted(texts)


@pytest.mark.parametrize("seed", range(3))
def test_a_pattern_matches_where_perl_finds_it(seed: int) -> None:
    if "v5.3" not in subprocess.check_output([program("perl"), "-e", "print $^V"], text=True):
        pytest.skip("the rules are those of Perl 5.34 and later")
    patterns = put_together(PIECES, seed, 8000, 7)
    texts = [b"", *put_together(LETTERS, seed, 60, 6)]
    perls = answers_of_perl(patterns, texts)
    assert len(perls) == len(patterns)
    accepted = 0
    for pattern, expected in zip(patterns, perls, strict=True):
        ours = answer(pattern, texts)
        assert ours in (expected, "refused"), (pattern, compile_pattern(pattern).re2_text)
        accepted += ours != "refused"
    assert accepted > len(patterns) // 4
