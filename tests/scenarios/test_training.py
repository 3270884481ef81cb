"""`relbid train` and `relbid evaluate` on a small corpus, and their checkpoint at work in a scenario."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from relevance.cached import CachedScorer, ScoreTable
from relevance.calibration import calibration_from
from relevance.corpus import SPLITS, Labels
from relevance.errors import CheckpointError
from relevance.evaluation import evaluate_scorers
from relevance.hcmrm.model_config import PRESETS
from relevance.hcmrm.training.losses import GRADE_HEADS
from relevance.hcmrm.training.train_config import CRITERIA, STAGES
from relevance.oracle import GRADE_GAIN
from scenarios import inspect_query, override, prepare, relevance_of
from scenarios.cli import model_commands
from scenarios.errors import ScenarioError, UserError
from scenarios.markets.checkpoints import checkpoint_folder, trained_on
from scenarios.models.labelled import load_test_corpus, read_seeds, training_worlds
from scenarios.models.training import HEADINGS, MODALITIES, evaluation_row
from scenarios.storage import cache as disk
from simulator.world import LabelledWorlds, WorldConfig, labelled_corpus
from simulator.world.labels import ALL_SPLITS
from tests.scenarios.test_cli import REPOSITORY, refused, relbid

TRAIN = ("train", "--corpus", "corpus", "--word-steps", 1, "--align-steps", 1, "--threads", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_text):
    """A folder with a corpus, a checkpoint trained for two steps, and a scenario that uses it."""
    folder = tmp_path_factory.mktemp("training")
    config = WorldConfig(
        train_advertisers=72,
        validation_advertisers=36,
        test_advertisers=36,
        ads_per_advertiser=6,
        query_pool=2000,
    )
    worlds = LabelledWorlds((7,), 0, config, ALL_SPLITS)
    labelled_corpus(worlds).save(folder / "corpus")
    done = relbid(*TRAIN, "--steps", 2, "--out", "model", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Checkpoint: model/\n"
    assert "validation: auc 0." in done.stderr
    (folder / "tiny.yaml").write_text(tiny_text)
    return folder


def test_evaluate_prints_a_table_and_writes_the_card(trained):
    shutil.copytree(trained / "model", trained / "other", dirs_exist_ok=True)
    options = ("--checkpoint", "model", "--against", "other=other", "--split", "validation")
    done = relbid("evaluate", "--corpus", "corpus", *options, "--card", "cards/card.md", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert "Relevance on the split 'validation'" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.split()]
    assert [row[0] for row in rows if row[0] in ("hcmrm", "other", "bm25")] == ["hcmrm", "other", "bm25"]
    assert "…" not in done.stdout
    # The same checkpoint leads itself by nothing.
    [same] = [row for row in rows if row[0] == "other"]
    assert "+0.000 [+0.000, +0.000] +0.000 [+0.000, +0.000]" in " ".join(same)

    card = (trained / "cards" / "card.md").read_text()
    assert card.startswith("# HCMRM checkpoint\n")
    assert "finetune_steps 2" in card
    assert "`relbid evaluate --corpus corpus --checkpoint model" in card
    [table_row] = [row for row in rows if row[0] == "hcmrm"]
    assert f"| hcmrm | {' | '.join(table_row[1:7])} |" in card
    assert not list((trained / "cards").glob(".writing*"))


def test_a_training_with_other_settings_is_not_continued_by_mistake(trained):
    done = relbid(*TRAIN, "--steps", 3, "--out", "model", cwd=trained)
    assert "model/training-state.safetensors: belongs to a training with other settings" in refused(done)


def test_a_stopped_training_says_how_to_go_on(trained):
    command = [
        sys.executable,
        "-m",
        "scenarios.cli",
        *map(str, TRAIN),
        "--steps",
        "100000",
        "--out",
        "stopped",
    ]
    environment = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=trained, env=environment, stderr=subprocess.PIPE, text=True)
    seen = 0  # twice: the folder is also there for a moment, when it is tried whether it can be written
    while process.poll() is None and seen < 2:
        time.sleep(0.2)
        seen = seen + 1 if (trained / "stopped").is_dir() else 0
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "relbid: stopped; the same command continues from the last saved step" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "--corpus", "corpus", "--out", "corpus/ads.jsonl/x"),
            "cannot be written (Not a directory)",
        ),
        (
            ("train", "--corpus", "corpus", "--out", "corpus"),
            "--out corpus: is the corpus that",
        ),
        (("train", "--corpus", "nowhere"), "nowhere/queries.jsonl: not found"),
        (("evaluate", "--corpus", "corpus", "--checkpoint", "corpus"), "corpus/model.safetensors: not found"),
        (
            ("evaluate", "--corpus", "corpus", "--checkpoint", "model", "--split", "held_out"),
            "no graded pairs",
        ),
    ],
)
def test_what_cannot_be_trained_or_evaluated_is_explained(trained, tmp_path, arguments, message):
    shutil.copytree(trained / "corpus", tmp_path / "corpus")
    shutil.copytree(trained / "model", tmp_path / "model")
    labels = dict(np.load(tmp_path / "corpus" / "labels.npz"))
    labels["split"] = np.where(labels["split"] == 3, 2, labels["split"])
    np.savez(tmp_path / "corpus" / "labels.npz", **labels)
    assert message in refused(relbid(*arguments, cwd=tmp_path))


def test_the_model_s_scores_are_kept_and_explained(prepared, trained, tmp_path):
    scenario = override(prepared.scenario, {"hcmrm.checkpoint": str(trained / "model"), "scorer": "hcmrm"})
    own = prepare(scenario, cache=tmp_path)
    first = relevance_of(own, "hcmrm", cache=tmp_path)
    [path] = (tmp_path / disk.FOLDER).glob("scores-hcmrm-*")
    again = relevance_of(own, "hcmrm", cache=tmp_path)
    np.testing.assert_array_equal(again.score, first.score)
    assert first.grade_probabilities is not None
    met = own.candidate >= 0
    np.testing.assert_allclose(first.grade_probabilities[met].sum(axis=-1), 1.0, atol=1e-6)
    np.testing.assert_allclose(first.grade_probabilities[met] @ np.asarray(GRADE_GAIN), first.score[met])
    assert not first.score[~met].any()

    table = inspect_query(own, first, 0)
    assert len(table) > 0
    np.testing.assert_allclose(table.select("p0", "p1", "p2", "p3").to_numpy().sum(axis=1), 1.0, atol=1e-6)
    assert table["keywords"].null_count() == 0
    words = set(own.world.corpus.ad_text(table["ad"][0]).split())
    assert set(table["keywords"][0].split()) <= words

    # A damaged checkpoint is not hidden by scores that were kept.
    shutil.copytree(trained / "model", tmp_path / "damaged")
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    damaged = prepare(override(scenario, {"hcmrm.checkpoint": str(tmp_path / "damaged")}), cache=tmp_path)
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        relevance_of(damaged, "hcmrm", cache=tmp_path)
    assert list((tmp_path / disk.FOLDER).glob("scores-hcmrm-*")) == [path]


def test_a_damaged_checkpoint_leaves_no_result(trained, tmp_path, tiny_file):
    shutil.copytree(trained / "model", tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{")
    done = relbid("run", tiny_file.name, "--scorer", "hcmrm", "--set", "hcmrm.checkpoint=model", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("relbid: model/config.json: cannot be read (no JSON")
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "results").glob("tiny-*"))


def test_a_run_with_the_model_stores_its_log(trained, tmp_path):
    options = ("--scorer", "hcmrm", "--set", f"hcmrm.checkpoint={trained / 'model'}", "--no-sweep")
    done = relbid("run", trained / "tiny.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "HCMRM" in done.stdout
    [metrics] = (tmp_path / "results").glob("tiny-*/metrics.json")
    assert json.loads(metrics.read_text())["revenue"] > 0


def test_frames_that_the_model_cannot_read_are_refused(prepared, trained):
    settings = {"hcmrm.checkpoint": str(trained / "model"), "world.frame_size": 64}
    other = prepare(override(prepared.scenario, settings))
    refused = r"reads 3 frames of 48x48 pixels, the ads of the corpus have 3 of 64x64"
    with pytest.raises(CheckpointError, match=refused) as caught:
        relevance_of(other, "hcmrm")
    assert (caught.value.file, caught.value.field) == (prepared.scenario.place, "hcmrm")


def test_a_model_without_grades_scores_too(prepared, trained, tmp_path):
    # Trained with binary labels: one logit, whose sigmoid ranks; there is no P(grade) to show.
    done = relbid(*TRAIN, "--steps", 1, "--loss", "bce", "--pqvm-weight", 1, "--out", "bce", cwd=trained)
    assert done.returncode == 0, done.stderr
    assert json.loads((trained / "bce" / "config.json").read_text())["grade_head"] == "bce"
    scenario = override(prepared.scenario, {"hcmrm.checkpoint": str(trained / "bce"), "scorer": "hcmrm"})
    own = prepare(scenario, cache=tmp_path)
    read = relevance_of(own, "hcmrm", cache=tmp_path)
    assert read.grade_probabilities is None
    met = own.candidate >= 0
    assert ((read.score[met] > 0.0) & (read.score[met] < 1.0)).all()
    again = relevance_of(own, "hcmrm", cache=tmp_path)  # from disk
    assert again.grade_probabilities is None
    np.testing.assert_array_equal(again.score, read.score)

    table = inspect_query(own, read, 0)
    assert table.select("p0", "p1", "p2", "p3").null_count().row(0) == (len(table),) * 4
    np.testing.assert_array_equal(np.sort(table["relevance"].to_numpy()), np.sort(read.score[0][met[0]]))


def test_a_calibrated_checkpoint_scores_probabilities_where_the_scenario_asks(trained, prepared, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    own = override(prepared.scenario, {"hcmrm.checkpoint": str(tmp_path / "model"), "scorer": "hcmrm"})
    market = prepare(own, cache=tmp_path)
    plain = relevance_of(market, "hcmrm", cache=tmp_path)
    wanted = prepare(override(own, {"hcmrm.calibration": "temperature"}), cache=tmp_path)
    with pytest.raises(CheckpointError, match="has no calibration 'temperature'; fit it with 'relbid calib"):
        relevance_of(wanted, "hcmrm", cache=tmp_path)

    options = ("calibrate", "--checkpoint", tmp_path / "model", "--corpus", trained / "corpus")
    done = relbid(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    head = lines.index(["score", "ECE", "AUC", "mean", "positive"])
    table = {line[0]: line[1:] for line in lines[head + 2 : head + 5]}
    assert list(table) == ["plain", "temperature", "isotonic"]
    assert table["plain"][1] == table["temperature"][1]  # the AUC, since the order is the same
    stored = json.loads((tmp_path / "model" / "calibration.json").read_text())
    assert (stored["fitted_on"], stored["measured_on"]) == ("validation", "test")
    assert f"{stored['ece']['plain']:.4f}" == table["plain"][0]

    # P(positive) instead of the expected gain; maps are fitted to the gain.
    positive = prepare(override(own, {"hcmrm.score": "positive"}), cache=tmp_path)
    read = relevance_of(positive, "hcmrm", cache=tmp_path)
    np.testing.assert_allclose(read.score, plain.grade_probabilities[..., 2:].sum(axis=-1))
    with pytest.raises(ScenarioError, match=r"calibration=.temperature.: is fitted to"):
        override(own, {"hcmrm.score": "positive", "hcmrm.calibration": "temperature"})

    # Without asking nothing changes; with it the scores are the fitted map of the plain ones.
    np.testing.assert_array_equal(relevance_of(market, "hcmrm", cache=tmp_path).score, plain.score)
    calibrated = relevance_of(wanted, "hcmrm", cache=tmp_path)
    met = wanted.candidate >= 0
    fitted = calibration_from("temperature", stored["temperature"])
    np.testing.assert_allclose(calibrated.score[met], fitted(plain.score[met]))
    np.testing.assert_array_equal(calibrated.grade_probabilities, plain.grade_probabilities)

    # A damaged file is named, one for other weights does not stay.
    (tmp_path / "model" / "calibration.json").write_text('{"temperature": {"temperature": -1, "shift": 0}}')
    with pytest.raises(
        CheckpointError,
        match=r"model/calibration.json: is no calibration \(temperature must be at least 1e-06, got -1",
    ):
        relevance_of(wanted, "hcmrm")
    (tmp_path / "model" / "calibration.json").write_text(json.dumps({**stored, "weights": "others"}))
    with pytest.raises(
        CheckpointError, match=r"calibration.json: was fitted on other weights; remove it; relbid"
    ):
        relevance_of(wanted, "hcmrm")
    assert "measure on another split" in refused(relbid(*options, "--fit-on", "test", cwd=tmp_path))


def test_fields_of_a_training_are_set_from_the_command_line(trained):
    settings = ("labels=400", "label_noise=0.1", "text=raw", "model.fusion=two_tower", "model.n_frames=1")
    options = [part for setting in settings for part in ("--set", setting)]
    done = relbid(*TRAIN, "--steps", 1, *options, "--out", "set", cwd=trained)
    assert done.returncode == 0, done.stderr
    training = json.loads((trained / "set" / "training.json").read_text())
    assert (training["labels"], training["label_noise"], training["text"]) == (400, 0.1, "raw")
    sizes = json.loads((trained / "set" / "config.json").read_text())
    assert (sizes["fusion"], sizes["n_frames"]) == ("two_tower", 1)


def test_stages_run_alone_from_the_command_line(trained):
    done = relbid(*TRAIN, "--stage", "align", "--set", "learn_temperature=true", "--out", "pre", cwd=trained)
    assert done.returncode == 0, done.stderr
    options = ("--stage", "finetune", "--steps", 1, "--init", "pre", "--loss", "bce", "--out", "tuned")
    done = relbid(*TRAIN, *options, cwd=trained)
    assert done.returncode == 0, done.stderr
    training = json.loads((trained / "tuned" / "training.json").read_text())
    assert (training["stages"], training["init"]) == (["finetune"], "pre")
    assert json.loads((trained / "tuned" / "config.json").read_text())["grade_head"] == "bce"
    texts = ((trained / name / "tokenizer.json").read_bytes() for name in ("pre", "tuned"))
    assert len(set(texts)) == 1
    done = relbid(*TRAIN, "--init", "nowhere", "--out", "fresh", cwd=trained)
    assert "nowhere/model.safetensors, init: not found" in refused(done)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("labels", "--set labels: needs the form field=value, for instance --set label_noise=0.1"),
        ("lr=3", "a training has no field 'lr'; there are ads_per_step, "),
        ("label=3", "a training has no field 'label'; did you mean 'labels'?"),
        ("model.n_frame=3", "a training has no field 'model.n_frame'; did you mean 'n_frames'?"),
        ("labels=many", "--set labels=many: needs a whole number"),
        ("model.n_frames=4", "model.n_frames 4: the corpus has 3 frames an ad"),
        ("label_noise=2", "--set label_noise=2: must be at most 1"),
    ],
)
def test_settings_that_mean_nothing_are_explained(trained, setting, message):
    done = relbid(*TRAIN, "--steps", 1, "--set", setting, "--out", "refused", cwd=trained)
    assert message in refused(done)
    assert not (trained / "refused" / "model.safetensors").exists()


def test_choices_of_the_command_line_are_the_names_that_the_model_knows():
    choices = {
        model_commands.Modality: MODALITIES,
        model_commands.Preset: PRESETS,
        model_commands.Loss: GRADE_HEADS,
        model_commands.Criterion: CRITERIA,
        model_commands.Split: SPLITS[1:],
    }
    for literal, names in choices.items():
        assert get_args(literal) == tuple(names)
    assert tuple(model_commands.Stage) == STAGES
    assert tuple(model_commands.SplitName) == SPLITS[1:]


def test_seeds_of_worlds_are_ranges_and_lists():
    assert read_seeds("11-14") == (11, 12, 13, 14)
    assert read_seeds("7, 9,11-12") == (7, 9, 11, 12)
    for text in ("", "x", "3-", "-1", "7,7", "5-3", "1-1000000000000", "999999-1000001"):
        with pytest.raises(UserError) as caught:
            read_seeds(text)
        assert (caught.value.field, caught.value.value) == ("--worlds", f"'{text}'")


def test_a_corpus_folder_has_worlds_of_its_own(tmp_path):
    assert training_worlds(None, "5,6", 3) == LabelledWorlds((5, 6), 3)
    for seeds, fold in (("5", None), (None, 3)):
        with pytest.raises(UserError, match="has worlds and a fold of its own") as caught:
            training_worlds(tmp_path, seeds, fold)
        assert caught.value.file == str(tmp_path)


def test_worlds_are_drawn_of_a_scenario_of_the_embedded_world(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("schema: 1\nname: mine\nmarket: {kind: corpus, folder: .}\nscorer: bm25\n")
    with pytest.raises(UserError, match="its market is a corpus, and worlds are drawn here") as caught:
        training_worlds(None, "5", None, file)
    assert caught.value.field == "--scenario"


def test_a_split_that_a_checkpoint_does_not_have_is_refused_before_anything_is_drawn(trained, tmp_path):
    shutil.copytree(trained / "model", tmp_path / "model")
    assert trained_on(tmp_path / "model").fold == 0
    assert trained_on(tmp_path / "model").worlds == (7,)
    with pytest.raises(CheckpointError, match="not found"):
        load_test_corpus(None, None, [tmp_path / "model", tmp_path / "none"], ["held_out"], tmp_path)
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    (tmp_path / "model" / "training.json").write_text(json.dumps(record | {"corpora": [{}]}))
    with pytest.raises(CheckpointError, match="has no split 'held_out'"):
        load_test_corpus(None, None, [tmp_path / "model"], ["test", "held_out"], tmp_path)
    assert not (tmp_path / disk.FOLDER).exists()


def test_the_checkpoint_of_the_package_has_a_name(prepared):
    shipped = checkpoint_folder(prepared.scenario)
    assert checkpoint_folder(override(prepared.scenario, {"hcmrm.checkpoint": "shipped"})) == shipped
    own = checkpoint_folder(override(prepared.scenario, {"hcmrm.checkpoint": "models/bce"}))
    assert own == Path("models/bce")


def test_a_metric_that_a_few_pairs_do_not_have_is_a_dash():
    labels = Labels(*np.array([[0, 0], [0, 1], [3, 2], [2, 2]]))
    table = {"one": np.array([0.9, 0.2]), "two": np.array([0.2, 0.9])}
    scorers = {
        name: CachedScorer(ScoreTable(labels.query, labels.ad, score)) for name, score in table.items()
    }
    rows = [evaluation_row(one) for one in evaluate_scorers(labels, scorers, rng=np.random.default_rng(0))]
    shown = dict(zip(HEADINGS, rows[1], strict=True))
    assert (shown["AUC"], shown["3 vs 2"], shown["lead in AUC"]) == ("-", "0.000", "- [-, -]")
    assert shown["lead in NDCG@10"].endswith(" [-, -]"), "one query has no interval"
    assert "nan" not in "".join(map("".join, rows))
