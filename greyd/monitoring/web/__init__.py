"""The metrics port: HTTP, the status page, and the statistics for programs."""
