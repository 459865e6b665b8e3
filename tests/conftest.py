"""What every test may use; real programs are in tests/processes.py."""
