"""Render the example of a greyd.toml from the options: ``python -m tools.render_config``."""

from __future__ import annotations

from pathlib import Path

from greyd.cli.config.example import example_file

FILE = Path(__file__).parent.parent / "packaging" / "examples" / "greyd.toml"

if __name__ == "__main__":
    FILE.write_text(example_file())
