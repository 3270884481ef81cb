"""Write all golden traces anew: `python -m tests.golden.regenerate`.

Read what changed, and check a price by hand, before committing it.
"""

from tests.golden.trace import FOLDER, trace, trace_names


def main() -> None:
    """Replace the stored traces."""
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name in trace_names():
        (FOLDER / f"{name}.txt").write_text(trace(name))


if __name__ == "__main__":
    main()
