"""Changes main.cf and master.cf to fix the doctor's findings (``greyd doctor --fix``)."""
