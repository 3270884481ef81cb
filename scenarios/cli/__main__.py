"""The command `relbid`, which is also `python -m scenarios.cli`."""

import functools
import sys
import threading


def run() -> None:
    """Run the command; Ctrl-C, also while modules are still being loaded, ends it without a traceback."""
    before = threading.excepthook
    try:
        from scenarios.cli.main import main, thread_failed

        threading.excepthook = functools.partial(thread_failed, set())
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        threading.excepthook = before


if __name__ == "__main__":
    run()
