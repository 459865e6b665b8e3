"""The commands in a few words each, for the help on a narrow terminal."""

from __future__ import annotations

TYPE_CHECKING = False  # without typing, whose import takes as long as all others
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 25
"""Maximum length of a summary, in characters: beside a name it fits 45 columns."""

SHORT_SUMMARIES: Mapping[str, str] = {
    "status": "what runs, waits, fails",
    "stats": "decisions and counts",
    "top": "waiting mail, live",
    "tail": "decisions, live",
    "list": "list entries",
    "show": "a mail, client, address",
    "report": "delays and lost mail",
    "explain": "why mail waits or passes",
    "doctor": "check the setup; fix it",
    "check-whitelist": "find bad entries",
    "release": "let waiting mail pass",
    "expect": "let a recipient's mail in",
    "forget": "delete entries",
    "mode": "on, off or learning",
    "whitelist": "add, remove, list entries",
    "ask": "send a test request",
    "replay": "try settings, the preset",
    "tune": "find better settings",
    "serve": "run the server",
    "switch-from": "replace postgrey",
    "config": "settings, their sources",
    "import": "take entries over",
    "postfix-config": "lines for main.cf",
}
