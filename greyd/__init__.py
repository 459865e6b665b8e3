"""greyd: a greylisting policy server for Postfix and Exim."""

import sys

__version__ = "0.2.0"

# Check the version before importing modules that an older Python cannot parse.
if sys.version_info < (3, 11):  # noqa: UP036 - the check for an outdated Python
    sys.stderr.write(
        "greyd: Python %d.%d is too old; run greyd with Python 3.11 or newer\n"  # noqa: UP031 - old Pythons have no f-strings
        % sys.version_info[:2]
    )
    sys.exit(2)
