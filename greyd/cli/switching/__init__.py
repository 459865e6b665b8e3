"""``greyd switch-from``: puts greyd in the place of another greylisting server, and back."""
