"""The times of a report: its span, and the slots of its charts."""
