"""The files and folders of a server process."""
