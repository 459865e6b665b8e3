"""The checks of ``greyd doctor``, one module per subject.

Each module has functions that collect facts, and pure functions that turn facts into findings.
"""
