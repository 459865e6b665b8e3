"""``greyd forget``: finds entries, removes them and prints a receipt."""
