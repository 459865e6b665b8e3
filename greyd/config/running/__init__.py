"""The servers that run on this machine, by the records that they keep of themselves."""
