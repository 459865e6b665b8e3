"""Help and completion, from a generated table of all commands and options."""
