"""Renders the status page at ``/`` of the metrics port."""
