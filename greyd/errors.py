"""The base of the errors that greyd raises on purpose, and unexpected errors in one line."""


class GreydError(Exception):
    """An error that an administrator can mend; its text says what, where and how."""


def describe_error(error: BaseException) -> str:
    """Return an unexpected error in one line: its type, its text, and where it was raised."""
    import traceback

    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text
