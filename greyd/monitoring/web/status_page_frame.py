"""The frame of the status page: its head, its style and its end."""

from __future__ import annotations

from markupsafe import Markup

STYLE = Markup("""\
:root { color-scheme: light dark; --line: #8884; --soft: #777; --pass: #3a7d5c; --grey: #c98a1b; \
--bad: #b3261e; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0; } h2 { margin: 2rem 0 .5rem; font-size: 1.2rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.state { border-left: .4rem solid var(--pass); padding: .3rem .8rem; margin: 1rem 0; }
.state.warn { border-color: var(--grey); } .state.bad { border-color: var(--bad); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); \
vertical-align: top; }
th { font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; \
white-space: nowrap; }
.fault { color: var(--bad); }
td.name { overflow-wrap: anywhere; min-width: 7rem; }
svg { display: block; width: 100%; height: 8rem; border-bottom: 1px solid var(--line); }
.axis { display: flex; justify-content: space-between; }
.pass { fill: var(--pass); } .grey { fill: var(--grey); }
.key::before { content: "■ "; } .key.pass { color: var(--pass); } .key.grey { color: var(--grey); }
""")

HEAD = Markup("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{refresh}">
<title>greyd on {host}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>greyd</h1>
<p class="soft">version {version} on {host}, up {up}; a first contact waits {delay}; mode {mode}</p>
</header>
<main>
<p class="state {level}">{state}</p>
""")

END = Markup("""\
</main>
<footer>
<p class="soft">{date}. <a href="/metrics">/metrics</a> for Prometheus, \
<a href="/stats.json">/stats.json</a>, \
<a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p>
</footer>
</body>
</html>
""")
