"""``python -m greyd`` runs ``greyd``."""

from greyd.cli.main import main

if __name__ == "__main__":
    main()
