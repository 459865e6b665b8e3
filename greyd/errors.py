"""The base class of greyd's errors, and a one-line description of unexpected errors."""


class GreydError(Exception):
    """An error that an administrator can fix; the text says what, where, and what to do."""


def describe_error(error: BaseException) -> str:
    """Format an unexpected error as one line: its type, its text, and the place that raised it."""
    import traceback

    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text
