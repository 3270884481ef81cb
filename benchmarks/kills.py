"""A sweep under SIGKILL: `python -m benchmarks.kills --kills 50`.

Kills its processes and its command at random moments. After each kill of the command the same
command is started again. At the end the table of points must be, byte for byte, that of a run that nobody
disturbed, and no point that was finished at any kill may have been written a second time: only what was in
flight is repeated.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from scenarios import load_sweep, run_sweep
from scenarios.studies.study import read_status
from scenarios.studies.sweeps.folder import sweep_folder

SCENARIO = """\
schema: 1
name: small
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 500}
retrieval: {candidates: 12}
scorer: oracle
"""
SWEEP = """\
schema: 1
name: killed
scenario: small.yaml
over: {{fusion.relevance: {{from: 0, to: {last}, step: 0.02}}, scorer: [none, oracle]}}
"""
PATIENCE_S = 120.0

Finished = dict[str, tuple[int, int]]
"""File of a finished point -> (inode, time of writing); another one if it was written again."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened, and whether it did any harm."""

    kills_of_workers: int
    kills_of_the_command: int
    points: int
    written_again: int
    same_bytes: bool
    failed: int


def write_files(folder: Path, n_points: int) -> Path:
    """A sweep of about so many points, each some tens of milliseconds long."""
    (folder / "small.yaml").write_text(SCENARIO)
    file = folder / "killed.yaml"
    file.write_text(SWEEP.format(last=(n_points // 2 - 1) * 0.02))
    return file


def torture(file: Path, kills: int, rng: random.Random, workers: int = 2) -> Tally:
    """Run a sweep with so many kills at random moments, half of them of the command.

    Raises:
        RuntimeError: the sweep ends before all kills, or does not continue.
    """
    out = file.parent / "results"
    sweep = load_sweep(file)
    folder = sweep_folder(out, sweep)
    # On a machine with few cores the threads of numpy would otherwise fight for them.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    root = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "scenarios.cli", "sweep", str(file), "--out", str(out)]
    command += ["--workers", str(workers)]

    def start() -> subprocess.Popen[bytes]:
        silent = subprocess.DEVNULL
        return subprocess.Popen(command, env=environment, stdout=silent, stderr=silent)

    process, of_workers, of_command, again = start(), 0, 0, 0
    finished: Finished = {}
    try:
        while of_workers + of_command < kills:
            _until_points_come(process, out)
            time.sleep(rng.uniform(0.0, 0.1))
            family = descendants(process.pid)
            if rng.random() < 0.5 and (hands := _workers_of(process.pid)):
                os.kill(rng.choice(hands), signal.SIGKILL)
                of_workers += 1
            else:
                process.kill()
                process.wait()
                of_command += 1
                _until_gone(family)
            now = _finished(out)
            again += sum(now.get(name) != stamp for name, stamp in finished.items())
            finished = now
            if process.poll() is not None:
                process = start()
        if process.wait(timeout=PATIENCE_S) != 0:
            raise RuntimeError(f"the command ended with {process.returncode}")
    finally:
        process.kill()
        process.wait()
    now = _finished(out)
    again += sum(now.get(name) != stamp for name, stamp in finished.items())
    undisturbed = run_sweep(sweep, file.parent / "undisturbed", workers=workers)
    same = (folder / "points.parquet").read_bytes() == (undisturbed / "points.parquet").read_bytes()
    status = read_status(folder)
    assert status is not None
    return Tally(of_workers, of_command, status.done, again, same, status.failed)


def descendants(pid: int) -> list[int]:
    """Processes below one, however deep."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it has just ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, below = [], [pid]
    while below:
        below = [child for one in below for child in children.get(one, [])]
        found += below
    return found


def _workers_of(pid: int) -> list[int]:
    """Its processes that work: children of its fork server, which is a child of its own."""
    return [one for one in descendants(pid) if _parent(one) != pid]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return -1


def _finished(out: Path) -> Finished:
    files = (out / ".cache" / "replicates").glob("*.json")
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def _until_points_come(process: subprocess.Popen[bytes], out: Path) -> None:
    """Until one point more is finished than there are now."""
    before, end = len(_finished(out)), time.monotonic() + PATIENCE_S
    while len(_finished(out)) == before:
        if process.poll() is not None:
            raise RuntimeError("the sweep ended before it was killed often enough: give it more points")
        if time.monotonic() > end:
            raise RuntimeError("the sweep does not continue")
        time.sleep(0.01)


def _until_gone(pids: list[int]) -> None:
    """Until processes have ended by themselves, as they do when their command is gone."""
    end = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}").exists() and not _is_zombie(pid) for pid in pids):
        if time.monotonic() > end:
            raise RuntimeError("processes outlive their command")
        time.sleep(0.02)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def main() -> None:
    """Print the tally of many kills; exit code 1 if any of them did harm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--points", type=int, default=0, help="about; 12 a kill by default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        file = write_files(Path(name), options.points or 12 * options.kills)
        tally = torture(file, options.kills, random.Random(options.seed))
    print(tally)
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(not tally.same_bytes or tally.written_again > 0 or tally.failed > 0)


if __name__ == "__main__":
    main()
