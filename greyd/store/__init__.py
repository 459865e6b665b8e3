"""Stores: SQLite, Redis, and the circuit breaker in front of them."""
