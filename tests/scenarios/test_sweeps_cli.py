"""`relbid sweep` and `relbid report`, run as a user runs them, stopped, and killed as machines do."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from benchmarks.kills import torture, write_files
from tests.scenarios.pages import markers_in

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(REPOSITORY),
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NO_COLOR": "1",
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "scenarios.cli", *map(str, arguments)]


def relbid(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


def test_a_sweep_is_stopped_continued_and_reported(tmp_path):
    write_files(tmp_path, 24)
    ran = relbid("sweep", "killed.yaml", "--dry-run", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "24 points x 1 seed = 24 simulations" in ran.stdout

    process = subprocess.Popen(command("sweep", "killed.yaml", "--workers", 1), cwd=tmp_path, env=ENVIRONMENT)
    replicates, end = tmp_path / "results" / ".cache" / "replicates", time.monotonic() + 120
    while len(list(replicates.glob("*.json"))) < 3:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    [folder] = (tmp_path / "results" / "sweeps").glob("killed-*")
    progress = json.loads((folder / "progress.json").read_text())
    assert progress["state"] == "stopped"
    assert 2 <= progress["done"] < 24  # the word of the third may not have reached the command
    assert len(pl.read_parquet(folder / "points.parquet")) == progress["done"]
    kept = {path.name: path.stat().st_mtime_ns for path in replicates.glob("*.json")}

    # The folder's own file continues it too.
    ran = relbid("sweep", folder / "sweep.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "killed: Pareto front of 24 points" in ran.stdout
    assert f"Sweep: results/sweeps/{folder.name}/" in ran.stdout
    assert len(pl.read_parquet(folder / "points.parquet")) == 24
    assert all((replicates / name).stat().st_mtime_ns == stamp for name, stamp in kept.items())

    ran = relbid("report", folder, "--max-irrelevant", "0.05", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    page = (folder / "report.html").read_text()
    assert "Best points with at most 5% irrelevant ads" in page
    assert len(markers_in(page)) == 24

    ran = relbid("report", folder, "--out", folder / "points.parquet", cwd=tmp_path)
    assert ran.returncode == 2
    assert "points.parquet: the command reads this file; name another" in ran.stderr
    assert len(pl.read_parquet(folder / "points.parquet")) == 24
    (tmp_path / "mine.yaml").write_text("schema: 1\n")
    ran = relbid("report", folder, "--out", "mine.yaml", cwd=tmp_path)
    assert (ran.returncode, (tmp_path / "mine.yaml").read_text()) == (2, "schema: 1\n")
    assert "mine.yaml: is there, and is no page; name another" in ran.stderr


def test_what_is_wrong_is_one_line(tmp_path):
    (tmp_path / "s.yaml").write_text("schema: 1\nname: s\nover: {fusion.relevnace: [1]}\n")
    ran = relbid("sweep", "s.yaml", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.startswith("relbid: s.yaml, line 3, over.fusion.relevnace: ")
    assert not (tmp_path / "results").exists()
    ran = relbid("report", "nothing", cwd=tmp_path)
    assert ran.returncode == 2
    assert "not a sweep's folder" in ran.stderr


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes by /proc")
def test_kills_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path):
    tally = torture(write_files(tmp_path, 60), kills=3, rng=random.Random(3))
    assert tally.kills_of_workers + tally.kills_of_the_command == 3
    assert min(tally.kills_of_workers, tally.kills_of_the_command) >= 1
    assert (tally.points, tally.failed, tally.written_again) == (60, 0, 0)
    assert tally.same_bytes
