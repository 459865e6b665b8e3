"""The checks of ``greyd doctor``, one module per subject.

Each module collects facts and has pure functions that turn them into findings.
"""
