"""Settings: their options, sources and files."""
