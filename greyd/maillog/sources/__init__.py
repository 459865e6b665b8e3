"""Opens the sources of log lines: files, compressed or not, standard input, and the journal.

It also prepares their text: line ends, encodings, wrapped rows, and the order of day and month.
"""
