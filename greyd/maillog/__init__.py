"""Mail logs: files, lines, decisions, and attempts."""
