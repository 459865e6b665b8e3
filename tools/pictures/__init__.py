"""Makes the pictures in docs/pictures from a run of greyd: ``make pictures``.

The run is a real one: the server of this checkout decides on each request, and its commands and
pages are shown as they are. What is generated is the mail, with a fixed seed. The time is that of
faketime, so that a week takes minutes and the pictures have the same dates each time.
"""
