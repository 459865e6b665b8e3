"""``greyd import``: entries of postgrey's, sqlgrey's and other greyd stores."""
