"""The `rahelpers` command; `python -m rahelpers` is the same."""

import sys


def start() -> None:
    """Run the command. Ctrl-C while Python is still loading it is no traceback either."""
    try:
        from rahelpers.cli.main import main

        main()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    start()
