"""The shadow's decisions in metrics and log."""
