"""Where log lines come from: files, compressed or not, standard input, and the journal."""
