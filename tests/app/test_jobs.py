"""Jobs of the dashboard: real commands, really stopped, killed and continued."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import psutil
import pytest
from streamlit.testing.v1 import AppTest

from app import jobs, notes
from app.parts import job_panel
from benchmarks.kills import SCENARIO, write_files
from scenarios import CommandProgress, StoreError, load_sweep, read_status, sweep_folder
from tests.app.test_pages import MAIN

PATIENCE_S = 120.0
POINTS = 14
SLOW = """\
schema: 1
name: slow
scenario: small.yaml
common: {traffic.n_queries: 20000}
over: {fusion.relevance: [0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8], scorer: [none, oracle]}
"""
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that jobs start are found wherever the tests run, and leave the machine some room."""
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def sweep_job(root: Path, file: Path) -> jobs.Job:
    name = sweep_folder(root, load_sweep(file)).name
    return jobs.start(root, "sweep", name, ["sweep", str(file), "--out", str(root), "--workers", "1"])


def stamps(root: Path) -> dict[str, int]:
    """When each simulation was written."""
    return {path.name: path.stat().st_mtime_ns for path in (root / ".cache" / "replicates").glob("*.json")}


def kept(root: Path) -> int:
    """How many simulations are finished."""
    return len(list((root / ".cache" / "replicates").glob("*.json")))


def test_a_sweep_is_stopped_and_killed_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SCENARIO)
    file, root = tmp_path / "slow.yaml", tmp_path / "results"
    file.write_text(SLOW)
    first = sweep_job(root, file)
    wait_for(lambda: kept(root) >= 2)
    assert jobs.outcome(first).state == "running"
    assert jobs.latest(root, "sweep", first.subject) == first  # as a page finds it that is opened now
    jobs.cancel(first)
    assert jobs.outcome(first).state in ("stopping", "stopped")
    wait_for(lambda: not jobs.is_alive(first))
    assert jobs.outcome(first).state == "stopped"
    folder = sweep_folder(root, load_sweep(file))
    status = read_status(folder)
    assert status is not None
    assert status.state == "stopped"
    assert 1 <= status.done <= kept(root) < POINTS  # one may have been finished while it stopped

    before = kept(root)
    second = sweep_job(root, file)
    wait_for(lambda: kept(root) > before)
    os.killpg(second.pid, signal.SIGKILL)
    wait_for(lambda: not jobs.is_alive(second))
    assert jobs.outcome(second).state == "died"
    finished = stamps(root)
    assert before < len(finished) < POINTS

    third = sweep_job(root, file)
    wait_for(lambda: not jobs.is_alive(third))
    ended = jobs.outcome(third)
    assert ended.state == "done"
    assert ended.progress.result == str(folder)
    assert f"slow: Pareto front of {POINTS} points" in jobs.output(third)
    assert len(pl.read_parquet(folder / "points.parquet")) == POINTS
    assert stamps(root).items() >= finished.items()  # nothing that was finished has been written again
    assert [job.folder for job in jobs.all_jobs(root)] == [third.folder, second.folder, first.folder]


@pytest.mark.parametrize("by", [None, signal.SIGTERM, signal.SIGKILL])
def test_a_job_outlives_who_started_it(tmp_path: Path, by: signal.Signals | None) -> None:
    """As when the dashboard itself is ended, by Ctrl-C in its terminal, say, or killed."""
    file, root = write_files(tmp_path, 4), tmp_path / "results"
    program = (
        "import sys\nfrom pathlib import Path\nfrom app import jobs\n"
        f"jobs.start(Path({str(root)!r}), 'sweep', 'x', ['sweep', {str(file)!r}, '--out', {str(root)!r}])\n"
        f"import os\nos.kill(os.getpid(), {int(by or 0)})\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -int(by or 0)
    (job,) = jobs.all_jobs(root)  # as the next dashboard finds it
    assert os.getpgid(job.pid) == job.pid != os.getpgid(0)
    wait_for(lambda: not jobs.is_alive(job))
    assert jobs.outcome(job).state == "done"
    assert kept(root) == 4


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGTERM, "was stopped."), (signal.SIGKILL, "Its process ended without a message")],
)
def test_killed_with_who_started_it_a_sweep_is_said_to_be_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, said: str
) -> None:
    """While it writes one result after another; nothing of it lives on, and the next page can continue it."""
    (tmp_path / "small.yaml").write_text(SCENARIO)
    (tmp_path / "slow.yaml").write_text(SLOW)
    file, root = tmp_path / "slow.yaml", tmp_path / "results"
    name = sweep_folder(root, load_sweep(file)).name
    command = ["sweep", str(file), "--out", str(root)]
    program = (
        "import time\nfrom pathlib import Path\nfrom app import jobs\n"
        f"jobs.start(Path({str(root)!r}), 'sweep', {name!r}, {command!r})\n"
        "time.sleep(3600)\n"
    )
    page = subprocess.Popen([sys.executable, "-c", program])
    wait_for(lambda: kept(root) >= 2)
    (job,) = jobs.all_jobs(root)
    sweep = psutil.Process(job.pid)
    family = [sweep, *sweep.children(recursive=True)]
    os.kill(job.pid, number)
    page.send_signal(number)
    assert page.wait(PATIENCE_S) == -number
    assert psutil.wait_procs(family, PATIENCE_S)[1] == []
    assert kept(root) < POINTS

    monkeypatch.setenv("RELBID_RESULTS", str(root))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    at.switch_page("views/sweeps_page.py").run()
    assert not at.exception
    assert not at.error
    assert any(said in found.value for kind in (at.info, at.warning) for found in kind)
    assert any(found.value.startswith("Half-finished") for found in at.markdown)
    assert any(button.label == "Continue it" for button in at.button)


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    files = {"scenario.yaml": "schema: 1\nname: x\nfusion: {relevnace: 1}\n"}
    arguments = ["run", f"{jobs.HERE}/scenario.yaml", "--out", str(tmp_path)]
    job = jobs.start(tmp_path, "run", "x", arguments, files)
    wait_for(lambda: not jobs.is_alive(job))
    outcome = jobs.outcome(job)
    assert outcome.state == "failed"
    assert "did you mean 'relevance'?" in outcome.message
    assert f"{job.folder}/scenario.yaml, line 3" in outcome.message
    jobs.forget(job)
    assert jobs.all_jobs(tmp_path) == []


