"""The shadow: a second policy with other settings, whose decisions are only observed."""
