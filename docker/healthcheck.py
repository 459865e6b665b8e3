"""Asks the greyd of this container whether it is well: status 0 where ``/healthz`` says so.

It is well while Redis is away, which it waits for; it is not well where it may not write its file.

Where to ask is read from the same places as greyd reads it: its command line, the environment, the
TOML file. curl is not in the image, so this is Python's own HTTP client, which knows no proxy.
"""

from __future__ import annotations

import http.client
import sys

from greyd.config.errors import SettingsError
from greyd.config.loading import read_settings_of_server

SECONDS = 3
MAX_REASON_BYTES = 4096


def trouble() -> str | None:
    """Return what is wrong with the server; None where it is well."""
    try:
        endpoint = read_settings_of_server([]).metrics
    except SettingsError as error:
        return str(error)
    if endpoint is None:
        return "no metrics port to ask (GREYD_METRICS=0); run the container without a health check"
    host, port = endpoint.to_ask()
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
    if told := trouble():
        sys.exit(f"greyd: {told}")
