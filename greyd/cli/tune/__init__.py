"""``greyd tune``: replays a log with many settings, and shows what is worth setting."""
