"""Public models named in scenarios: read, scored, kept, calibrated, profiled, asked live."""

import dataclasses
import json

import numpy as np
import pytest

from relevance.corpus import LabelledCorpus
from relevance.errors import CheckpointError
from scenarios import ScenarioError, ask, load_scenario, override, prepare, relevance_of
from scenarios.config.load import dump_scenario
from scenarios.config.scenario import Scenario
from scenarios.corpora.own import import_corpus
from scenarios.markets import public_models
from scenarios.markets.scoring import check_scorers, scores_kept
from scenarios.models.offline import offline_scorers
from scenarios.models.profiling import measure_profile
from scenarios.reporting.words import scorer_name
from scenarios.runs.scenario_run import run_to_folder
from scenarios.studies.replicates import model_of
from tests.relevance import public_models as models
from tests.scenarios import miniature

pytest.importorskip("sentence_transformers", reason="the extra pretrained is not installed")

WORDS = (
    "red",
    "blue",
    "green",
    "black",
    "sofa",
    "mug",
    "tent",
    "kettle",
    "spoon",
    "lamp",
    "bag",
    "cheap",
    "buy",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.bert(tmp_path_factory.mktemp("models") / "tiny-bert", WORDS)


def test_a_public_model_stands_beside_other_scorers(tiny_file, folder):
    text = tiny_file.read_text().replace("[none, bm25, oracle]", f"[none, {{bi_encoder: {folder}}}, minilm]")
    tiny_file.write_text(text)
    scenario = load_scenario(tiny_file)
    name = f"bi_encoder={folder}"
    assert scenario.compare == ("none", name, "minilm")
    assert [scorer_name(one) for one in scenario.compare] == [
        "no relevance", "tiny-bert (bi-encoder)", "MiniLM",
    ]  # fmt: skip
    tiny_file.write_text(dump_scenario(scenario))
    assert load_scenario(tiny_file) == scenario
    assert load_scenario(tiny_file, scorer="cross_encoder=a/b").scorer == "cross_encoder=a/b"
    assert set(offline_scorers(scenario)) >= {name, "minilm"}
    json.dumps(Scenario.model_json_schema())


@pytest.mark.parametrize(
    "value",
    ["{bi_encoder: 3}", "{bi_encoder: ''}", "{}", "{encoder: x}", "{bi_encoder: a, cross_encoder: b}"],
)
def test_other_forms_of_a_scorer_are_refused(tiny_file, value):
    with pytest.raises(ScenarioError, match=r"a scorer is a name, or one of \{bi_encoder: FOLDER\} and"):
        load_scenario(tiny_file, [f"scorer={value}"])
    with pytest.raises(ScenarioError, match="unknown scorer 'minilmm'; did you mean 'minilm'"):
        load_scenario(tiny_file, scorer="minilmm")


def test_a_missing_model_is_said_before_the_work_with_scenario_and_scorer(tiny_file, tmp_path):
    scenario = load_scenario(tiny_file, scorer=f"bi_encoder={tmp_path}/gone")
    with pytest.raises(
        CheckpointError, match=r"tiny\.yaml, scorer bi_encoder=.*gone: .*no such folder; name the folder"
    ):
        check_scorers(scenario, [scenario.scorer])


def test_scores_are_probabilities_that_are_computed_once(prepared, folder, tmp_path, monkeypatch):
    name, loaded = f"bi_encoder={folder}", []
    load = public_models.load_pretrained

    def counted(*args, **options):
        loaded.append(args[0])
        return load(*args, **options)

    monkeypatch.setattr(public_models, "load_pretrained", counted)
    assert not scores_kept(prepared, name, tmp_path)
    first = relevance_of(prepared, name, cache=tmp_path).table
    assert loaded
    assert scores_kept(prepared, name, tmp_path)
    loaded.clear()
    again = relevance_of(prepared, name, cache=tmp_path).table
    np.testing.assert_array_equal(first, again)
    # The frames of an ad may be looked at, so the model is read to know; its scores are not made again.
    monkeypatch.setattr(public_models, "score_pairs", None)
    np.testing.assert_array_equal(relevance_of(prepared, name, cache=tmp_path).table, first)
    there = prepared.candidate >= 0
    assert ((first[there] > 0) & (first[there] < 1)).all()
    assert not first[~there].any()
    # The sample that it is calibrated on has equally many of each grade, so half of it is relevant.
    assert 0.2 < first[there].mean() < 0.8
    monkeypatch.undo()
    weights = folder / "config.json"
    before = weights.read_text()
    weights.write_text(before.replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-3'))
    assert weights.read_text() != before
    assert not scores_kept(prepared, name, tmp_path)
    weights.write_text(before)


def test_live_scoring_asks_the_same_scorer(prepared, folder, tiny_cache, tiny_file):
    name = f"bi_encoder={folder}"
    table = relevance_of(prepared, name, cache=tiny_cache).table
    live = prepare(load_scenario(tiny_file, ["serving.scoring=live"], scorer=name), cache=tiny_cache)
    scorer = relevance_of(live, name, cache=tiny_cache).score
    rows = np.arange(5)
    found = scorer.scorer.relevance(rows, prepared.candidate[rows])
    np.testing.assert_allclose(found, table[rows], atol=1e-6)
    page = ask(prepared, "red sofa", name)
    assert page.scorer == name
    assert page.ads["relevance"].is_between(0.0, 1.0).all()


def test_a_run_says_what_probabilities_are_fitted_on(prepared):
    names = ("none", "minilm", "bm25", "cross_encoder=a/b")
    assert public_models.calibration_notes(prepared, names) == (
        "minilm, cross_encoder=a/b: P(relevant), calibrated on graded pairs of the world's split validation",
    )
    assert public_models.calibration_notes(prepared, ("none", "bm25")) == ()


def test_a_market_without_labels_has_no_probabilities(prepared, folder, monkeypatch):
    monkeypatch.setattr(type(prepared.source), "calibration_pairs", lambda *_, **__: None)
    with pytest.raises(
        ScenarioError, match=r"tiny.*, market: bi_encoder=.* needs graded pairs .*; give the corpus labels"
    ):
        relevance_of(prepared, f"bi_encoder={folder}")


def test_pairs_of_the_markets_own_queries_are_calibrated_by_folds(prepared, folder, tmp_path, monkeypatch):
    from scenarios.markets.kind import CalibrationPairs
    from simulator.world import graded_pairs

    labels = graded_pairs(prepared.world, "test").of("test")

    def pairs(flipped=()):
        grade = np.where(np.isin(labels.query, flipped), 3 - labels.grade, labels.grade)
        return CalibrationPairs(prepared.corpus, dataclasses.replace(labels, grade=grade), own=True)

    def table(found):
        monkeypatch.setattr(type(prepared.source), "calibration_pairs", lambda *_, **__: found)
        return relevance_of(prepared, f"bi_encoder={folder}", cache=tmp_path).table

    query = int(labels.query[0])
    as_is, flipped = table(pairs()), table(pairs([query]))
    np.testing.assert_array_equal(as_is[query], flipped[query])
    assert (as_is != flipped).any()


def test_a_run_compares_and_a_profile_times_public_models(tiny_file, tiny_cache, folder, tmp_path):
    cross = models.bert(tmp_path / "cross", WORDS, labels=1)
    names = (f"bi_encoder={folder}", f"cross_encoder={cross}")
    scenario = load_scenario(tiny_file, [f"compare=[none, '{names[0]}', '{names[1]}']", "sweep=null"])
    result, _ = run_to_folder(scenario, tiny_cache)
    assert set(result.points["scorer"]) == {"none", *names, "oracle"}
    times = iter(np.arange(1000.0))
    profile = measure_profile(
        load_scenario(tiny_file, scorer=names[1]), repeats=2, sizes=(1, 4), cache=tiny_cache,
        clock=lambda: next(times),
    )  # fmt: skip
    assert profile.scorer == names[1]
    assert {"device", "torch", "sentence-transformers"} <= set(profile.machine)
    assert profile.points == ((1.0, 1.0), (4.0, 1.0))


def test_a_corpus_calibrates_on_other_queries_or_by_folds(folder, tmp_path):
    import_corpus(miniature.write_prepared(tmp_path / "source"), tmp_path / "corpus")
    data = LabelledCorpus.load(tmp_path / "corpus")
    market = f"{{kind: corpus, folder: {tmp_path / 'corpus'}, queries: QUERIES}}"
    text = f"schema: 1\nname: own\nmarket: {market}\nscorer: 'bi_encoder={folder}'\npctr: {{kind: signal}}\n"

    def prepared(queries: str):
        file = tmp_path / "own.yaml"
        file.write_text(text.replace("QUERIES", queries))
        return prepare(load_scenario(file))

    every = prepared("all")
    pairs = every.source.calibration_pairs(every.scenario, frames=False)
    assert pairs.own
    assert len(pairs.labels) == len(data.labels)
    (note,) = public_models.calibration_notes(every, [every.scenario.scorer])
    assert note.endswith(
        "50 labels of the corpus by folds over queries, each query by a map that saw none of its own"
    )
    score = relevance_of(every, every.scenario.scorer).table
    assert ((score > 0) == (every.candidate >= 0)).all()
    few = dataclasses.replace(every, scenario=override(every.scenario, {"hcmrm.calibration_labels": 30}))
    (note,) = public_models.calibration_notes(few, [every.scenario.scorer])
    assert note.endswith("none of its own (at most 30 of them)")
    other = relevance_of(few, every.scenario.scorer).table
    assert (other != score).any()
    assert model_of(few.scenario) != model_of(every.scenario)
    train = data.labels.of("train")
    rest = len(data.labels) - len(train)
    assert 0 < rest < len(data.labels)
    split = prepared("train")
    pairs = split.source.calibration_pairs(split.scenario, frames=False)
    assert not pairs.own
    assert len(pairs.labels) == rest
    assert not np.isin(pairs.labels.query, train.query).any()
    (note,) = public_models.calibration_notes(split, [split.scenario.scorer])
    assert note.endswith(f"the {rest} labels of the corpus's other queries")
