"""The engine of studies: what sweeps, experiments and ablations share."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from scenarios import StoreError, StudyError, load_experiment, read_failures, read_status, run_experiment
from scenarios.errors import UserError
from scenarios.storage.machine import starting_processes
from scenarios.storage.whole import alone, check_free
from scenarios.studies import pool
from scenarios.studies.ablations.ablation import load_ablation
from scenarios.studies.ablations.ablation_run import run_ablation
from scenarios.studies.ablations.cells import cells_folder
from scenarios.studies.experiments.experiment_run import (
    estimate_experiment,
    experiment_folder,
    study_folder,
    write_experiment,
)
from scenarios.studies.run_study import run_study
from scenarios.studies.study import PART, StudyPlan, Task, Worker, keep, remove_parts
from tests.scenarios.test_ablations import TINY
from tests.scenarios.test_experiment import ARMS, plan_of

EVERY_DESIGN = ARMS + "seeds: 3\ndesign: [independent, query_split, budget_split]\n"
MOODY = """\
from pathlib import Path

from simulator.fusion import Product


def make(mood):
    if mood == 1 and not Path({mended!r}).exists():
        raise RuntimeError("a bad day")
    return Product()
"""


class Doubling(Worker[int]):
    """Keeps twice a number; refuses 13."""

    @staticmethod
    def read(task: Task) -> int | None:
        try:
            return int(task.out.read_text())
        except (OSError, ValueError):
            return None

    def make(self, task: Task) -> bytes:
        if task.data == 13:
            raise ValueError("a bad number")
        return str(2 * task.data).encode()


class Numbers(StudyPlan[int]):
    """Some numbers, and then the sum of what they gave."""

    command = "test"
    worker = Doubling
    stage = "numbers"

    def __init__(self, folder: Path, numbers: list[int]) -> None:
        self.total, self.folder, self.numbers = len(numbers), folder, numbers

    def batches(self, study):
        yield study.missing(map(self.task, self.numbers))
        study.stage("sums", 1)
        yield study.missing([self.task(sum(study.results.values()))])

    def about(self, task):
        return {"number": task.data}

    def task(self, number: int) -> Task:
        return Task(f"n{number}", self.folder / "kept" / f"n{number}.txt", number)


@pytest.mark.parametrize(("engine", "workers"), [("here", 1), ("local", 2)])
def test_a_batch_is_made_of_the_results_of_the_one_before(tmp_path, engine, workers):
    said = []
    plan = Numbers(tmp_path, [1, 2, 3, 2])
    study = run_study(plan, tmp_path, engine=engine, workers=workers, report=said.append)
    assert study.results == {"n1": 2, "n2": 4, "n3": 6, "n12": 24}
    assert [(at.stage, at.done) for at in said if at.state == "running"] == [
        ("numbers", 0), ("numbers", 1), ("numbers", 2), ("numbers", 3), ("sums", 0), ("sums", 1),
    ]  # fmt: skip
    status = read_status(tmp_path)
    assert status == said[-1]
    assert (status.state, status.stage, status.total, status.done, status.reused) == ("done", "sums", 1, 1, 0)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "n1.txt", "n12.txt", "n2.txt", "n3.txt",
    ]  # fmt: skip


def test_what_is_kept_is_not_made_again_and_what_failed_waits_to_be_asked_for(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "n1.txt").write_text("200")
    (tmp_path / "kept" / "n2.txt").write_text("damaged")
    plan = Numbers(tmp_path, [1, 2, 13])
    study = run_study(plan, tmp_path, workers=1)
    assert study.results == {"n1": 200, "n2": 4, "n204": 408}
    assert list(study.failed) == ["n13"]
    [note] = read_failures(tmp_path)
    assert (note["key"], note["number"]) == ("n13", 13)
    assert note["error"].startswith("ValueError: a bad number\n\nTraceback")
    with pytest.raises(StudyError, match=r"1 sum failed, see .*failures/; --retry-failed runs them again"):
        study.check()

    stamp = (tmp_path / "failures" / "n13.json").stat().st_mtime_ns
    again = run_study(plan, tmp_path, workers=1)
    assert list(again.failed) == ["n13"]
    assert (tmp_path / "failures" / "n13.json").stat().st_mtime_ns == stamp, "it was not tried"
    (tmp_path / "kept" / "n13.txt").write_text("26")
    assert run_study(plan, tmp_path, workers=1, retry_failed=True).results["n13"] == 26
    assert read_failures(tmp_path) == ()


def test_in_this_process_an_error_is_the_caller_s(tmp_path):
    with pytest.raises(ValueError, match="a bad number"):
        run_study(Numbers(tmp_path, [1, 13, 2]), tmp_path, engine="here")
    status = read_status(tmp_path)
    assert (status.state, status.done) == ("stopped", 1)
    assert run_study(Numbers(tmp_path, [1, 2]), tmp_path, engine="here").results["n6"] == 12


def test_every_lock_names_its_own_command(tmp_path):
    plan = plan_of(tmp_path, ARMS + "seeds: 2\n")
    (tmp_path / "tiny.yaml").write_text(TINY)
    ablation, out = load_ablation(tmp_path / "tiny.yaml"), tmp_path / "results"
    words = rf"another relbid {{}} \(process {os.getpid()}\) is at work on it; wait for it, stop it"
    place = experiment_folder(out, plan)
    with alone(place, "experiment"), pytest.raises(StoreError, match=words.format("experiment")) as caught:
        run_experiment(plan, cache=out)
    assert str(place) in str(caught.value)
    place = cells_folder(out, ablation)
    with alone(place, "ablate"), pytest.raises(StoreError, match=words.format("ablate")):
        run_ablation(ablation, out)


def test_a_result_is_written_whole_and_dead_writers_leave_nothing(tmp_path):
    keep(tmp_path / "deep" / "one.json", b"[1]")
    keep(tmp_path / "deep" / "one.json", b"[2]")
    assert {path.name: path.read_bytes() for path in (tmp_path / "deep").iterdir()} == {"one.json": b"[2]"}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = (tmp_path / "deep" / f"{PART}one.{pid}" for pid in (ended.pid, os.getpid()))
    dead.write_bytes(b"[")
    alive.write_bytes(b"[")
    remove_parts(tmp_path / "deep")
    assert not dead.exists()
    assert alive.exists(), "its writer lives"
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/one.json: cannot be written \(.*/file is a file\); remove"):
        keep(tmp_path / "file" / "one.json", b"[1]")


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads by /proc")
def test_what_the_fork_server_loads_starts_no_thread():
    """A fork of a process with threads may hang."""
    code = f"import os, {', '.join(pool.PRELOADED)}; print(len(os.listdir('/proc/self/task')))"
    environment = {**os.environ, **dict.fromkeys(pool.ONE_THREAD, "1")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


STARTING = """
import multiprocessing, os, signal
from scenarios.storage.machine import OURS, SAFE_PATH, starting_processes
came = []
signal.signal(signal.SIGINT, lambda *_: came.append(True))
with starting_processes():
    os.killpg(0, signal.SIGINT)  # as Ctrl-C does, while the server starts
    process = multiprocessing.get_context("forkserver").Process(target=os.getpid)
    process.start()
