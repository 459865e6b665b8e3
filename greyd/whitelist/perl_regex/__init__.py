"""Perl's regular expressions: parsed into a tree, and translated for RE2."""
