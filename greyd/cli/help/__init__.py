"""Help and completion, from a generated table of all commands and options."""

HELP_WORDS = ("-h", "--help", "-help")
"""The options that show the help."""
