"""Metrics on cases small enough for pencil and paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevance.corpus import Labels
from relevance.evaluation import auc_lead_interval, ndcg_lead_interval
from relevance.metrics import auc, auc_between, evaluate, ndcg_by_query, pnr, spearman

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
    lead = auc_lead_interval(labels, good, bad, rng, n_resamples=200)
    assert 0.0 < lead.low < lead.value < lead.high
    none = ndcg_lead_interval(labels, good, good, rng, n_resamples=50)
    assert (none.low, none.value, none.high) == (0.0, 0.0, 0.0)
