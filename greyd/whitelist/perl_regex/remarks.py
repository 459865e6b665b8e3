"""Remarks on constructs that Perl reads differently from what the author may expect."""

from __future__ import annotations

from greyd.whitelist.perl_regex.syntax import SyntaxRemark

_CASE_LETTERS = frozenset("LUFlu")


def remark_of_escape(letter: str) -> SyntaxRemark:
    r"""Return the remark on a letter that a backslash gives no meaning in a file, as in ``\Q``.

    Perl quotes and changes case only in the text of a program, before it parses the pattern.
    """
    if letter in ("Q", "E"):
        problem = r"\Q…\E quotes nothing in a file: these are the letters Q and E in Perl"
        return SyntaxRemark(problem, "put a backslash before each dot instead", is_note=False)
    if letter in _CASE_LETTERS:
        problem = rf"\{letter} changes no case in a file: it is the letter {letter} in Perl"
        return SyntaxRemark(problem, "remove it: patterns ignore case anyway", is_note=False)
    problem = rf"\{letter} has no meaning: it is the letter {letter} in Perl"
    return SyntaxRemark(problem, f"write {letter}", is_note=False)


def remark_of_upper_limit(count: str) -> SyntaxRemark:
    """Return the remark on ``{,n}``."""
    return SyntaxRemark(
        f"{{,{count}}} means up to {count} times in Perl 5.34 and later, and text in older Perl",
        f"write {{0,{count}}}",
        is_note=True,
    )
