"""Coverage-guided fuzzing: ``targets`` say what must hold, ``python -m tests.fuzz`` looks for more.

Inputs that once broke a target, and some to start from, are files in ``corpus/TARGET/``;
``test_corpus`` replays them with every test run, without atheris.
"""