def stubborn(folder: Path) -> jobs.Job:
    """A process that will not hear of SIGINT and SIGTERM."""
    folder.mkdir(parents=True)
    program = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return jobs.Job(folder, "run", "x", ("relbid",), process.pid, time.time())


def test_who_will_not_stop_is_made_to(tmp_path: Path) -> None:
    job = stubborn(tmp_path / "job")
    jobs.cancel(job, patience_s=0.3)
    assert jobs.is_alive(job)
    wait_for(lambda: not jobs.is_alive(job))
    assert jobs.outcome(job).state == "stopped"
    assert os.waitpid(job.pid, 0)[1] == signal.SIGKILL


def test_another_process_with_the_same_number_is_not_the_job(tmp_path: Path) -> None:
    job = jobs.Job(tmp_path, "run", "x", ("relbid",), os.getpid(), psutil.Process().create_time())
    assert jobs.is_alive(job)
    assert not jobs.is_alive(replace(job, started=job.started - 60))


def test_only_jobs_are_listed(tmp_path: Path) -> None:
    root = tmp_path / jobs.FOLDER
    for name, text in {
        "20260101-000000-abcdef": "{",
        "20260101-000001-abcdef": "[]",
        "not-a-job": json.dumps({"kind": "run"}),
        "20260101-000002-abcdef": "{}",
        "20260101-000003-abcdef": "[" * 100_000,
        "20260101-000004-abcdef": '{"kind": "run", "subject": "", "command": [], "pid": "1", "started": 1.0}',
        "20260101-000005-abcdef": '{"kind": "run", "subject": "", "command": [], "pid": 1, "started": "now"}',
        "20260101-000006-abcdef": '{"kind": "run", "subject": "x", "command": 7, "pid": 1, "started": 1.0}',
    }.items():
        (root / name).mkdir(parents=True)
        (root / name / "job.json").write_text(text)
    (root / "20260101-000007-abcdef").mkdir()
    os.mkfifo(root / "20260101-000007-abcdef" / "job.json")
    assert jobs.all_jobs(tmp_path) == []


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "\ud800x"])
def test_notes_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    (tmp_path / notes.FILE).write_bytes(text.encode(errors="surrogatepass"))
    assert notes.read(tmp_path) == {}
    notes.write(tmp_path, "tiny-1", " mine ")
    assert notes.read(tmp_path) == {"tiny-1": "mine"}


def test_the_oldest_that_have_ended_are_forgotten(tmp_path: Path) -> None:
    for second in range(jobs.KEPT + 3):
        folder = tmp_path / jobs.FOLDER / f"20260101-0000{second:02}-abcdef"
        folder.mkdir(parents=True)
        job = {"kind": "run", "subject": "x", "command": ["relbid"], "pid": 1, "started": float(second)}
        (folder / "job.json").write_text(json.dumps({**job, "folder": None}))
    assert len(jobs.all_jobs(tmp_path)) == jobs.KEPT + 3
    new = jobs.start(tmp_path, "run", "x", ["schema"])
    assert {job.started for job in jobs.all_jobs(tmp_path) if job != new} == set(
        map(float, range(3, jobs.KEPT + 3))
    )
    wait_for(lambda: not jobs.is_alive(new))
    assert jobs.outcome(new).state == "died"  # `relbid schema` keeps no progress, so it left no word
    assert "No such option" in jobs.outcome(new).message


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / jobs.FOLDER).write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        jobs.start(tmp_path, "run", "x", ["schema"])


def test_progress_in_words() -> None:
    progress = CommandProgress(
        what="scoring", subject="hcmrm", done=1000, total=3000, started=0.0, stage_started=10.0, updated=20.0
    )
    assert job_panel.in_words(progress, lambda: 25.0) == "Scoring with HCMRM: 1,000 of 3,000, 15 s left"
    assert job_panel.in_words(CommandProgress()) == "Starting …"
    detailed = CommandProgress(what="points", done=1, total=4, detail="2/s, 1 failed")
    assert job_panel.in_words(detailed) == "Points: 1 of 4"  # the page shows the rest below
