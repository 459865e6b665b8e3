"""Clocks, supervised tasks, threads and time slices, for all packages."""
