"""`make gpu` in small, on a processor: its code runs, and what is finished stays."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks.gpu import STEPS
from benchmarks.gpu_bundle import market, missing_trainings
from benchmarks.gpu_files import write
from benchmarks.gpu_trainings import TRAININGS, train_missing
from benchmarks.tables import gpu_tables
from scenarios.studies.ablations.ablation import load_ablation
from scenarios.studies.ablations.ablation_run import cell_tasks
from scenarios.studies.ablations.ablation_worker import is_trained
from tests.relevance.tiny import tiny_corpus
from tests.scenarios.test_ablations import TINY

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(prepared, tmp_path_factory):
    """What `make gpu-bundle` writes, of a tiny world."""
    folder = tmp_path_factory.mktemp("bundle")
    write(folder / "market.xz", market(prepared))
    write(folder / "training.xz", tiny_corpus())
    (folder / "commit").write_text("abc", encoding="utf-8")
    return folder


def run(bundle, out, *line):
    command = [sys.executable, "-m", "benchmarks.gpu", "--small", "--bundle", bundle, "--out", out, *line]
    return subprocess.run(
        list(map(str, command)), cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=400
    )


def test_every_step_writes_its_figures(bundle, tmp_path):
    done = run(bundle, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    found = {step.__name__: json.loads((tmp_path / f"{step.__name__}.json").read_text()) for step in STEPS}
    assert {(one["commit"], one["device"]) for one in found.values()} == {("abc", "cpu")}
    base, live = found["base"], found["live"]
    assert base["times_plain"] == pytest.approx(base["pairs_per_s"] / base["plain_pairs_per_s"])
    assert base["share_of_matrix_rate"] == pytest.approx(
        base["pairs_per_s"] * base["mflop_per_pair"] / (1000 * base["matrix_gflops"])
    )
    assert base["times_encoder"] > 0
    assert [load["load"] for load in base["latency"]] == [0.3, 0.6, 0.9]
    assert live["measured"]["served_per_s"] > 0
    assert found["training"]["log"][-1]["stage"] == "finetune"
    assert found["ranks"]["kendall_tau"]["float32"] == pytest.approx(1.0)
    said = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "failed" not in said
    assert f"{base['pairs_per_s']:,.0f}" in said


def test_a_step_that_fails_leaves_the_others(bundle, tmp_path):
    half = tmp_path / "half"
    half.mkdir()
    (half / "training.xz").write_bytes((bundle / "training.xz").read_bytes())
    done = run(half, tmp_path / "out", "--only", "ranks", "training")
    assert done.returncode != 0
    assert "failed: ranks" in done.stderr
    said = (tmp_path / "out" / "gpu.md").read_text(encoding="utf-8")
    assert "Step ranks failed: FileNotFoundError" in said
    assert "Training of preset small" in said


def test_missing_trainings_are_made_and_the_ablation_takes_them(tmp_path, monkeypatch):
    """What `make gpu` does last, on a processor: no cell is trained again by `relbid ablate`."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tiny.yaml"
    more = "seeds: 2\nworlds: [11]\nfold: null\nsplits: [test]\nkeep: models/tiny"
    file.write_text(TINY.replace("seeds: 2", more, 1))
    trainings = missing_trainings([file], tmp_path / "models")
    first = [one for one in trainings.missing if one.weights == trainings.missing[0].weights][:2]
    other = next(one for one in trainings.missing if one.weights != first[0].weights)
    assert first[0].pretraining == first[1].pretraining  # made once for both
    few = [*first, other]
    (tmp_path / "bundle").mkdir()
    write(tmp_path / "bundle" / TRAININGS, trainings._replace(missing=few))
    made = train_missing(tmp_path / "bundle", tmp_path / "made", "cpu", 2, 600.0)
    assert sorted(made) == sorted(one.checkpoint for one in few)
    assert len(list((tmp_path / "made").glob("*.safetensors"))) == 2  # no two processes made the same weights
    for name in made:
        shutil.copytree(tmp_path / "made" / name, tmp_path / "models" / name)
    left = [one for one in trainings.missing if one not in few]
    assert missing_trainings([file], tmp_path / "models").missing == left
    ablation = load_ablation(file)
    tasks = cell_tasks(ablation, tmp_path / "results")
    trained = [task.data.kept.name for task in tasks if is_trained(task.data)]
    assert sorted(trained) == sorted(Path(name).name for name in made)


def test_trainings_are_told_by_hand(tmp_path):
    rows = [("w", "pretraining", 1000, 20.0), ("a", "finetuning", 500, 2.0), ("b", "finetuning", 500, 3.0)]
    figures = {
        "device": "x", "commit": "y", "torch": "z",
        "seconds": 100, "corpora_s": 10, "processes": 3, "mps": False,
        "trainings": [dict(zip(("what", "kind", "steps", "seconds"), row, strict=True)) for row in rows],
    }  # fmt: skip
    (tmp_path / "trainings.json").write_text(json.dumps(figures))
    assert (
        "3 processes at once: 2 checkpoints from 1 pre-trainings in 100 s, 10 s of them for the corpora; "
        "20 ms a step of pre-training and 5 ms a step of fine-tuning in each process."
    ) in gpu_tables(tmp_path)


def test_nothing_begins_when_the_time_is_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY.replace("seeds: 2", "seeds: 2\nkeep: models", 1))
    write(tmp_path / TRAININGS, missing_trainings([file], tmp_path / "models"))
    assert train_missing(tmp_path, tmp_path / "made", "cpu", 1, 0.0) == []
