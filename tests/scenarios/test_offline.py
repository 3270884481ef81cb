"""Scorers offline on a small world."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relevance.errors import CheckpointError
from scenarios import (
    DEFAULT_SCENARIO,
    PairSet,
    Prepared,
    ScenarioError,
    UserError,
    evaluate_offline,
    gap_of,
    load_scenario,
    offline_doubts,
    offline_pairs,
    offline_scorers,
    offline_scores,
    override,
    prepare,
    worst_errors,
)
from scenarios.markets.checkpoints import doubts
from scenarios.replay.example import as_table, make_example
from simulator.world import LabelledWorlds, WorldConfig, graded_pairs, labelled_corpus
from simulator.world.labels import ALL_SPLITS

SMALL = [
    "world.test_advertisers=40", "world.train_advertisers=20", "world.validation_advertisers=20",
    "world.ads_per_advertiser=5", "world.query_pool=3000", "world.frame_size=16", "world.glyph_min=10",
    "world.glyph_max=14", "world.frames=1",
]  # fmt: skip


class Length:
    """Scores an ad by the length of its title: a user's own scorer, and not a good one."""

    def __init__(self, corpus: object) -> None:
        self.corpus = corpus

    def score(self, query: np.ndarray, ad: np.ndarray) -> np.ndarray:
        return np.array([min(len(self.corpus.ad_title[a]) / 100, 1.0) for a in ad])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A market whose checkpoint says that it had no labels of fold 2."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_record(folder, [{"worlds": [11, 12], "fold": 2, "world": dataclasses.asdict(WorldConfig())}])
    return prepare(load_scenario(DEFAULT_SCENARIO, [*SMALL, f"hcmrm.checkpoint={folder}"]))


def write_record(folder: Path, corpora: list[dict[str, Any]]) -> None:
    (folder / "training.json").write_text(json.dumps({"corpora": corpora}))


def test_graded_pairs_are_those_of_the_evaluation(prepared: Prepared) -> None:
    config = prepared.scenario.world
    corpus = labelled_corpus(LabelledWorlds((config.seed,), 2, config, ALL_SPLITS))
    for kind, split in (("graded", "test"), ("held_out", "held_out")):
        own, theirs = offline_pairs(prepared, kind), corpus.labels.of(split)
        text = prepared.world.corpus.query_text
        assert [text[q] for q in own.query.tolist()] == [
            corpus.corpus.query_text[q] for q in theirs.query.tolist()
        ]
        assert np.array_equal(own.grade, theirs.grade)
        frames = prepared.world.corpus.frames
        assert np.array_equal(frames[own.ad], corpus.corpus.frames[theirs.ad])  # which keeps some ads only


def test_pairs_that_meet_are_the_candidates_with_their_truth(prepared: Prepared) -> None:
    pairs = offline_pairs(prepared, "meeting")
    assert len(pairs) == (prepared.candidate >= 0).sum()
    assert np.array_equal(pairs.grade, prepared.world.truth.grade(pairs.query, pairs.ad))
    for kind in ("graded", "held_out", "meeting"):
        found = offline_pairs(prepared, kind)
        assert np.array_equal(np.lexsort((found.ad, found.query)), np.arange(len(found)))


def test_a_sample_is_of_whole_queries_and_contains_the_smaller_ones(prepared: Prepared) -> None:
    every, ten, twenty = (offline_pairs(prepared, "graded", n) for n in (None, 10, 20))
    assert np.unique(ten.query).size == 10
    assert set(ten.query) < set(twenty.query) < set(every.query)
    for query in np.unique(ten.query):
        assert (ten.query == query).sum() == (every.query == query).sum()
    assert len(offline_pairs(prepared, "graded", 10**6)) == len(every)


def test_the_oracle_is_without_fault(prepared: Prepared) -> None:
    labels = offline_pairs(prepared, "graded", 40)
    scores = {name: offline_scores(prepared, labels, name) for name in ("oracle", "bm25")}
    oracle, bm25 = evaluate_offline(labels, scores, n_resamples=50)
    assert oracle.metrics.auc == oracle.metrics.ndcg_10 == 1.0
    assert bm25.metrics.auc < 1.0
    assert bm25.auc_lead is not None
    assert bm25.auc_lead.value == pytest.approx(1.0 - bm25.metrics.auc)
    assert gap_of(labels, scores["oracle"]) == pytest.approx(0.4)
    for kind in ("over", "under"):
        assert not len(worst_errors(prepared, labels, scores["oracle"], kind))


