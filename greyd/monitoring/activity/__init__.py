"""The requests of the last hour, day and week, and what is usual at an hour of the day."""
