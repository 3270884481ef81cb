"""The study on real queries in small: folds hold queries apart, cells are stored, tables are right."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.real_folds import (
    ARMS,
    FOLDS,
    Study,
    check_apart,
    compared,
    folds_of_queries,
    mean_auc,
    mean_ndcg,
    report,
    splits_of_fold,
)
from relevance.corpus import Labels
from relevance.metrics import auc, ndcg_by_query
from tests.relevance.test_public_weights import write_bert
from tests.relevance.tiny import tiny_corpus

SMALL = {
    "align_steps": 2,
    "align_batch": 6,
    "pqvm_ads": 3,
    "pqvm_common": 0.9,
    "finetune_steps": 2,
    "ads_per_step": 4,
    "validate_every": 1,
}


@pytest.fixture
def data():
    """The tiny corpus without frames."""
    data = tiny_corpus()
    black = np.broadcast_to(np.uint8(0), (data.corpus.n_ads, 1, 16, 16, 3))
    return dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, frames=black))


def test_every_query_is_tested_once_and_by_models_that_never_saw_it(data):
    fold = folds_of_queries(data.corpus.query_text, FOLDS, 0)
    assert sorted(np.unique(fold)) == list(range(FOLDS))
    tested = []
    for number in range(FOLDS):
        labels = splits_of_fold(data, fold, number, seed=1)
        parts = [set(labels.of(split).query.tolist()) for split in ("train", "validation", "test")]
        assert all(parts)
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert parts[2] == set(np.flatnonzero(fold == number).tolist())
        tested += sorted(parts[2])
    assert sorted(tested) == list(range(data.corpus.n_queries))


def test_a_query_in_two_splits_is_refused(data):
    labels = splits_of_fold(data, folds_of_queries(data.corpus.query_text, FOLDS, 0), 0, seed=1)
    split = labels.split.copy()
    split[np.flatnonzero(labels.query == 4)[0]] = (split[np.flatnonzero(labels.query == 4)[0]] + 1) % 3
    with pytest.raises(ValueError, match="query 4 is in more than one split"):
        check_apart(Labels(labels.query, labels.ad, labels.grade, split))


def test_a_plural_is_in_the_fold_of_its_singular():
    texts = ["usb stick", "usb sticks", "mouse", "red mug", "red mugs", "sofa", "tent", "lamp", "lamps"]
    for seed in range(5):
        fold = folds_of_queries(texts, 5, seed)
        assert fold[0] == fold[1]
        assert fold[3] == fold[4]
        assert fold[7] == fold[8]
        assert np.bincount(fold).max() <= 4


def test_measures_by_other_means(data):
    labels, rng = data.labels, np.random.default_rng(0)
    fold = folds_of_queries(data.corpus.query_text, FOLDS, 0)
    score = labels.grade + rng.normal(0, 2, len(labels))
    rows = [fold[labels.query] == one for one in range(FOLDS)]
    every = np.ones(len(labels))
    wanted = np.mean([auc(labels.grade[row] >= 2, score[row]) for row in rows])
    assert mean_auc(labels, fold, score)(every) == pytest.approx(wanted)
    ndcg = ndcg_by_query(labels.query, labels.grade, score)[1]
    assert mean_ndcg(labels, score)(every) == pytest.approx(ndcg.mean())
    # A query that is drawn twice counts twice.
    weight = np.where(labels.query == 3, 2.0, 1.0)
    assert mean_ndcg(labels, score)(weight) == pytest.approx((ndcg.sum() + ndcg[3]) / (len(ndcg) + 1))
    value, lead = compared(labels, fold, [score, labels.grade], [score], "AUC")
    assert value == pytest.approx((wanted + 1.0) / 2)
    assert lead.value == pytest.approx((1.0 - wanted) / 2)
    assert lead.low <= lead.value <= lead.high


def test_a_study_continues_with_the_cell_it_was_stopped_at(data, tmp_path):
    def study(folder):
        return Study(data, bert, tmp_path / folder, SMALL)

    bert, logged = write_bert(tmp_path / "bert"), []

    def stop(line):
        logged.append(line)
        if len(logged) == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study("halves").run([0], stop)
    assert len(logged) == 7
    study("halves").run([0], logged.append)
    assert len(logged) == len(ARMS) * FOLDS
    study("halves").run([0], lambda line: pytest.fail(line))
    study("whole").run([0], lambda line: None)
    for name in ARMS:
        whole, halves = (study(folder).scores(name, 0) for folder in ("whole", "halves"))
        assert np.array_equal(whole, halves)
        assert not np.isnan(whole).any()
    table = report(study("whole"), [0, 1])
    assert all(
        f"| {name} |" in table
        for name in (*ARMS, "zero-shot cosine", "zero-shot cosine, whole texts", "BM25")
    )
