"""``python -m greyd`` is ``greyd``."""

from greyd.cli.main import main

if __name__ == "__main__":
    main()
