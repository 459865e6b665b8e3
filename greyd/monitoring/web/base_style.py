"""The style sheet that the status page and the page of a report share.

It has both colour schemes, is written for a narrow screen first, and loads nothing. All text has a
contrast of at least 4.5:1 with its background, and the bars of the status page 3:1 (WCAG 2.1, AA).
"""

from __future__ import annotations

from markupsafe import Markup

BASE_STYLE = Markup("""
:root { color-scheme: light dark; --ground: #fbfbf9; --card: #fff; --ink: #1f2328; \
--soft: #636b74; --line: #0002; --waited: #1f6f50; --known: #57a37f; \
--auto_whitelisted: #3f7fb5; --whitelisted: #9dbfdc; --other: #9a9a9a; \
--new: #b5610c; --early: #c48530; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171a; --card: #1d2125; --ink: #e4e6e8; \
--soft: #9aa3ad; --line: #fff2; --waited: #2f9d73; --known: #7cc9a3; \
--auto_whitelisted: #5a9fd8; --whitelisted: #33597a; --other: #777; \
--new: #e0913f; --early: #946a35; --bad: #f2857c; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 66rem; margin: 0 auto; padding: 1rem; \
background: var(--ground); color: var(--ink); overflow-wrap: break-word; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 0 0 .6rem; font-size: 1.15rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); } small { color: var(--soft); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; \
padding: 1rem; margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin: 1rem 0; }
@media (min-width: 34rem) { .tiles { grid-template-columns: repeat(3, 1fr); } }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; \
padding: .6rem .9rem; }
.tile b { display: block; font-size: 1.25rem; font-weight: 600; line-height: 1.3; }
.tile span { color: var(--soft); font-size: .875rem; }
.columns { display: grid; gap: 1rem 2rem; margin-top: 1.2rem; }
@media (min-width: 50rem) { .columns { grid-template-columns: 1fr 1fr; } }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); \
vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th { font-weight: 600; font-size: .875rem; color: var(--soft); }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.name { overflow-wrap: anywhere; min-width: 8rem; }
td.bar { width: 40%; min-width: 5rem; vertical-align: middle; }
.bar svg { height: .8rem; }
svg { display: block; width: 100%; }
.chart { display: grid; grid-template-columns: auto minmax(0, 1fr); column-gap: .6rem; }
.chart svg { height: 14rem; }
.scale, .axis { color: var(--soft); font-size: .8rem; line-height: 1; display: flex; \
justify-content: space-between; }
.scale { flex-direction: column; text-align: right; margin: -.4rem 0; }
.axis { grid-column: 2; padding-top: .5rem; white-space: nowrap; }
@media (max-width: 40rem) { .axis span:nth-child(even):not(:last-child) { display: none; } }
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.back { fill: transparent; } g:hover .back { fill: var(--line); }
.keys { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; margin: .8rem 0 0; font-size: .875rem; }
.keys svg { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; \
vertical-align: -.05rem; }
.waited { fill: var(--waited); } .known { fill: var(--known); }
.auto_whitelisted { fill: var(--auto_whitelisted); }
.whitelisted { fill: var(--whitelisted); } .other { fill: var(--other); }
.new { fill: var(--new); } .early { fill: var(--early); }
""")
