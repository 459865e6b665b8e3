"""Forms of names: internationalised domains, and addresses within host names."""
