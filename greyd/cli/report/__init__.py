"""``greyd report``: reports on greylisting from the mail log, as text, JSON or an HTML page."""
