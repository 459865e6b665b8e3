"""The base of all errors that greyd raises on purpose; each package has its own below it."""


class GreydError(Exception):
    """Something that an administrator can mend; its text says what, where and how."""
