"""What a pattern means: Perl's answers, which tests/integration compares with a real Perl."""

from __future__ import annotations

import pytest

from greyd.whitelist.errors import PatternError
from greyd.whitelist.patterns import compile_pattern

# A pattern, texts that match, texts that do not.
MEANINGS: list[tuple[bytes, list[bytes], list[bytes]]] = [
    # repetitions
    (rb"^b{,3}\.e$", [b"bbb.e", b".e"], [b"b{,3}.e", b"bbbb.e"]),
    (rb"^b{2,}$", [b"bb", b"bbb"], [b"b"]),
    (rb"^x{,}$", [b"x{,}"], [b"", b"x"]),
    (rb"^{,3}a", [b"ba"], [b"{,3}"]),
    (rb"{,3}$", [b"{,3}"], [b""]),
    (rb"a{foo", [b"a{foo"], [b"afoo"]),
    (rb"(?i){2}a", [b"{2}a"], [b"aa"]),
    (rb"^a{0}b$", [b"b"], [b"ab"]),
    # quoting and case, which Perl applies in programs only
    (rb"a\Qb.c\E", [b"aQb.cE", b"aQbxcE"], [b"ab.c"]),
    (rb"\LAB\E", [b"LABE"], [b"ab"]),
    (rb"a\ub", [b"aub"], [b"aB"]),
    # nothing is interpolated
    (rb"$com", [], [b"com", b"$com"]),
    (rb"x@example", [b"x@example"], [b"x"]),
    (rb"a$|b", [b"a", b"bc"], [b"ac"]),
    # anchors
    (rb"^a\Z", [b"a"], [b"ab"]),
    (rb"\Aa\z", [b"a"], [b"ab"]),
    (rb"\ba\b", [b"a.b", b"-a-"], [b"ab", b"_a"]),
    (rb"\Bb", [b"ab"], [b"b", b"-b"]),
    (rb"^*a", [b"ba"], [b"b"]),
    # classes
    (rb"^\v$", [b"\x0b", b"\x85"], [b"v"]),
    (rb"^\h$", [b" ", b"\xa0"], [b"h"]),
    (rb"^\R$", [b"\x0b", b"\x85"], [b"R"]),
    (rb"^\s$", [b"\x0b", b"\t"], [b"\xa0", b"\x85"]),
    (rb"^\d$", [b"7"], [b"\xb2"]),
    (rb"^\w$", [b"_", b"Z"], [b"\xe9", b"-"]),
    (rb"^\N{3}$", [b"a.b"], [b"N"]),
    (rb"[\b]", [b"\x08"], [b"b"]),
    (rb"^[\w-z]$", [b"-", b"q"], [b"."]),
    (rb"^[a-\d]$", [b"-", b"a", b"5"], [b"b"]),
    (rb"^[]a]$", [b"]", b"a"], [b"b"]),
    (rb"^[^]a]$", [b"b"], [b"]", b"A"]),
    (rb"^[:alpha:]$", [b":", b"l"], [b"z"]),
    (rb"^[[:upper:]]$", [b"a", b"A"], [b"1"]),
    (rb"^[[:^upper:]]$", [b"1", b"\xe9"], [b"a", b"A"]),
    (rb"^(?-i)[[:upper:]]$", [b"A"], [b"a"]),
    (rb"^[[:word:]]$", [b"_"], [b"\xe9"]),
    (rb"^[[:cntrl:]]$", [b"\x01", b"\x7f"], [b"\x85"]),
    (rb"^[\x41-\x43]$", [b"b", b"B"], [b"d"]),
    # characters
    (rb"^\101\x42\x{43}\o{104}\c[$", [b"abcd\x1b"], [b"abcd"]),
    (rb"^\10$", [b"\x08"], [b"10"]),
    (rb"^\18$", [b"\x018"], [b"18"]),
    (rb"^\x4$", [b"\x04"], [b"x4"]),
    (rb"^\m\_\<$", [b"m_<"], [b"a"]),
    (b"^\xe9$", [b"\xe9"], [b"\xc9"]),
    # groups and flags
    (rb"^(?^:a)b$", [b"ab", b"aB"], [b"Ab"]),
    (rb"^(?-i:a)b$", [b"aB"], [b"Ab"]),
    (rb"^(?:a|(?-i)b|c)$", [b"A", b"b", b"c"], [b"B", b"C"]),
    (rb"^(?<n>a)(?'m'b)(?P<o>c)$", [b"abc"], [b"ab"]),
    (rb"^(?|(a)|(b))$", [b"a", b"b"], [b"ab"]),
    (rb"^(a|)b$", [b"ab", b"b"], [b"aab"]),
    (rb"^(|a)+b$", [b"aab", b"b"], [b"ac"]),
    (rb"^(?n)(a)(?x)b$", [b"ab"], [b"a"]),
]


