"""`relbid ablate`: its file, its cells, what is killed and continues, and its tables."""

import json
import math
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from relevance.metrics import auc
from scenarios.errors import ScenarioError, StoreError
from scenarios.markets.checkpoints import KEPT, TrainedOn, trained_on
from scenarios.reporting.ablation_picture import picture
from scenarios.reporting.ablation_tables import tables, write_tables
from scenarios.reporting.figures import write_picture
from scenarios.studies.ablations.ablation import check_starts, load_ablation, merged
from scenarios.studies.ablations.ablation_run import (
    AblationPlan,
    cell_tasks,
    run_ablation,
    weights_path,
)
from scenarios.studies.ablations.ablation_worker import AblationWorker, Training
from scenarios.studies.ablations.cells import (
    Cell,
    Measured,
    cells_of,
    digest_of_scenario,
    every_setting,
    of_ablation,
    read_cell,
    read_lines,
)
from scenarios.studies.ablations.measures import Slices, calibration_error, graded_metrics
from scenarios.studies.run_study import Study
from scenarios.studies.study import Task, read_failures, read_status
from simulator.world import LabelledWorlds, build_world, labelled_corpus
from tests.scenarios.test_sweeps_cli import ENVIRONMENT, command, relbid

CELLS = "[0-9a-f]*.json"
"""Files of cells; progress.json is none of them."""
TINY = """\
schema: 1
name: tiny
seeds: 2
common:
  world.train_advertisers: 36
  world.validation_advertisers: 36
  world.test_advertisers: 36
  world.unlabelled_advertisers: 18
  world.ads_per_advertiser: 6
  world.query_pool: 1500
  traffic.n_queries: 500
  retrieval.candidates: 8
training:
  word_steps: 1
  align_steps: 2
  align_batch: 8
  finetune_steps: 2
  ads_per_step: 4
  pairs_per_ad: 4
  warm_up: 1
  vocab_size: 300
  model: {hidden_size: 16, num_heads: 2, intermediate_size: 32, conv_stem: [8, 8, 8, 16], embed_dim: 8}
groups:
  losses:
    reference: hierarchical
    arms:
      hierarchical: {}
      BCE: {loss: bce}
  modalities:
    reference: early fusion
    arms:
      early fusion: {}
      text only: {model: {use_frames: false}}
  pre-training:
    reference: none
    seeds: 2
    arms:
      none: {align_steps: 0}
      some: {}
    across: {labels: [0, 200]}
"""


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder where the command and its processes were killed once, and what was there then."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "tiny.yaml").write_text(TINY)
    process = subprocess.Popen(
        command("ablate", "tiny.yaml", "--workers", 1), cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    cells, end = folder / "results" / "ablations" / "tiny", time.monotonic() + 300
    while len(list(cells.glob(CELLS))) < 3:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stderr.close()
    time.sleep(1.0)  # its process ends with the task in its hands
    return folder, {path.name: path.stat().st_mtime_ns for path in cells.glob(CELLS)}


def test_killed_it_goes_on_and_repeats_nothing(killed):
    folder, kept = killed
    cells = folder / "results" / "ablations" / "tiny"
    weights = folder / "results" / ".cache" / "ablations"
    pretrained = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    ran = relbid("ablate", "tiny.yaml", "--table", "early.md", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "cells are not finished)" in ran.stdout
    assert "of 12 trainings" in (folder / "early.md").read_text()

    ran = relbid("ablate", "tiny.yaml", "--workers", 2, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Cells: results/ablations/tiny/")
    found = {path.name: path.stat().st_mtime_ns for path in cells.glob(CELLS)}
    # Of each seed: the reference of losses, modalities and pre-training is one training; BCE, text only,
    # none, and the two with fewer labels are the others.
    assert len(found) == 2 * 6
    assert all(found[name] == stamp for name, stamp in kept.items())
    # Text only pre-trains for itself, and so do fewer labels, since the word stage reads them; all others of
    # a seed share one.
    now = {path.name: path.stat().st_mtime_ns for path in weights.glob("*.safetensors")}
    assert len(now) == 2 * 3
    assert now == {**now, **pretrained}
    assert not list(cells.glob(".writing-*/*"))

    ran = relbid("ablate", "tiny.yaml", "--workers", 1, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert {path.name: path.stat().st_mtime_ns for path in cells.glob(CELLS)} == found


@pytest.fixture(scope="module")
def finished(killed):
    """The same folder with all cells, whichever test comes first."""
    folder, _ = killed
    ran = relbid("ablate", "tiny.yaml", "--workers", 1, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder


def test_the_tables_can_be_made_without_the_results(finished, tmp_path):
    folder = finished
    ran = relbid("ablate", "tiny.yaml", "--table", "docs/table.md", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "Tables: docs/table.md  (cells: docs/table.jsonl)\n"
    [drawn] = [path for path in (folder / "docs").iterdir() if path.suffix in (".svg", ".html")]
    text = (folder / "docs" / "table.md").read_text()
    if drawn.suffix == ".svg":  # there is a browser that kaleido can draw with
        assert "\n![Differences to each group's reference, with 95% intervals](table.svg)\n" in text
        assert drawn.read_text().startswith("<svg ")
        assert not ran.stderr
    else:
        assert "\n[Differences to each group's reference, with 95% intervals](table.html)\n" in text
        assert ran.stderr == (
            "relbid: docs/table.html has the picture; to draw it as an SVG file, install Chromium and "
            "kaleido (pip install kaleido)\n"
        )
    text = (folder / "docs" / "table.md").read_text()
    assert "of 12 of 12 trainings" in text
    assert "| labels 200 | some | 2 |" in text
    assert "## What each is worth in the market" in text

    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "table.jsonl").write_text((folder / "docs" / "table.jsonl").read_text())
    again = write_tables(
        load_ablation(tmp_path / "tiny.yaml"),
        tmp_path / "results",
        tmp_path / "docs" / "table.md",
        ["relbid", "ablate", "tiny.yaml", "--table", "docs/table.md"],
    )
    assert again.missing == 0
    assert again.picture.parent == tmp_path / "docs"
    assert (tmp_path / "docs" / "table.md").read_text() == text


def test_a_cell_holds_what_was_measured(finished):
    folder = finished
    ablation = load_ablation(folder / "tiny.yaml")
    paths = (folder / "results" / "ablations" / "tiny").glob(CELLS)
    cells = [cell for path in paths if (cell := read_cell(path)) is not None]
    found = of_ablation(ablation, cells)
    assert len(found) == 12
    for cell in found.values():
        assert set(cell.metrics) == {"test", "held_out"}
        assert set(cell.metrics["test"]) == {"all", "head", "tail", "stuffed"}
        assert 0 <= cell.metrics["test"]["all"]["auc"] <= 1
        assert cell.market["queries"] == 500
        assert (cell.cost["pretraining_s"] > 0) == (cell.cell.settings["align_steps"] > 0)
    # Paired: the market of a seed is one and the same for all arms, that of another seed is not.
    assert Measured.from_json(cells[0].to_json()).to_json() == cells[0].to_json()


def test_what_failed_is_told_and_tried_again(file, monkeypatch):
    out = file.parent / "results"
    ablation = load_ablation(file)
    few = replace(ablation, rows=tuple(replace(row, seeds=(1,)) for row in ablation.rows[:2]))
    with monkeypatch.context() as patched:
        patched.setattr(AblationPlan, "worker", Failing)
        said = []
        assert run_ablation(few, out, workers=1, report=said.append) == 2
    assert (said[-1].stage, said[-1].done, said[-1].failed, said[-1].total) == ("cells of seed 1", 0, 2, 2)
    assert read_status(out / "ablations" / "tiny") == said[-1]
    notes = read_failures(out / "ablations" / "tiny")
    assert len(notes) == 3, "two cells and the weights that they start from"
    assert all((note["seed"], note["settings"]["finetune_steps"]) == (1, 2) for note in notes)
    assert all(note["error"].startswith("ValueError: no good\n\nTraceback") for note in notes)
    with pytest.raises(StoreError, match="no cell of 'tiny' is finished; run it without --table"):
        write_tables(few, out, out / "table.md", [])
    with pytest.raises(
        StoreError, match=r"table.jsonl: files of this kind hold the cells .*; name .* table.md"
    ):
        write_tables(few, out, out / "table.jsonl", [])
    (out / "file").write_text("")
    kept = replace(few, file=few.file.model_copy(update={"keep": str(out / "file")}))
    with pytest.raises(StoreError, match=r"file: cannot be written .*; name another folder in .* 'keep'"):
        run_ablation(kept, out, workers=1)
    assert run_ablation(few, out, workers=1) == 0
    assert not read_failures(out / "ablations" / "tiny")


def test_pretrainings_of_the_next_seed_run_beside_the_cells_of_this_one(file):
    out = file.parent / "results"
    plan = AblationPlan(load_ablation(file), out)
    study = Study(plan, out / "ablations" / "tiny", 2, True, None, time.monotonic)
    batches = [
        Counter(("weights" if task.data.weights_alone else "cell", task.data.cell.seed) for task in batch)
        for batch in plan.batches(study)
    ]
    assert batches == [
        {("weights", 1): 3},
        {("cell", 1): 6, ("weights", 2): 3},
        {("cell", 2): 6},
    ]


class Failing(AblationWorker):
    """A worker, loaded by name in processes of its own, that can do nothing."""

    def make(self, task):
        raise ValueError("no good")


def test_pretrained_weights_are_shared_and_used(file):
    out = file.parent / "results"
    ablation = load_ablation(file)
    tasks = [task for task in cell_tasks(ablation, out) if task.data.cell.seed == 1]
    shared = tasks[0].data.shared
    by_arm = {row.arm: row.settings for row in ablation.rows}
    one_of = {json.dumps(task.data.cell.settings): task for task in tasks}
    task = one_of[json.dumps(by_arm["BCE"])]
    hierarchical, bce, text = (
        one_of[json.dumps(by_arm[arm])].data for arm in ("hierarchical", "BCE", "text only")
    )
    assert hierarchical.weights == bce.weights != text.weights
    assert [one.data.weights for one in tasks if not one.data.cell.pretrained] == [None, None]

    data = LabelledCorpus.load(shared.corpus)
    torch = pytest.importorskip("torch")
    from relevance.hcmrm.training.pretrained import finetune, pretrain

    pretrain(bce.cell.pretraining_config, data, bce.weights)
    from relevance.hcmrm.training.state_file import read_state

    state = read_state(bce.weights)["model"]
    for training in (hierarchical, bce):
        bare = replace(training.cell, settings={**training.cell.settings, "finetune_steps": 0})
        trainer, seconds, log = finetune(bare.config, data, bce.weights)
        assert seconds > 0
        assert {line["stage"] for line in log} == {"words", "align"}
        for name, value in trainer.checkpoint({}).model.state_dict().items():
            if not name.startswith("grade_head."):
                assert torch.equal(value, state[name]), name

    # Weights that do not fit, damaged or of other code, are made again.
    bce.weights.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="no weights for this model"):
        finetune(bce.cell.config, data, bce.weights)
    AblationWorker()(task)
    assert read_cell(task.out) is not None
    assert read_state(bce.weights)["model"].keys() == state.keys()


def test_models_are_trained_in_other_worlds_and_kept(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    file.write_text(
        TINY.replace("seeds: 2", "seeds: 2\nworlds: [11, 12]\nfold: null\nsplits: [test]\nkeep: models", 1)
    )
    ablation = load_ablation(file)
    few = replace(ablation, rows=tuple(replace(row, seeds=(1,)) for row in ablation.rows[:2]))
    out = file.parent / "results"
    assert run_ablation(few, out, workers=1) == 0
    assert sorted(path.name for path in Path("models").iterdir()) == ["bce-1", "hierarchical-1"]
    assert trained_on(Path("models/bce-1")) == TrainedOn(
        (11, 12), None, trained_on(Path("models/bce-1")).settings
    )
    weights = Path("models/bce-1/model.safetensors")
    before, whole = weights.read_bytes(), Path("models/hierarchical-1/model.safetensors").stat().st_mtime_ns
    found = read_cell(task_of(few, out, "BCE").out)
    assert set(found.metrics) == {"test"}

    # A checkpoint that has gone is made again, and no other one.
    weights.unlink()
    assert run_ablation(few, out, workers=1) == 0
    assert weights.read_bytes() == before
    assert Path("models/hierarchical-1/model.safetensors").stat().st_mtime_ns == whole

    # One that was made elsewhere is measured and not trained; one of another training is.
    for cell in (out / "ablations" / "tiny").glob("*.json"):
        if cell.name != "progress.json":
            cell.unlink()
    shutil.rmtree(out / ".cache" / "ablations")
    record = Path("models/bce-1/training.json")
    record.write_text(record.read_text().replace('"rate": ', '"rate": 1'))
    assert run_ablation(few, out, workers=1) == 0
    assert Path("models/hierarchical-1/model.safetensors").stat().st_mtime_ns == whole
    assert weights.read_bytes() == before
    found = read_cell(task_of(few, out, "BCE").out)

    # What is measured is the kept checkpoint, in the scenario's world, which it never saw.
    scenario = ablation.scenario
    data = labelled_corpus(LabelledWorlds((scenario.world.seed,), None, scenario.world, ("test",)))
    labels = data.labels.of("test")
    from relevance.hcmrm import HcmrmScorer

    score = HcmrmScorer.load(data.corpus, Path("models/bce-1")).score(labels.query, labels.ad)
    expected = auc(labels.grade >= 2, score)
    assert found.metrics["test"]["all"]["auc"] == pytest.approx(
        expected, abs=2e-3
    )  # the kept weights are halves


def task_of(ablation, out, arm):
    [settings] = {json.dumps(row.settings) for row in ablation.rows if row.arm == arm}
    [task] = [task for task in cell_tasks(ablation, out) if json.dumps(task.data.cell.settings) == settings]
    return task


def test_metrics_by_hand():
    query, grade = np.array([0, 0, 0, 0, 1, 1]), np.array([3, 2, 1, 0, 3, 0])
    score = np.array([0.9, 0.6, 0.3, 0.1, 0.5, 0.4])
    found = graded_metrics(query, grade, score, None)
    assert found["auc"] == 1.0
    assert found["distance"] == pytest.approx((0.9 + 0.6 + 0.5) / 3 - (0.3 + 0.1 + 0.4) / 3)
    assert math.isnan(found["auc_3_2_given"])
    # Six bins of one pair: each is off by its own distance from 0 or 1.
    assert found["ece"] == pytest.approx((0.1 + 0.4 + 0.3 + 0.1 + 0.5 + 0.4) / 6)
    # P(3 | positive) ranks query 0's two positive pairs the wrong way round, though the score does not.
    probabilities = np.array([[0, 0.1, 0.6, 0.3], [0.4, 0, 0.2, 0.4]] + [[1.0, 0, 0, 0]] * 4)
    found = graded_metrics(query, grade, score, probabilities)
    assert found["auc_3_2"] == 1.0
    assert found["auc_3_2_given"] == 0.0
    empty = graded_metrics(query[:0], grade[:0], score[:0], None)
    assert all(math.isnan(value) for value in empty.values())


def test_calibration_error_by_hand():
    probability = np.array([0.2, 0.2, 0.8, 0.8])
    happened = np.array([False, True, True, True])
    # Two bins: |0.2 - 0.5| and |0.8 - 1|, equally many pairs.
    assert calibration_error(probability, happened, bins=2) == pytest.approx((0.3 + 0.2) / 2)
    assert calibration_error(np.array([0.5, 0.5]), np.array([True, False]), bins=1) == 0.0


def test_every_seed_may_leave_out_a_fold_of_its_own(file):
    text = file.read_text().replace("fold: 0\n", "")
    file.write_text(text.replace("schema: 1", "schema: 1\nfold: seed"))
    ablation = load_ablation(file)
    tasks = cell_tasks(ablation, file.parent / "results")
    for seed in {task.data.cell.seed for task in tasks}:
        shared = {task.data.shared for task in tasks if task.data.cell.seed == seed}
        assert len(shared) == 1
        data = LabelledCorpus.load(shared.pop().corpus)
        assert data.source["fold"] == seed
        assert len(data.labels.of("held_out"))
    file.write_text(
        text.replace("schema: 1", "schema: 1\nfold: seed").replace("seeds: 2", "seeds: [9, 10]", 1)
    )
    with pytest.raises(ScenarioError, match="there are folds 0 to 9"):
        load_ablation(file)


def test_settings_of_labels_alone_leave_a_pre_training_as_it_is():
    few = {"labels": 50, "label_noise": 0.1, "branch_noise": 0.1, "middle_labels": 0.5}
    plain, with_words = {"align_steps": 3, "word_steps": 0}, {"align_steps": 3, "word_steps": 5}
    assert Cell({**plain, **few}, 1, ("test",)).pretraining() == plain
    assert Cell({**with_words, **few}, 1, ("test",)).pretraining() == {**with_words, **few}


def test_slices_are_those_of_the_test_world(file):
    shared = cell_tasks(load_ablation(file), file.parent / "results")[0].data.shared
    data = LabelledCorpus.load(shared.corpus)
    world = build_world(shared.scenario.world, "test")
    slices = Slices.of(data, world)
    labels = data.labels.of("test")
    first = data.corpus.n_queries - world.corpus.n_queries
    for query in np.unique(labels.query):
        assert data.corpus.query_text[query] == world.corpus.query_text[query - first]
    head = world.query_popularity[np.flatnonzero(slices.head) - first]
    tail = np.delete(world.query_popularity, np.flatnonzero(slices.head) - first)
    assert head.min() >= tail.max()
    assert 0.5 <= head.sum() < 0.5 + head.min() + 1e-12
    # An ad of the corpus is that of the world with its text and its frames.
    texts = {}
    for ad in range(world.corpus.n_ads):
        texts.setdefault((world.corpus.ad_text(ad), world.corpus.frames[ad].tobytes()), set()).add(
            bool(world.stuffed[ad])
        )
    graded = np.unique(labels.ad)
    found = [texts[data.corpus.ad_text(ad), data.corpus.frames[ad].tobytes()] for ad in graded]
    assert [{bool(slices.stuffed[ad])} for ad in graded] == found
    parts = slices.parts(labels)
    assert (parts["head"] ^ parts["tail"]).all()
    assert parts["stuffed"].any()
    assert not slices.stuffed[data.labels.of("train").ad].any()


def cell(ablation, arm, seed, auc, irrelevant, revenue, held_out=0.5):
    """A finished cell with made-up figures."""
    [row] = [row for row in ablation.rows if row.arm == arm and row.group == "losses"]
    own = Cell(row.settings, seed, ("test", "held_out"))
    names = ("auc_3_2", "auc_1_0", "spearman", "ndcg_10", "pnr", "distance", "ece", "auc_positive")
    figures = {"auc": auc, **dict.fromkeys(names, 0.25)}
    parts = dict.fromkeys(("all", "head", "tail", "stuffed"), figures)
    market = dict.fromkeys(("irrelevant_share_weighted", "user_utility_rpm", "welfare_rpm"), 1.0)
    return Measured(
        own, digest_of_scenario(ablation.scenario), "corpus", "code", every_setting(own),
        {"test": parts, "held_out": {"all": {**figures, "auc": held_out}}},
        {**market, "irrelevant_share": irrelevant, "revenue_rpm": revenue},
        {"pretraining_s": 10.0, "finetuning_s": 20.0, "testing_s": 1.0, "market_s": 2.0},
    )  # fmt: skip


def test_tables_are_written_to_files_alone(file):
    with pytest.raises(StoreError, match="is a folder, not a file"):
        write_tables(load_ablation(file), file.parent, Path(), ["relbid", "ablate"])


def test_tables_by_hand(file):
    file.write_text(TINY.replace("seeds: 2", "seeds: 3", 1))
    ablation = load_ablation(file)
    reference = [(0.80, 0.02, 100.0), (0.82, 0.03, 110.0), (0.84, 0.04, 90.0)]
    arm = [(0.83, 0.02, 101.0), (0.83, 0.02, 112.0), (0.86, 0.05, 90.0)]
    cells = [cell(ablation, "hierarchical", seed, *row) for seed, row in enumerate(reference, start=1)]
    cells += [cell(ablation, "BCE", seed, *row) for seed, row in enumerate(arm, start=1)]
    text = tables(ablation, cells, ["relbid", "ablate"])
    # Differences .03, .01, .02: mean .02, standard error .01 / sqrt 3, t(2) = 4.3027, half-width .0248.
    assert "| BCE | 3 | .840<br>+.020 [-.005, +.045] |" in text
    assert "At chance" not in text
    # With BCE alone two groups have no cell: that is said once each, without empty tables.
    alone = tables(ablation, cells[3:], ["relbid", "ablate"])
    assert alone.count("No training of this group is finished.") == 2
    assert "| BCE | 3 |" in alone
    assert "| text only |" not in alone
    stuck = [*cells[:-1], cell(ablation, "BCE", 3, 0.549, 0.05, 90.0)]
    said = tables(ablation, stuck, ["relbid", "ablate"])
    assert "**At chance.** 1 of 6 trainings have an AUC below 0.55: bce-3." in said
    assert "| hierarchical | 3 | .820 | .250 |" in text
    # Irrelevant: 0, -1 and +1 points. Revenue: +1, +2 and 0 of 100 in the mean.
    assert "| BCE | 3 | 3.00%<br>+0.00 [-2.48, +2.48] |" in text
    [row] = [line for line in text.splitlines() if line.startswith("| BCE | 3 | 3.00%")]
    assert row.split(" | ")[4].startswith("101.00<br>+1.0% [")
    # Trainings once each with all that is theirs alone, pre-training once a seed: 6 x 23 + 3 x 10 seconds.
    assert "of 6 of 15 trainings, 0.0 hours" in text

    # What is not finished is left out, and pairs are those of common seeds: .03 alone.
    text = tables(ablation, [*cells[:2], cells[3]], ["relbid", "ablate"])
    assert "| hierarchical | 2 | .810 |" in text
    assert "| BCE | 1 | .830<br>+.030 |" in text
    assert "| text only | 0 | – |" in text

    # An interval that misses zero is bold.
    better = [
        replace(one, metrics=cell(ablation, "BCE", one.cell.seed, 0.9, 0, 1).metrics) for one in cells[3:]
    ]
    assert "<br>**+.080 [" in tables(ablation, [*cells[:3], *better], ["relbid", "ablate"])

    # The picture has a dot a panel. Irrelevant ads: -2, -3 and -4 points, the mean's interval half 2.48 wide.
    cleaner = [cell(ablation, "BCE", seed, 0.8, 0.0, 1.0) for seed in (1, 2, 3)]
    drawn = picture(ablation, of_ablation(ablation, [*cells[:3], *cleaner]))
    dots = [trace for trace in drawn.data if trace.x]
    assert [dot.marker.symbol for dot in dots] == ["circle-open", "circle-open", "circle-open", "circle"]
    lines = drawn.layout.yaxis.ticktext
    assert {"<b>Losses, against hierarchical</b>", "BCE", "text only"} <= set(lines)
    assert [heading.text.partition("<br>")[0] for heading in drawn.layout.annotations] == [
        "<b>NDCG@10</b>", "<b>3 vs 2</b>", "<b>1 vs 0</b>", "<b>irrelevant</b>"
    ]  # fmt: skip
    [irrelevant] = [dot for dot in dots if dot.name == "irrelevant"]
    assert [lines[place] for place in irrelevant.y] == ["BCE"]
    assert irrelevant.x == pytest.approx([-3.0])
    assert irrelevant.error_x.array == pytest.approx([2.48], abs=0.01)
    assert irrelevant.error_x.arrayminus == pytest.approx([2.48], abs=0.01)
    low, high = drawn.layout.xaxis4.range
    assert low < -3.0 < 0.0 < high


def test_cells_of_other_worlds_and_other_defaults_do_not_count(file):
    ablation = load_ablation(file)
    good = cell(ablation, "BCE", 1, 0.8, 0.1, 100.0)
    assert len(of_ablation(ablation, [good])) == 1
    assert not of_ablation(ablation, [replace(good, scenario="another")])
    later = replace(good, corpus="another")
    [kept] = of_ablation(ablation, [good, later]).values()
    assert kept is later
    path = file.with_suffix(".json")
    path.write_text(good.to_json())
    assert read_cell(path) == good
    for text in (good.to_json()[:50], "[]", '{"cell": 1}'):
        path.write_text(text)
        assert read_cell(path) is None
    # A default of then is not the one of today; one that has gone or come since does not matter.
    path.write_text(replace(good, defaults={**good.defaults, "weight_decay": 0.5}).to_json())
    assert read_cell(path) is None
    fewer = {name: value for name, value in good.defaults.items() if name != "weight_decay"}
    path.write_text(replace(good, defaults={**fewer, "gone": 1}).to_json())
    assert read_cell(path) is not None
    lines = file.with_suffix(".jsonl")
    lines.write_text(good.to_json() + "{}\n")
    with pytest.raises(StoreError, match="line 2: not a cell of an ablation"):
        read_lines(lines)


def test_settings_are_merged():
    one = {"loss": "bce", "model": {"hidden_size": 64, "num_heads": 2}}
    other = {"loss": "flat", "model": {"hidden_size": 32}}
    assert merged(one, other) == {"loss": "flat", "model": {"hidden_size": 32, "num_heads": 2}}
    assert merged({"loss": "bce"}) == {"loss": "bce"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "loss: bce",
            "los: bce",
            r"line 28, groups.losses.arms.BCE.los: .*no setting 'los'; did you mean 'loss'",
        ),
        (
            "loss: bce",
            "loss: bec",
            r"groups.losses.arms.BCE: loss 'bec': there is no such; take hierarchical",
        ),
        (
            "embed_dim: 8}",
            "embed_dim: 8, visual_heads: 3}",
            r"line \d+, training: model: 3 visual heads",
        ),
        ("BCE: {loss: bce}", "BCE: {model: {num_heads: 3}}", r"groups.losses.arms.BCE: model: 3 text heads"),
        ("loss: bce", "hidden_size: 8", r"one of the model's: write model: \{hidden_size: 8\}"),
        ("loss: bce", "seed: 8", r"'seeds' says which there are"),
        ("loss: bce", "rate: '1'", r"BCE.rate: needs a number, got the text .1.; remove the quotes"),
        ("use_frames: false", "use_frame: false", r"text only.model.use_frame: .*did you mean 'use_frames'"),
        ("use_frames: false", "use_frames: 3", r"model.use_frames: needs true or false"),
        ("reference: none", "reference: nobody", r"groups.pre-training.reference: no arm is called 'nobody'"),
        ("labels: [0, 200]", "labels: [0, -1]", r"across.labels: must be at least 0"),
        ("labels: [0, 200]", "lables: [0, 1]", r"across.lables: .*did you mean 'labels'"),
        ("labels: [0, 200]", "labels: [0, 0.0]", r"across.labels: has a value twice"),
        (
            "labels: [0, 200]",
            "align_steps: [1, 2]",
            r"across.align_steps: arm none sets it, too; leave one out",
        ),
        (
            "labels: [0, 200]",
            f"labels: {[*range(4000)]}",
            r"groups: ask for [\d,]+ trainings, at most 10,000",
        ),
        ("seeds: 2", "seeds: 2\nsplits: [test, test]", r"splits: names a split twice"),
        ("seeds: 2", "seeds: 2\nfold: 10", r"fold: must be at most 9 or must be 'seed', got the value 10$"),
        (
            "  traffic.n_queries: 500",
            "  traffic: {days: 1}\n  traffic.days: 2",
            r"common: sets traffic.days twice",
        ),
        ("  traffic.n_queries: 500", "  traffic.queries: 500", r"line 11, common.traffic.queries: "),
        ("seeds: 2", "seeds: 1", r"seeds: must be from 2 to"),
        ("seeds: 2", "seeds: 2\nfold: null", r"splits: 'held_out' needs a fold that gets no labels"),
        ("seeds: 2", "seeds: 2\nworlds: [3, 3]", r"worlds: names a world twice"),
        ("seeds: 2", "seeds: 2\nworlds: [7]", r"worlds: 7 is the world that the models are tested in"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(file, old, new, message):
    assert old in TINY
    file.write_text(TINY.replace(old, new, 1))
    with pytest.raises(ScenarioError, match=message):
        load_ablation(file)


def test_a_checkpoint_to_start_from_must_be_there(file):
    file.write_text(TINY.replace("loss: bce", "loss: bce, init: nowhere", 1))
    with pytest.raises(ScenarioError, match=r"init 'nowhere': no checkpoint is there"):
        check_starts(load_ablation(file))


def test_kept_checkpoints_need_names_of_their_own(file):
    twice = TINY.replace("BCE: {loss: bce}", "BCE: {loss: bce}\n      bce: {loss: flat}")
    file.write_text(twice)
    load_ablation(file)
    file.write_text(twice.replace("seeds: 2", "seeds: 2\nkeep: models", 1))
    with pytest.raises(ScenarioError, match=r"groups\.losses: two trainings are called 'bce'"):
        load_ablation(file)


SHIPPED = sorted((Path(__file__).parents[2] / "scenarios" / "ablations").glob("*.yaml"))


def test_the_shipped_ablations_are_those_that_keep_their_checkpoints():
    assert {path.stem for path in SHIPPED} == {*KEPT}
    for path in SHIPPED:
        ablation = load_ablation(path)
        assert (ablation.name, ablation.file.keep) == (path.stem, f"models/{path.stem}")
        cells = cells_of(ablation)
        assert len({(json.dumps(cell.settings, sort_keys=True), cell.seed) for cell in cells}) == len(cells)
        assert all(len(row.seeds) >= 3 for row in ablation.rows)
        if path.stem == "evidence":
            assert all(len(row.seeds) >= 5 for row in ablation.rows_of("main"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_arm_of_a_shipped_ablation_can_be_trained(path, file):
    built_in, tiny = load_ablation(path), load_ablation(file)
    shared = cell_tasks(tiny, file.parent / "results")[0].data.shared
    do, small = AblationWorker(), tiny.file.training
    for number, row in enumerate(row for row in built_in.rows if not row.at):
        few = {"align_steps": 0} if row.settings.get("align_steps") == 0 else {}
        settings = merged(row.settings, small, few)
        cell = Cell(settings, 1, ("test",))
        out = file.parent / f"{number}.json"
        do(Task("", out, Training(shared, cell, weights_path(cell, shared))))
        found = read_cell(out)
        assert found is not None, row
        assert 0 <= found.metrics["test"]["all"]["auc"] <= 1, row


def test_without_a_browser_the_picture_is_a_page(file, tmp_path, monkeypatch):
    monkeypatch.setattr("scenarios.reporting.figures.find_spec", lambda name: None)
    ablation = load_ablation(file)
    drawn = picture(ablation, {})
    assert write_picture(drawn, tmp_path / "picture.svg") == tmp_path / "picture.html"
    assert [path.name for path in tmp_path.glob("picture.*")] == ["picture.html"]
    page = (tmp_path / "picture.html").read_text()
    assert "plotly.js v" in page
    assert not re.search(r"<script[^>]*src", page), "nothing is fetched"
