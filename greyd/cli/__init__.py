"""The commands: what an administrator types. One module a command, a folder for each large one."""