def test_worst_errors_are_the_worst_and_name_no_query_and_no_ad_twice(prepared: Prepared) -> None:
    labels = offline_pairs(prepared, "graded", 60)
    scores = offline_scores(prepared, labels, f"{__name__}:Length")
    over = worst_errors(prepared, labels, scores, "over", 8)
    assert len(over) == over["query"].n_unique() == over["ad"].n_unique() == 8
    assert over["error"].is_sorted(descending=True)
    assert set(over["grade"]) <= {0, 1}
    negative = labels.grade < 2
    worth = np.array([0.0, 0.2, 0.6, 1.0])[labels.grade]
    assert over["error"][0] == pytest.approx((scores.score - worth)[negative].max())
    under = worst_errors(prepared, labels, scores, "under", 8)
    assert under["error"].is_sorted()
    assert set(under["grade"]) <= {2, 3}
    assert under["error"].max() < 0
    assert under["p0"].null_count() == 8


def test_scores_are_kept_on_disk(prepared: Prepared, tmp_path: Path) -> None:
    labels = offline_pairs(prepared, "graded", 10)
    first = offline_scores(prepared, labels, "bm25", cache=tmp_path)
    (kept,) = (tmp_path / ".cache").glob("scores-bm25-*.npz")
    written = kept.stat().st_mtime_ns
    again = offline_scores(prepared, labels, "bm25", cache=tmp_path)
    assert np.array_equal(first.score, again.score)
    assert kept.stat().st_mtime_ns == written
    offline_scores(prepared, offline_pairs(prepared, "graded", 11), "bm25", cache=tmp_path)
    assert len(list((tmp_path / ".cache").glob("scores-bm25-*.npz"))) == 2


def test_scorers_to_choose_from() -> None:
    default = load_scenario(DEFAULT_SCENARIO)
    assert offline_scorers(default)[0] == "shipped"
    assert {"bm25", "oracle"} <= set(offline_scorers(default))
    assert offline_scorers(override(default, {"hcmrm.checkpoint": "shipped"}))[0] == "shipped"
    own = override(default, {"hcmrm.checkpoint": "models/mine", "scorer": "my_module:Mine"})
    assert offline_scorers(own)[0] == "hcmrm"
    assert offline_scorers(own)[-1] == "my_module:Mine"


def test_what_there_is_not_is_said(prepared: Prepared) -> None:
    other = prepare(override(prepared.scenario, {"split": "validation"}))
    with pytest.raises(UserError, match="no such pairs in its split 'validation'"):
        offline_pairs(other, "held_out")
    shipped = prepare(override(prepared.scenario, {"hcmrm.checkpoint": "shipped"}))
    with pytest.raises(CheckpointError, match=r"has no split 'held_out'.*relbid train --fold 0") as caught:
        offline_pairs(shipped, "held_out")
    assert caught.value.file is not None


def test_pairs_that_are_not_held_out_leave_the_fold_out(prepared: Prepared) -> None:
    world = prepared.world
    known, held_out = (offline_pairs(prepared, kind) for kind in ("graded", "held_out"))
    fold = world.catalog.fold[world.truth.query_product]
    assert not (fold[known.query] == 2).any()
    assert (fold[held_out.query] == 2).all()
    assert len(known) + len(held_out) == len(graded_pairs(world, "test"))


def test_a_checkpoint_and_a_world_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    scenario = load_scenario(DEFAULT_SCENARIO, [f"hcmrm.checkpoint={tmp_path}"])

    def told(corpora: list[dict[str, Any]], pairs: PairSet = "graded") -> list[tuple[str, ...]]:
        write_record(tmp_path, corpora)
        found = offline_doubts(scenario, ["hcmrm", "bm25"], pairs)
        assert all(str(tmp_path) in str(one) for one in found)
        return [(one.kind, one.field, one.trained, one.here) for one in found]

    here = dataclasses.asdict(scenario.world)
    first, second = {"worlds": [11, 12], "fold": 2, "world": here}, {"worlds": [7], "fold": 2, "world": here}
    assert told([first]) == []
    assert told([first, second]) == [("seed", "world.seed", "7, 11, 12", "7")]
    smaller = here | {"frame_size": 32, "stuffed_share": 0.5, "train_advertisers": 5}
    assert told([first | {"world": smaller}]) == [
        ("setting", "world.stuffed_share", "0.5", "0.22"),
        ("setting", "world.frame_size", "32", "48"),
    ]
    assert [kind for kind, *_ in told([{}])] == ["unknown"]
    (tmp_path / "training.json").unlink()
    assert [one.kind for one in offline_doubts(scenario, ["hcmrm"], "graded")] == ["unknown"]
    write_record(tmp_path, [first | {"fold": None}])
    (knows_all,) = doubts(tmp_path, [7], scenario.world, held_out=2)
    assert (knows_all.kind, knows_all.trained, knows_all.here) == ("fold", "None", "2")
    write_record(tmp_path, [first])
    assert offline_doubts(scenario, ["hcmrm"], "held_out") == []


def test_a_table_has_no_pairs(tmp_path: Path) -> None:
    as_table(make_example(50, seed=2)).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "own.yaml").write_text("schema: 1\nname: own\nmarket: {kind: table, auctions: log.parquet}\n")
    with pytest.raises(ScenarioError, match="texts and frames"):
        offline_pairs(prepare(load_scenario(tmp_path / "own.yaml")), "meeting")
