"""``greyd import``: imports entries of postgrey, sqlgrey and other greyd stores."""
