"""`python -m benchmarks.fuzz --cases 20000`: run cases, print findings by group; exit code 1 if any.

Cases run in processes of their own, each in a folder of its own. One that ends or that answers nothing for a
minute is started anew behind the case that it was at.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.fuzz.runs import run_cases, work


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", default="", help="cases whose titles hold this")
    parser.add_argument("--report", type=Path, help="write the findings there, a JSON line each")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(json.loads(options.worker))
        return
    with tempfile.TemporaryDirectory(prefix="relbid-fuzz-") as root:
        Path(root).chmod(0o755)
        report = run_cases(
            Path(root), options.cases, options.seed, options.workers, options.only,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )  # fmt: skip
    print(report.text())
    if options.report:
        lines = (json.dumps({"case": case, "finding": finding}) for case, finding in report.findings)
        options.report.write_text("".join(f"{line}\n" for line in lines))
    sys.exit(bool(report.findings))


if __name__ == "__main__":
    main()
