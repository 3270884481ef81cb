"""The progress file of the command line, and what is prepared ahead."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scenarios import (
    StoreError,
    frames_kept,
    load_scenario,
    prepare,
    read_progress,
    relevance_of,
    scores_kept,
)
from scenarios.storage.command_progress import CommandProgress, ProgressFile, Stage
from tests.scenarios.test_sweeps_cli import ENVIRONMENT, relbid

TINY = """\
schema: 1
name: tiny
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 500}
retrieval: {candidates: 12}
scorer: bm25
compare: [none, oracle]
"""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_file_follows_the_stages_but_not_every_step(tmp_path):
    clock, path = Clock(), tmp_path / "p.json"
    file = ProgressFile(path, clock)
    assert read_progress(path) == CommandProgress(started=100.0, stage_started=100.0, updated=100.0)
    clock.now = 101.0
    file.report(Stage("scoring", "hcmrm"), 1, 10)
    now = read_progress(path)
    assert (now.stage, now.what, now.subject) == ("scoring with hcmrm", "scoring", "hcmrm")
    clock.now = 101.1
    file.report(Stage("scoring", "hcmrm"), 2, 10)  # too soon after the last
    assert (read_progress(path).done, read_progress(path).stage_started) == (1, 101.0)
    clock.now = 101.2
    file.report(Stage("scoring", "hcmrm"), 10, 10, "all")  # the last of a stage is always told
    assert (read_progress(path).done, read_progress(path).detail) == (10, "all")
    clock.now = 102.0
    file.report("simulating", 1, 2)
    file.made(tmp_path / "result")
    file.end(None)
    end = read_progress(path)
    assert (end.state, end.stage, end.stage_started) == ("done", "simulating", 102.0)
    assert (end.what, end.subject) == ("simulating", "")
    assert end.result == str(tmp_path / "result")
    assert [found.name for found in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize(
    ("error", "state", "message"),
    [
        (KeyboardInterrupt(), "stopped", ""),
        (StoreError("the disk is full"), "failed", "the disk is full"),
        (ZeroDivisionError("by 0"), "failed", "ZeroDivisionError: by 0"),
    ],
)
def test_the_end_says_why(tmp_path, error, state, message):
    file = ProgressFile(tmp_path / "p.json")
    file.end(error)
    found = read_progress(tmp_path / "p.json")
    assert (found.state, found.message) == (state, message)


def test_a_link_that_leads_nowhere_is_not_written_over(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(StoreError, match="link: is a link that leads nowhere; name another file"):
        ProgressFile(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_nothing_and_damage_are_no_progress(tmp_path):
    assert read_progress(tmp_path / "none.json") is None
    for text in ("", "{", "[]", '{"unknown": 1}'):
        (tmp_path / "p.json").write_text(text)
        assert read_progress(tmp_path / "p.json") is None


def test_a_run_says_what_it_made_and_a_bad_file_why_not(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    ran = relbid("run", "tiny.yaml", "--progress", "p.json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = read_progress(tmp_path / "p.json")
    assert (found.state, found.stage, found.done) == ("done", "replicates", found.total)
    assert (Path(found.result) / "metrics.json").exists()

    ran = relbid("run", "nothing.yaml", "--progress", "p.json", cwd=tmp_path)
    assert ran.returncode == 2
    found = read_progress(tmp_path / "p.json")
    assert found.state == "failed"
    assert ran.stderr.strip() == f"relbid: {found.message}"

    ran = relbid("run", "tiny.yaml", "--progress", "tiny.yaml/p.json", cwd=tmp_path)
    assert ran.returncode == 2
    assert "cannot be written" in ran.stderr


def test_prepare_keeps_frames_and_scores(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    scenario, results = load_scenario(tmp_path / "tiny.yaml"), tmp_path / "results"
    assert not frames_kept(scenario, results)
    ran = relbid("prepare", "tiny.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "Prepared: tiny, for none, oracle, bm25" in ran.stdout
    assert frames_kept(scenario, results)
    prepared = prepare(scenario, cache=results)
    assert scores_kept(prepared, "bm25", results)
    assert scores_kept(prepared, "oracle", results)  # takes no time, so nothing is kept, and nothing missing
    assert not scores_kept(prepared, "hcmrm", results)
    kept = sorted(path.name for path in (results / ".cache").iterdir())
    relevance_of(prepared, "bm25", cache=results)
    assert sorted(path.name for path in (results / ".cache").iterdir()) == kept


def test_a_killed_command_leaves_the_state_running(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = [sys.executable, "-m", "scenarios.cli", "run", "tiny.yaml", "--progress", "p.json"]
    command += ["--set", "traffic.n_queries=1000000"]  # long enough to be killed in its course
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT)
    while read_progress(tmp_path / "p.json") is None:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert json.loads((tmp_path / "p.json").read_text())["state"] == "running"
