"""Opens the sources of log lines: files, compressed or not, standard input, and the journal."""
