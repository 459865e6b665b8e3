"""Changes main.cf and master.cf to settle the doctor's findings (``greyd doctor --fix``)."""
