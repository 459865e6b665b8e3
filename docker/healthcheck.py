"""Check the health of greyd in this container: exit status 0 if ``/healthz`` answers 200.

greyd is healthy while Redis is unavailable, and unhealthy if it cannot write its SQLite file.

The check reads the address from the same sources as greyd: its command line, the environment, the
TOML file. The image has no curl; Python's own HTTP client ignores proxy settings.
"""

from __future__ import annotations

import http.client
import sys

from greyd.config.errors import SettingsError
from greyd.config.server_settings import read_server_settings

SECONDS = 3
MAX_REASON_BYTES = 4096


def find_problem() -> str | None:
    """Return why the server is unhealthy, or None if it is healthy."""
    try:
        endpoint = read_server_settings([]).metrics
    except SettingsError as error:
        return str(error)
    if endpoint is None:
        return "no metrics port (GREYD_METRICS=0); run the container without a health check"
    host, port = endpoint.connectable()
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        status, body = response.status, response.read(MAX_REASON_BYTES)
    except (OSError, http.client.HTTPException) as error:
        return f"http://{host}:{port}/healthz: {error or type(error).__name__}"
    finally:
        connection.close()
    if status == http.client.OK:
        return None
    return f"/healthz: status {status}: {body.decode(errors='replace').strip()}"


if __name__ == "__main__":
    if problem := find_problem():
        sys.exit(f"greyd: {problem}")
