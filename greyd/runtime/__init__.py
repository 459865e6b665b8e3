"""The process's own machinery: clocks, supervised tasks, time slices."""