@pytest.mark.parametrize(("pattern", "found", "not_found"), MEANINGS)
def test_a_pattern_has_perls_meaning(
    pattern: bytes, found: list[bytes], not_found: list[bytes]
) -> None:
    search = compile_pattern(pattern).search
    assert [text for text in (*found, *not_found) if search(text)] == found


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (b"a++b", "possessive"), (b"a{2}+", "possessive"), (b"(?>a)", "atomic"),
        (b"(?=a)", "look-around"), (b"(?<!a)", "look-around"), (rb"(a)\1", "back-ref"),
        (b"()" * 10 + rb"\10", "back-ref"), (rb"(a)\g1", "back-ref"), (rb"\k<n>", "back-ref"),
        (rb"a\Kb", r"\\K"), (rb"\Ga", r"\\G"), (rb"\X", "Unicode"), (rb"\pL", "Unicode"),
        (rb"[\pL]", "Unicode"), (rb"\N{U+41}", "Unicode"), (rb"\x{100}", "beyond one byte"),
        (rb"\b{wb}", "Unicode"), (rb"(?u)a", "flags"), (rb"(?a)a", "flags"), (rb"(?l)a", "flags"),
        (rb"(?{1})", "not supported"), (rb"(?R)", "not supported"), (rb"(*F)", "not supported"),
        (rb"(?(1)a)", "not supported"), (rb"(?&x)", "not supported"), (rb"(?P=x)", "not supported"),
        (b"[[.a.]]", "not supported"), (b"[[:foo:]]", "no class"), (b"[z-a]", "a range"),
        (b"*a", "precedes"), (b"a|+", "precedes"), (b"(?i)*", "quantifier"), (b"a**", "quantifier"),
        (b"a{2}{3}", "quantifier"), (b"a{3,2}", "greater"), (b"a{1001}", "1000"), (b"a{01}", "0"),
        (b"(a", "without its"), (b"a)", "without its"), (b"[a", "without its"), (b"a\\", "nothing"),
        (rb"\w{foo", "unescaped"), (rb"\C", "Perl"), (rb"\o1", "number"), (b"", "empty"),
        (b"(" * 60 + b")" * 60, "deep"), (b"a" * 20_000, "longer"), (b"(a{900}){900}", "."),
    ],
)  # fmt: skip
def test_a_pattern_that_perl_or_linear_time_forbids_is_refused(pattern: bytes, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "problem", "is_note"),
    [
        (rb"\Qmail.example.com\E$", "quotes nothing", False),
        (rb"^\Lmail", "changes no case", False),
        (rb"^mail\m", "has no meaning", False),
        (rb"^mail[\m]", "has no meaning in brackets", False),
        (rb"^b{,3}\.example$", "up to 3 times in Perl 5.34", True),
    ],
)
def test_constructs_that_perl_reads_unexpectedly_cause_a_remark(
    pattern: bytes, problem: str, is_note: bool
) -> None:
    (remark,) = compile_pattern(pattern).parsed.remarks
    assert problem in remark.problem
    assert remark.is_note is is_note
