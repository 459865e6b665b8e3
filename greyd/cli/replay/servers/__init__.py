"""The simulated servers of ``greyd replay``, and what they had in store before the log."""
