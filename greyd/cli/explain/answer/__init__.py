"""Formats an explained request: the verdict, the steps, and what would change the decision."""
