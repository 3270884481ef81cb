"""Engines: a pool of this machine and one of Ray give the same files, whatever happens to their processes."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from relevance.extras import MissingExtraError
from scenarios import load_sweep, read_sweep, run_sweep
from scenarios.studies import pool
from scenarios.studies.study import StudyError
from tests.scenarios.test_sweeps import HEAD, SMALL, write

RULE = """\
import os
import signal
from pathlib import Path

from simulator.fusion import Product


def make(mood):
    if mood == 1:
        raise RuntimeError("a bad day")
    marks = Path({marks!r})
    deaths = len(list(marks.iterdir()))
    if mood == 2 and deaths < 2:
        (marks / str(deaths)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return Product()
"""
MOODY = (
    HEAD
    + "over:\n  scorer: [none, oracle]\n  fusion:\n    - {rule: gate, threshold: 0.3}\n"
    + "".join(f"    - {{rule: custom, object: 'moody:make', settings: {{mood: {n}}}}}\n" for n in range(3))
)
TASKS = """\
import os
import signal


def worker():
    def do(task):
        if task == "fail":
            raise ValueError("as it should")
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)

    return do
"""


def files(out: Path) -> dict[str, bytes]:
    """The results of a run, by their paths."""
    kept = [*out.glob(".cache/replicates/*.json"), *out.glob("sweeps/*/*.parquet")]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'relbid[ray]'")
def test_ray_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    import ray

    marks = tmp_path / "marks"
    marks.mkdir()
    (tmp_path / "moody.py").write_text(RULE.format(marks=str(marks)))
    monkeypatch.syspath_prepend(str(tmp_path))
    sweep = load_sweep(write(tmp_path, MOODY))
    (marks / "0").touch()
    (marks / "1").touch()
    local = read_sweep(run_sweep(sweep, tmp_path / "local", workers=2))
    assert local.replicates["point"].to_list() == [0, 1, 3, 4, 5, 7]

    for mark in marks.iterdir():  # from here on the rule kills two processes
        mark.unlink()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    # Of bounded memory; the engine uses the cluster that its caller is connected to.
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False,
        logging_level="WARNING",
    )  # fmt: skip
    try:
        same = read_sweep(run_sweep(sweep, tmp_path / "ray", workers=2, engine="ray"))
        assert ray.is_initialized(), "it is its caller's"
    finally:
        ray.shutdown()
    assert len(list(marks.iterdir())) == 2
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert [(one["key"], one["point"]) for one in same.failures] == [
        (one["key"], one["point"]) for one in local.failures
    ]
    assert len(same.failures) == 2
    assert all("a bad day" in one["error"] for one in same.failures)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="pip install 'relbid[ray]'")
def test_a_cluster_that_does_not_answer_is_named(tmp_path, monkeypatch):
    import ray

    def unreachable(**_):
        raise ConnectionError("no answer")

    monkeypatch.setattr(ray, "init", unreachable)
    sweep = load_sweep(write(tmp_path, SMALL))
    for address, said in (
        ("10.0.0.1:6379", "RAY_ADDRESS: the Ray cluster cannot be reached: no answer, got 10.0.0.1:6379"),
        (None, "engine: Ray did not start on this machine: no answer"),
    ):
        if address is None:
            monkeypatch.delenv("RAY_ADDRESS")
        else:
            monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(StudyError, match=said):
            run_sweep(sweep, tmp_path / "results", engine="ray")


def test_without_ray_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"engine ray: ray is not .*; pip install 'relbid\[ray\]'"):
        run_sweep(load_sweep(write(tmp_path, SMALL)), tmp_path / "results", engine="ray")
    assert not (tmp_path / "results").exists()


def test_a_batch_waits_for_the_outcomes_of_the_one_before(tmp_path, monkeypatch):
    (tmp_path / "tasks_of_a_test.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    taken: list[str] = []

    def batches():
        yield ["a", "b", "c"]
        assert sorted(taken) == ["a", "b", "c"]
        yield []
        yield ["fail"]
        assert taken[3:] == ["fail"]
        yield ["d", "die"]

    outcomes = []
    for outcome in pool.work_through("tasks_of_a_test:worker", batches(), 2):
        outcomes.append(outcome)
        taken.append(outcome.task)
    failures = {outcome.task: outcome.failure for outcome in outcomes if outcome.failure is not None}
    assert sorted(taken[4:]) == ["d", "die"]
    assert set(failures) == {"fail", "die"}
    assert (failures["fail"].kind, failures["fail"].message) == ("ValueError", "as it should")
    assert "in do\n" in failures["fail"].trace
    assert str(failures["fail"]).startswith("ValueError: as it should\n\nTraceback")
    assert str(failures["die"]).startswith(f"its process died {pool.MOST_DEATHS} times")
