"""``greyd top``: shows waiting mail, servers and decisions live, and acts on the mail."""
