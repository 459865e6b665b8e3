"""Sender Policy Framework (RFC 7208): parser, macro expansion and evaluation."""
