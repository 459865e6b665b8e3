"""What the server shows of its store: the entries by state, and the size of the file."""
