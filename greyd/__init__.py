"""greyd: a greylisting policy server for Postfix and Exim."""

import sys

__version__ = "0.2.0"

# Said before a module is read that an older one can't even parse.
if sys.version_info < (3, 11):  # noqa: UP036 - this is where an outdated Python is told so
    sys.stderr.write(
        "greyd: Python %d.%d is too old, 3.11 or newer is needed; start greyd with another\n"  # noqa: UP031 - older ones know no f-string
        % sys.version_info[:2]
    )
    sys.exit(2)
