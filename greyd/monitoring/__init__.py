"""Log, metrics, and the status page."""
