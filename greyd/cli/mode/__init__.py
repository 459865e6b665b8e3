"""``greyd mode``: switches the mode of all servers on the store while they run."""
