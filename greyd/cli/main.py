"""The entry point of the command line: runs the server, or an administrator's command.

``greyd serve`` is dispatched before typer is imported, because a restarted server should answer
soon. Its command line is postgrey's, which ``greyd.config.sources`` reads; typer's help and the
completions use the same table of options.
"""

from __future__ import annotations

import os
import sys

from greyd import __version__
from greyd.cli.help import HELP_WORDS
from greyd.errors import GreydError, describe_error

TYPE_CHECKING = False  # without typing, whose import takes as long as all others
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE_ERROR = 2
INTERRUPTED = 128 + 2
"""The exit status after Ctrl-C, as of a shell: 128, and the number of SIGINT."""
_COMPLETION = "_GREYD_COMPLETE"


_PACKAGES = {"re2": "google-re2", "_re2": "google-re2", "_cffi_backend": "cffi"}
"""Packages by module name, where the two names differ."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run greyd with the given arguments or the process's own; always raise ``SystemExit``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and any("@" in word or "password" in word for word in words):
        from greyd.cli.process_title import hide_passwords

        hide_passwords()
    _open_closed_outputs()
    try:
        status = _run(words)
        # Here, because an error of the flush at exit would be a traceback.
        sys.stdout.flush()
    except ImportError as error:
        # A compiled package may not exist for this platform. A missing module of greyd is a bug.
        if (error.name or "").partition(".")[0] == "greyd":
            raise
        _print_error(_not_loaded(error))
        status = USAGE_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("greyd: interrupted\n")
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader has closed the pipe.
        _discard_output()
        status = 0
    except OSError as error:
        _discard_output()
        sys.stderr.write(f"greyd: can't write the output: {error.strerror}\n")
        status = USAGE_ERROR
    sys.exit(status)


def _open_closed_outputs() -> None:
    """Replace an output that the caller has closed, as ``>&-`` does: Python has None for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - pathlib is slow to import


def _print_error(text: str) -> None:
    from greyd.terminal import print_error

    print_error(text)


def _discard_output() -> None:
    """Make the flush at exit succeed, although nobody reads the pipe, or the disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _not_loaded(error: ImportError) -> str:
    import platform

    module = (error.name or "").partition(".")[0]
    package = _PACKAGES.get(module, module.replace("_", "-"))
    libc = " ".join(platform.libc_ver()) or "another C library than glibc"
    here = f"Python {platform.python_version()}, {platform.machine()}, {libc}"
    return (
        f"{package or 'a package'} can't be loaded: {' '.join(str(error).split())};"
        f" install greyd and its packages anew for {sys.executable} ({here});"
        ' docs/install.md, "Platforms", says where they can be had'
    )


def _run(words: list[str]) -> int:
    if words == ["--version"]:
        return print_version()
    if _COMPLETION in os.environ:
        from greyd.cli.help.completion import complete

        status = complete()
        if status is not None:
            return status
    if any(word in HELP_WORDS for word in words):
        from greyd.cli.help.text import asked_for_help, print_help

        if asked_for_help(words):
            return print_help(words)
    if words[:1] == ["serve"]:
        return serve(words[1:])
    if words in ([], ["status"]):
        from greyd.cli.command_run import run_status

        return run_status()
    from greyd.cli.app import run

    return run(words)


def print_version() -> int:
    """Print the version; return the exit status."""
    sys.stdout.write(f"greyd {__version__}\n")
    return 0


def serve(arguments: Sequence[str]) -> int:
    """Run the server; return the exit status."""
    if {"--version", "-version"} & set(arguments):
        return print_version()
    from greyd.config.loading import read_settings
    from greyd.config.unexported_flags import with_warnings_of_rc_conf
    from greyd.server.process import run

    try:
        return run(with_warnings_of_rc_conf(read_settings(arguments), os.environ))
    except GreydError as error:
        _print_error(str(error))
        return USAGE_ERROR
    except KeyboardInterrupt:
        return 0
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - one line and status 1, not a traceback
        _print_error(f"internal error: {describe_error(error)}")
        return 1
