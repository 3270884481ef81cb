"""Metrics on cases small enough for pencil and paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relevance.annotation import noisy_grades
from relevance.corpus import Labels
from relevance.evaluation import lead_intervals
from relevance.metrics import (
    auc,
    auc_between,
    auc_by_weight,
    branch_gap,
    difference_interval,
    evaluate,
    ndcg_by_query,
    pnr,
    reliability,
    spearman,
)

QUERY = np.array([0, 0, 0, 0])
GRADE = np.array([3, 2, 1, 0])


def test_perfect_order() -> None:
    metrics = evaluate(QUERY, GRADE, np.array([0.9, 0.8, 0.2, 0.1]))
    assert metrics.as_dict() == {
        "auc": 1.0,
        "auc_3_2": 1.0,
        "auc_1_0": 1.0,
        "spearman": pytest.approx(1.0),
        "ndcg_10": 1.0,
        "pnr": math.inf,
    }


def test_auc_counts_pairs() -> None:
    # Positives .9, .3; negatives .5, .1: of four comparisons one is wrong.
    assert auc(np.array([True, True, False, False]), np.array([0.9, 0.3, 0.5, 0.1])) == 0.75


def test_auc_of_constant_score_is_a_half() -> None:
    assert auc(np.array([True, False, False]), np.zeros(3)) == 0.5


def test_auc_inside_a_branch_needs_queries_with_both_grades() -> None:
    query = np.array([0, 0, 1, 2])
    grade = np.array([3, 2, 3, 2])
    # Query 1 has only a 3 and query 2 only a 2: pooled they would spoil what query 0 gets right.
    assert auc_between(query, grade, np.array([0.6, 0.5, 0.1, 0.9]), 3, 2) == 1.0


def test_ndcg_by_hand() -> None:
    # Order 2, 3 instead of 3, 2: (3 / log2 2 + 7 / log2 3) / (7 / log2 2 + 3 / log2 3).
    _, ndcg = ndcg_by_query(np.zeros(2, dtype=int), np.array([3, 2]), np.array([0.1, 0.2]))
    assert ndcg[0] == pytest.approx((3 + 7 / math.log2(3)) / (7 + 3 / math.log2(3)))


def test_ndcg_leaves_out_queries_without_gain() -> None:
    query, ndcg = ndcg_by_query(np.array([0, 0, 5]), np.array([0, 0, 2]), np.array([0.1, 0.2, 0.3]))
    assert query.tolist() == [5]
    assert ndcg.tolist() == [1.0]


def test_pnr_by_hand() -> None:
    # Grades 3, 1, 0 scored .5, .7, .5: 1 over 0 is right, 3 against 1 wrong, 3 against 0 a tie: 1.5 / 1.5.
    assert pnr(np.zeros(3, dtype=int), np.array([3, 1, 0]), np.array([0.5, 0.7, 0.5])) == 1.0


def test_pnr_compares_within_queries_only() -> None:
    assert pnr(np.array([0, 1]), np.array([3, 0]), np.array([0.1, 0.9])) == math.inf


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=4, max_size=30))
def test_rank_metrics_ignore_monotone_maps(rows: list[tuple[int, float]]) -> None:
    grade = np.array([g for g, _ in rows])
    score = np.round([s for _, s in rows], 6)  # so that the cube keeps different scores different
    if len(np.unique(grade)) < 2 or len(np.unique(score)) < 2:
        return
    assert spearman(grade, score) == pytest.approx(spearman(grade, 2.0 * score + 1.0))
    assert auc(grade >= 2, score) == pytest.approx(auc(grade >= 2, 2.0 * score + 1.0), nan_ok=True)


def test_interval_of_a_lead() -> None:
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(60), 8)
    grade = np.tile([0, 0, 1, 1, 2, 2, 3, 3], 60)
    good, bad = grade + rng.normal(0, 0.5, len(grade)), grade + rng.normal(0, 4, len(grade))
    labels = Labels(query, query, grade, query)
    lead, _ = lead_intervals(labels, good, bad, rng, n_resamples=200)
    assert 0.0 < lead.low < lead.value < lead.high
    _, none = lead_intervals(labels, good, good, rng, n_resamples=50)
    assert (none.low, none.value, none.high) == (0.0, 0.0, 0.0)


def test_reliability_by_hand() -> None:
    positive = np.array([False, False, True, True, True, False])
    curve = reliability(positive, np.array([0.0, 0.1, 0.19, 0.9, 1.0, 0.95]), n_bins=5)
    assert curve.low.tolist() == [0.0, 0.8]  # the bins between are empty
    assert curve.high.tolist() == [0.2, 1.0]
    assert curve.count.tolist() == [3, 3]  # 1 counts to the last bin
    assert curve.predicted.tolist() == pytest.approx([0.29 / 3, 2.85 / 3])
    assert curve.observed.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert curve.expected_error == pytest.approx(0.5 * (1 / 3 - 0.29 / 3) + 0.5 * (2.85 / 3 - 2 / 3))


def test_a_truth_that_is_foretold_is_calibrated_and_its_opposite_is_not() -> None:
    positive = np.array([True, False, True, False])
    assert reliability(positive, positive.astype(float)).expected_error == 0.0
    assert reliability(positive, 1.0 - positive).expected_error == 1.0
    assert reliability(positive, np.full(4, 0.5)).expected_error == 0.0
    assert math.isnan(reliability(positive[:0], np.zeros(0)).expected_error)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60), st.integers(1, 20))
def test_reliability_counts_every_pair_once(rows: list[tuple[bool, float]], n_bins: int) -> None:
    positive = np.array([p for p, _ in rows])
    probability = np.array([x for _, x in rows])
    curve = reliability(positive, probability, n_bins)
    assert curve.count.sum() == len(rows)
    assert (curve.count > 0).all()
    assert (curve.count * curve.observed).sum() == pytest.approx(positive.sum())
    assert (curve.count * curve.predicted).sum() == pytest.approx(probability.sum())
    assert ((curve.predicted >= curve.low - 1e-9) & (curve.predicted <= curve.high + 1e-9)).all()
    # No binning can be further off than all pairs taken alone, nor nearer than all of them together.
    alone = np.abs(positive - probability).mean()
    together = abs(positive.mean() - probability.mean())
    assert together - 1e-9 <= curve.expected_error <= alone + 1e-9


def test_the_gap_between_the_branches() -> None:
    grade = np.repeat([0, 1, 2, 3], 11)
    score = np.concatenate([np.linspace(0.0, 0.1, 11)] * 2 + [np.linspace(0.5, 0.6, 11)] * 2)
    assert branch_gap(grade, score, tail=0.0) == pytest.approx(0.4)
    assert branch_gap(grade, score) == pytest.approx(0.42)
    assert branch_gap(grade, -score) < 0
    assert math.isnan(branch_gap(grade[:11], score[:11]))


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)),
        min_size=2,
        max_size=40,
    )
)
def test_the_auc_by_weight_is_that_of_repeated_pairs(rows: list[tuple[bool, float, int]]) -> None:
    positive, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    repeated = auc(np.repeat(positive, weight), np.repeat(score, weight)) if weight.sum() else math.nan
    assert auc_by_weight(positive, score)(weight.astype(float)) == pytest.approx(repeated, nan_ok=True)


def test_pairs_of_a_query_that_are_alike_are_worth_fewer() -> None:
    positive = np.repeat([True, False, True, False], 25)
    same, own = np.repeat(np.arange(4), 25), np.arange(100)
    alike, apart = (reliability(positive, np.full(100, 0.5), 10, query) for query in (same, own))
    assert alike.worth is not None
    assert apart.worth is not None
    assert alike.worth[0] == pytest.approx(4)  # each query is one answer
    assert apart.worth[0] == pytest.approx(100)
    assert np.diff(np.ravel(alike.intervals()))[0] > 3 * np.diff(np.ravel(apart.intervals()))[0]
    never = reliability(np.zeros(50, dtype=bool), np.full(50, 0.05), 10, np.repeat(np.arange(5), 10))
    assert never.intervals()[1][0] == pytest.approx(1.96**2 / (5 + 1.96**2))  # five queries without any


def test_arguments_out_of_range_are_named() -> None:
    positive, half = np.array([True, False]), np.full(2, 0.5)
    for make, words in (
        (lambda: reliability(positive, np.array([0.5, 1.5])), r"probability must be from 0 to 1, got 1\.5"),
        (lambda: reliability(positive, half[:1]), "probability must have a value for each of positive's 2"),
        (lambda: reliability(positive, half, 0), r"n_bins must be from 1 to 1e\+06, got 0"),
        (lambda: evaluate(np.arange(2), np.arange(2), half[:, None]), r"score must be an array \[P\] of"),
        (
            lambda: difference_interval(np.arange(3), np.mean, rng=np.random.default_rng(0), level=1.5),
            r"level must be from 1e-06 to 0\.999999, got 1\.5",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            make()


def test_arguments_of_another_kind_are_named() -> None:
    query, grade, half = np.arange(2), np.array([0, 3]), np.full(2, 0.5)
    rng = np.random.default_rng(0)
    for make, words in (
        (lambda: auc(grade > 1, half[:1]), "score must have a value for each of positive's 2"),
        (lambda: evaluate(query, grade + 1, half), "grade must be from 0 to 3, got 4"),
        (lambda: ndcg_by_query(query, grade, half, 0), "k must be from 1"),
        (lambda: ndcg_by_query(query, grade, half, 1.5), "k must be whole numbers"),  # type: ignore[arg-type]
        (lambda: branch_gap(grade, half, -0.1), "tail must be from 0 to 1"),
        (lambda: noisy_grades(grade, 50, rng), "share must be from 0 to 1, got 50"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            make()
