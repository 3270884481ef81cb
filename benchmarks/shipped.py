"""Run every shipped scenario, sweep and experiment, and compare the results with those of another version.

    python -m benchmarks.shipped --out before                      # on the old version, about 12 minutes
    python -m benchmarks.shipped --out after --against before      # on the new one

Some experiments compare checkpoints that are not shipped; their heads say how to make these in models/.

A change that claims to leave results alone is held to it here: every file of a result that does not say when
or by how many processes it was made must be the same, byte by byte.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

SCENARIOS = Path(__file__).parents[1] / "scenarios"
KINDS = {"run": "*.yaml", "sweep": "sweeps/*.yaml", "experiment": "experiments/*.yaml"}
"""Command -> the files that it runs."""
RESULTS = (
    "metrics.json",
    "points.parquet",
    "comparison.parquet",
    "log.parquet",
    "replicates.parquet",
    "summary.json",
)


def run_all(out: Path) -> None:
    """Run what is shipped, one command after the other; stops at the first that fails."""
    for command, pattern in KINDS.items():
        for file in sorted(SCENARIOS.glob(pattern)):
            began = time.monotonic()
            line = [sys.executable, "-m", "scenarios.cli", command, str(file), "--out", str(out)]
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            print(f"{command} {file.name}: {time.monotonic() - began:.0f} s", flush=True)


def result_files(root: Path) -> dict[str, Path]:
    """The files of all results below a folder, by their place in it."""
    found = (path for name in RESULTS for path in sorted(root.rglob(name)))
    return {
        str(path.relative_to(root)): path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def differences(before: Path, after: Path) -> list[str]:
    """What differs between two results folders, a line each; empty where all files are the same bytes."""
    old, new = result_files(before), result_files(after)
    lines = [f"{name}: only in {before}" for name in sorted(old.keys() - new.keys())]
    lines += [f"{name}: only in {after}" for name in sorted(new.keys() - old.keys())]
    both = sorted(old.keys() & new.keys())
    lines += [f"{name}: differs" for name in both if old[name].read_bytes() != new[name].read_bytes()]
    return lines


def main() -> None:
    """Run, compare, and end with 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the results go, or are already")
    parser.add_argument("--against", type=Path, help="results of the version to compare with")
    arguments = parser.parse_args()
    run_all(arguments.out)
    if arguments.against is not None:
        lines = differences(arguments.against, arguments.out)
        print("\n".join(lines) or f"{len(result_files(arguments.out))} files, all the same bytes")
        sys.exit(bool(lines))


if __name__ == "__main__":
    main()
