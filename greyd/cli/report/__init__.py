"""``greyd report``: what the mail log says about greylisting, as text, JSON or a page."""
