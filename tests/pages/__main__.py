"""Run all pages, or the given ones: ``python -m tests.pages [docs/NAME.md …]``."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from tests.pages.blocks import CHECKOUT, PAGES, Page
from tests.pages.machine import enter
from tests.pages.stand_ins import STAND_INS

pages = [Page(CHECKOUT / name) for name in sys.argv[1:]] or [Page(path) for path in PAGES]
sys.stdout.write("Not run as they stand:\n")
for name, (_, reason) in STAND_INS.items():
    sys.stdout.write(f"  {name:12} {reason}\n")
failed = 0
with ThreadPoolExecutor(2) as threads:
    for page, done in zip(pages, threads.map(enter, pages), strict=True):
        sys.stdout.write(f"\n{page.name}: {'failed' if done.returncode else 'all is well'}\n")
        sys.stdout.write(done.stdout + done.stderr)
        failed += done.returncode != 0
sys.exit(1 if failed else 0)
