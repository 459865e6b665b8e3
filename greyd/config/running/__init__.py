"""Finds the servers that run on this machine, through the records that they keep."""
