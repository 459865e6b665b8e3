"""``greyd report --mail-to``: the report as a letter."""
