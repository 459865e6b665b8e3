"""Shows ``greyd top`` as SVG: ``python -m tools.pictures.screen FILE``, at the server's time."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from greyd.cli.context import CommandContext
from greyd.cli.top.interface.app import TopApp
from greyd.cli.top.live_data import LiveData
from greyd.monitoring.stats_client import metrics_addresses
from tools.pictures.terminal import without_fonts

COLUMNS, LINES = 90, 26
SECONDS = 4
"""How long to wait until the first scan of the store has ended."""


async def picture() -> str:
    """Return the screen as SVG."""
    context = CommandContext.from_options({})
    data = LiveData(context, metrics_addresses([], context.settings.metrics), 2)
    app = TopApp(data)
    async with app.run_test(size=(COLUMNS, LINES)) as pilot:
        for _ in range(20):
            await pilot.pause(SECONDS / 20)
        await pilot.press("down", "down")
        await pilot.pause()
        return without_fonts(app.export_screenshot(title="greyd top"))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(asyncio.run(picture()))
