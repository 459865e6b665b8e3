"""``greyd explain``: why a request was, or would be, answered as it was."""
