"""``python -m gatewise``: the same as the command ``gatewise``."""

from gatewise.cli import main

# Worker processes import this module under another name; they must not start the program again.
if __name__ == "__main__":
    raise SystemExit(main())
