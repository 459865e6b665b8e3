"""``greyd tail``: follows the decisions in a mail log."""
