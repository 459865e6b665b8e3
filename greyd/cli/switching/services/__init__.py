"""Starts and stops services: with systemd, or with Debian's init scripts."""
