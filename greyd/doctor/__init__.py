"""What ``greyd doctor`` checks, one module a subject."""
