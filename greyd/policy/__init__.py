"""Processes a policy request: parses it, decides on it, and renders the reply."""
