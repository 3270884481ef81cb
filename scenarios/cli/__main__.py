"""The command `relbid`, which is also `python -m scenarios.cli`."""

import sys


def run() -> None:
    """Run the command; Ctrl-C, also while modules are still being loaded, ends it without a traceback."""
    try:
        from scenarios.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
