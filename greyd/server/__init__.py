"""The server: processes, sockets, connections, signals."""
