"""``greyd explain``: shows why the server answers a request as it does."""
