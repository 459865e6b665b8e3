"""``greyd`` without a command: the status of the servers that run here."""
