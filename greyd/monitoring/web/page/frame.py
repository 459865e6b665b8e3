"""The frame of the status page: its head, its style and its end."""

from __future__ import annotations

from markupsafe import Markup

from greyd.monitoring.web.base_style import BASE_STYLE

STYLE = BASE_STYLE + Markup("""\
h1 span { font-weight: 400; }
a { color: inherit; } code { overflow-wrap: anywhere; }
.verdict { border-left: .5rem solid var(--known); } .verdict.warning { border-color: var(--new); }
.verdict.error { border-color: var(--bad); }
.verdict p:last-child { margin-bottom: 0; } .verdict h2 { font-size: 1.35rem; margin: 0; }
.verdict ul { list-style: none; margin: .6rem 0 0; padding: 0; }
.verdict li { padding: .4rem 0; border-top: 1px solid var(--line); }
.verdict code { display: block; color: var(--soft); } .verdict code::before { content: "$ "; }
.tile .note { display: block; } .tile .odd { color: var(--ink); font-weight: 600; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .875rem; margin-bottom: .8rem; }
caption { text-align: left; color: var(--soft); font-size: .875rem; padding-bottom: .3rem; }
tr:last-child th { border-bottom: 0; }
th[scope=row] { color: inherit; font-weight: 400; font-size: 1rem; min-width: 7rem; }
.gap { fill: var(--line); opacity: .4; }
.fault { fill: var(--bad); } td.fault, td .fault { color: var(--bad); }
td.bar { width: 30%; }
@media (max-width: 40rem) { body { padding: .6rem; } section { padding: .8rem; }
.chart svg { height: 10rem; } .chart .bar svg { height: .8rem; }
.stack tr:first-child { display: none; } .stack td { display: block; border: 0; \
padding: 0; text-align: left; white-space: normal; overflow-wrap: anywhere; }
.stack td::before { content: attr(data-label) ": "; color: var(--soft); }
.stack td:last-child { border-bottom: 1px solid var(--line); padding-bottom: .5rem; \
margin-bottom: .5rem; } .wide .bar { display: none; } }
""")

HEAD = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>greyd <span>on {host}</span></h1>
<p class="soft">Version {version}, up {up}; a first contact waits {delay}; \
store {store}.</p>
</header>
<main>
""")

REFRESH = Markup('<meta http-equiv="refresh" content="{}">\n')

END = Markup("""\
</main>
<footer>
<p class="soft">Generated at {date}. {refresh}</p>
<p class="soft"><a href="/stats.json">/stats.json</a>, <a href="/metrics">/metrics</a>, \
<a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a></p>
</footer>
</body>
</html>
""")
