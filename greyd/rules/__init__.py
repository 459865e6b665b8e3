"""The rules of greylisting: pure functions and records, without I/O."""
