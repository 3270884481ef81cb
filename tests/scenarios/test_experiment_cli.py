"""`relbid experiment`, run as a user runs it: its tables, what it refuses, and what a killed one leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from scenarios.storage import cache as disk

REPOSITORY = Path(__file__).parents[2]
FILES = {
    "small.yaml": """\
schema: 1
name: small
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 300}
retrieval: {candidates: 12}
scorer: oracle
""",
    "e.yaml": """\
schema: 1
name: pair
scenario: small.yaml
baseline: A
arms: {A: {scorer: none}, B: {}}
seeds: 3
design: query_split
""",
}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "scenarios.cli", "experiment", *map(str, arguments)]


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(REPOSITORY),
    "COLUMNS": "200",
    "OMP_NUM_THREADS": "1",
    "NO_COLOR": "1",
}


def relbid(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


@pytest.fixture(scope="module")
def ran(folder):
    return relbid("e.yaml", "--set", "auction.reserve=0.1", cwd=folder)


def test_it_prints_each_design_and_what_the_split_gets_wrong(folder, ran):
    assert ran.returncode == 0, ran.stderr
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert any(line.startswith("pair: B against A, 3 days, each arm on the whole market") for line in lines)
    assert any(line.startswith("pair: B against A, 3 days, query split") for line in lines)
    assert any(line.startswith("pair: what a split says of B against A, beside the truth") for line in lines)
    assert sum(line.startswith("irrelevant ads") and "-100.00%" in line for line in lines) >= 2
    assert "…" not in ran.stdout
    [result] = (folder / "results").glob("pair-*")
    assert f"Results: results/{result.name}/" in ran.stdout
    assert len(pl.read_parquet(result / "replicates.parquet")) == 3 * 2 * 2
    summary = json.loads((result / "summary.json").read_text())
    assert summary["seeds"] == [1, 2, 3]


def test_a_stored_experiment_runs_to_the_same_bytes(folder, ran, tmp_path):
    [result] = (folder / "results").glob("pair-*")
    done = relbid(result / "experiment.yaml", "--out", "again", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("again/", "results/") == ran.stdout
    for path in result.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / result.name / path.name).read_bytes()


def test_a_killed_experiment_loses_only_what_was_in_flight(folder, ran, tmp_path):
    for name in FILES:
        (tmp_path / name).write_text(FILES[name])
    long = relbid("e.yaml", "--seeds", 15, "--out", "whole", cwd=tmp_path)
    assert long.returncode == 0, long.stderr

    def kept() -> dict[str, float]:
        folder = tmp_path / "results" / disk.FOLDER / "replicates"
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}

    process = subprocess.Popen(
        command("e.yaml", "--seeds", 15), cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    while len(kept()) < 5:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = kept()
    assert 5 <= len(before) < 45
    assert not list((tmp_path / "results").glob("pair-*")), "no half-written result"

    again = relbid("e.yaml", "--seeds", 15, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == long.stdout.replace("whole/", "results/")
    after = kept()
    assert len(after) == 45
    assert {name: after[name] for name in before} == before, "what was finished was not done again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("armz: {}\n", "line 4, armz: unknown key; did you mean 'arms'?"),
        ("arms: {A: {}, B: {fusion.relevnace: 2}}\n", "arms.B.fusion.relevnace: unknown key"),
        ("arms: {A: {}, B: {}}\nscenario: none.yaml\n", "line 5, scenario: no such file"),
        ("arms: {A: {}}\n", "line 4, arms: needs at least 2 value(s)"),
        ("arms: {A: {}, B: {}}\nseeds: 0\n", "line 5, seeds: must be from 2"),
        ("arms: {A: {}, B: {}}\nmetrics: [revenue]\ndesign: budget_split\n", "'revenue' is a total"),
        ("arms: {A: {}, B: {scorer: 'no_such:thing'}}\n", "there is no module 'no_such'"),
        (
            "arms: {A: {}, B: {scorer: hcmrm, hcmrm.checkpoint: nowhere}}\n",
            "nowhere/model.safetensors: not found",
        ),
    ],
)
def test_bad_files_leave_one_message_and_nothing_behind(tmp_path, text, message):
    """In this process: what the command line does with such an error is tested in test_cli.py."""
    from scenarios import UserError
    from scenarios.studies.experiments.experiment import load_experiment
    from scenarios.studies.experiments.experiment_run import check_experiment

    path = tmp_path / "bad.yaml"
    path.write_text("schema: 1\nname: bad\nbaseline: A\n" + text)
    with pytest.raises(UserError) as caught:
        check_experiment(load_experiment(path))
    assert message in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]


def test_the_command_refuses_with_one_message_and_exit_code_2(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text("schema: 1\nname: bad\nbaseline: A\narms: {A: {}}\n")
    done = relbid("bad.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "relbid: bad.yaml, line 4, arms: needs at least 2 value(s)\n"
    assert [file.name for file in tmp_path.iterdir()] == ["bad.yaml"]