process.join()
print(came, process.exitcode, os.environ.get(SAFE_PATH) == OURS)
"""


def test_ctrl_c_while_the_fork_server_starts_is_the_command_s_alone():
    done = subprocess.run(
        [sys.executable, "-c", STARTING], start_new_session=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[True] 0 False\n", "")


@pytest.mark.parametrize("error", [EOFError, BrokenProcessPool("at work")])
def test_a_process_that_cannot_be_started_or_was_killed_is_said(error):
    words = "a process cannot be started, or was killed; look for memory"
    with pytest.raises(UserError, match=words), starting_processes():
        raise error


# Experiments


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_processes_and_a_second_run_change_no_byte_of_an_experiment(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, EVERY_DESIGN)
    here = write_experiment(tmp_path / "here", run_experiment(plan))
    said = []
    out = tmp_path / "two"
    two = write_experiment(out, run_experiment(plan, cache=out, workers=2, report=said.append))
    assert content(two) == content(here)
    # Of each seed: A and B, B on draws of its own, and the two splits.
    assert (said[-1].state, said[-1].done, said[-1].total, said[-1].workers) == ("done", 15, 15, 2)
    assert read_status(study_folder(out, plan)) == said[-1]
    monkeypatch.setattr(
        pool, "work_through", lambda worker, batches, workers: itertools.chain.from_iterable(batches)
    )
    assert content(write_experiment(out, run_experiment(plan, cache=out, workers=2))) == content(here)
    assert read_status(study_folder(out, plan)).reused == 15


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'relbid[ray]'")
def test_ray_gives_an_experiment_of_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    import ray

    plan = plan_of(tmp_path, EVERY_DESIGN)
    here = write_experiment(tmp_path / "here", run_experiment(plan))
    # Of bounded memory; the engine uses the cluster that its caller is connected to.
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False,
        logging_level="WARNING",
    )  # fmt: skip
    try:
        result = run_experiment(plan, cache=tmp_path / "ray", workers=2, engine="ray")
    finally:
        ray.shutdown()
    assert content(write_experiment(tmp_path / "ray", result)) == content(here)


def test_an_experiment_whose_replicates_fail_says_so_and_runs_them_again_on_request(tmp_path, monkeypatch):
    (tmp_path / "moody_arm.py").write_text(MOODY.format(mended=str(tmp_path / "mended")))
    monkeypatch.syspath_prepend(str(tmp_path))
    rule = "{{fusion: {{rule: custom, object: 'moody_arm:make', settings: {{mood: {}}}}}}}"
    (tmp_path / "mended").touch()  # the rule is tried before the work
    plan = plan_of(tmp_path, f"arms: {{A: {rule.format(0)}, B: {rule.format(1)}}}\nseeds: 2\n")
    out, folder = tmp_path / "results", study_folder(tmp_path / "results", plan)
    (tmp_path / "mended").unlink()
    words = rf"2 replicates failed, see {folder}/failures/; --retry-failed runs them again"
    with pytest.raises(StudyError, match=words) as caught:
        run_experiment(plan, cache=out, workers=2)
    assert caught.value.exit_code == 1, "the others are kept"
    notes = read_failures(folder)
    assert sorted((note["kind"], note["arms"], note["seed"]) for note in notes) == [
        ("full", ["B"], 1), ("full", ["B"], 2),
    ]  # fmt: skip
    assert all("a bad day" in note["error"] for note in notes)
    status = read_status(folder)
    assert (status.state, status.done, status.failed) == ("stopped", 2, 2)
    (tmp_path / "mended").touch()
    with pytest.raises(StudyError, match=words):
        run_experiment(plan, cache=out, workers=2)
    result = run_experiment(plan, cache=out, workers=2, retry_failed=True)
    assert len(result.replicates) == 4
    assert read_failures(folder) == ()
    kept = [path.name for path in (out / ".cache").glob("replicates/*")]
    assert kept == [], "nothing says when the code of a plug-in has changed"


def test_an_estimate_of_an_experiment_counts_without_running(tmp_path):
    plan = plan_of(tmp_path, EVERY_DESIGN)
    out = tmp_path / "results"
    found = estimate_experiment(plan, out)
    assert (found.points, found.seeds, found.jobs, found.done, found.models) == (
        5,
        3,
        15,
        0,
        ("none", "oracle"),
    )
    assert found.job_s > 0
    assert not study_folder(out, plan).exists()
    run_experiment(plan, cache=out)
    found = estimate_experiment(plan, out)
    assert (found.done, found.left_s(2)) == (15, 0.0)


def test_a_dry_run_trains_and_simulates_nothing(tmp_path):
    from typer.testing import CliRunner

    from scenarios.cli.main import app

    plan_of(tmp_path, EVERY_DESIGN)
    (tmp_path / "tiny.yaml").write_text(TINY)
    out = tmp_path / "results"
    ran = CliRunner().invoke(app, ["experiment", str(tmp_path / "e.yaml"), "--dry-run", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "5 markets x 3 seeds = 15 simulations\n" in ran.output
    ran = CliRunner().invoke(app, ["ablate", str(tmp_path / "tiny.yaml"), "--dry-run", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    assert ran.output == "12 trainings, 0 of them done\n"
    assert not list(out.glob("e-*"))
    assert not (out / "ablations").exists()
    assert not list(out.glob(".cache/replicates/*"))


def test_the_status_of_an_experiment_is_read_like_that_of_a_sweep(tmp_path):
    plan = load_experiment(plan_of(tmp_path, ARMS + "seeds: 2\n") and tmp_path / "e.yaml")
    run_experiment(plan, cache=tmp_path / "results")
    data = json.loads((study_folder(tmp_path / "results", plan) / "progress.json").read_text())
    assert {"state", "stage", "done", "failed", "total", "started", "rate_per_s", "left_s", "pid"} <= set(
        data
    )
    assert (data["state"], data["stage"], data["done"]) == ("done", "replicates", 4)


def test_a_damaged_note_of_progress_is_none(tmp_path):
    whole = {"state": "done", "total": 2, "done": 2, "failed": 0, "reused": 0, "workers": 1, "pid": 7}
    whole |= {"started": 1.5, "elapsed_s": 2}
    (tmp_path / "progress.json").write_text(json.dumps(whole))
    assert read_status(tmp_path).total == 2
    for wrong in ({"total": [1]}, {"started": "noon"}, {"state": None}):
        (tmp_path / "progress.json").write_text(json.dumps(whole | wrong))
        assert read_status(tmp_path) is None


def test_a_link_in_a_circle_is_no_free_place(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError, match="is there already"):
        check_free(tmp_path / "loop")


def test_a_place_with_too_long_a_name_is_refused_before_the_work(tmp_path):
    with pytest.raises(StoreError, match="cannot be written \\(File name too long\\)"):
        check_free(tmp_path / ("x" * 300))
    assert not list(tmp_path.iterdir())
