"""Runs a command's function, and turns its errors into one-line messages and exit statuses.

It imports no typer, whose import takes longer than all else that ``greyd`` alone does.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import os
import sys
from typing import TYPE_CHECKING, Any

from greyd.cli.context import EXIT_ERROR, SHARED_OPTIONS, CommandContext
from greyd.cli.errors import CommandError
from greyd.config.settings import Settings
from greyd.errors import GreydError, describe_error
from greyd.terminal import print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTERRUPTED = 130

_ON_FILES = ("check_whitelist", "config", "postfix_config", "replay", "report", "tune", "tail")
"""The functions of commands that need no server: they read files, or print settings."""

WITHOUT_SETTINGS = ("switch_from",)
"""The functions of commands that find out themselves which settings apply. They have no options for
that, and still work if the settings are invalid.
"""

_ON_ALL_SERVERS = ("status",)
"""The functions of commands that find the servers themselves: all of them, if several run."""


def run_status() -> int:
    """Run ``greyd`` without a command or an option; return the exit status."""
    from greyd.cli.status.command import status

    return run_command(status, dict.fromkeys(SHARED_OPTIONS), {}, as_json=False)


def run_command(
    function: Callable[..., Any],
    given: Mapping[str, str | None],
    values: Mapping[str, Any],
    *,
    as_json: bool,
    passed_on: tuple[type[Exception], ...] = (),
) -> int:
    """Run a command; an error becomes a one-line message and an exit status.

    Args:
        function: the command.
        given: the values of the shared options by name; None for those not given.
        values: the values of the command's own parameters.
        as_json: whether the output is JSON.
        passed_on: exceptions that the caller handles.
    """
    # Files that commands create contain senders and recipients: keep them from other users.
    os.umask(0o077)
    try:
        if function.__name__ in (*WITHOUT_SETTINGS, *_ON_ALL_SERVERS):
            context = CommandContext(Settings(), as_json, options=given)
        else:
            context = CommandContext.from_options(
                given, as_json=as_json, is_server_optional=function.__name__ in _ON_FILES
            )
        answer = function(context, **values)
        return int((asyncio.run(answer) if inspect.iscoroutine(answer) else answer) or 0)
    except GreydError as error:
        print_error(str(error))
        for line in error.choices if isinstance(error, CommandError) else ():
            print_error(line)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print_error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe; the flush at exit must not fail either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError:
        raise
    except Exception as error:
        if isinstance(error, passed_on):
            raise
        # The user gets one line instead of a traceback.
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            print_error(f"can't write the output: {error.strerror}")
            return EXIT_ERROR
        print_error(f"internal error: {describe_error(error)}; please report it")
        return EXIT_ERROR
