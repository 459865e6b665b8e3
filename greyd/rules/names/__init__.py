"""Forms of internationalised names."""
