"""The frame of a report's page: its head, style sheet and Content-Security-Policy."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from greyd import __version__
from greyd.monitoring.web.base_style import BASE_STYLE

_STYLE = BASE_STYLE + Markup("""\
@media (max-width: 40rem) { .mails tr:first-child { display: none; } \
.mails td { display: block; border: 0; padding: 0; } \
.mails td:last-child { border-bottom: 1px solid var(--line); padding: 0 0 .4rem; \
margin-bottom: .4rem; } }
""")

_PAGE = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>Greylisting, {span}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Greylisting</h1>
<p class="soft">{span}</p>
</header>
<main>
{sections}</main>
<footer>
<p class="soft">Made by greyd {version} on {date}.</p>
</footer>
</body>
</html>
""")


def page(span: str, sections: Markup, made_at: str) -> bytes:
    """Return a page in UTF-8; its Content-Security-Policy allows only its own style sheet.

    Args:
        span: the period of the report, as text.
        sections: the content of the page.
        made_at: the time of creation, as text.
    """
    return _PAGE.format(
        hash="sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode(),
        style=_STYLE,
        span=span,
        sections=sections,
        version=__version__,
        date=made_at,
    ).encode()
