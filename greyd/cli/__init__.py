"""The administrator's commands: one module for each command, a folder for each large one."""
