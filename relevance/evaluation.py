"""Several scorers on the same graded pairs, compared with paired intervals over queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from relevance.arrays import FloatArray
from relevance.corpus import Labels
from relevance.metrics import (
    Interval,
    RelevanceMetrics,
    auc_by_weight,
    difference_interval,
    evaluate,
    ndcg_by_query,
)
from relevance.protocol import RelevanceScorer, score_pairs
from relevance.ranges import check_columns


@dataclass(frozen=True, slots=True)
class ScorerEvaluation:
    """One scorer on one split; `auc_lead` and `ndcg_lead` are the reference's metric minus this scorer's."""

    scorer: str
    metrics: RelevanceMetrics
    auc_lead: Interval | None
    ndcg_lead: Interval | None


def evaluate_scorers(
    labels: Labels,
    scorers: Mapping[str, RelevanceScorer],
    *,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> list[ScorerEvaluation]:
    """Evaluate scorers on graded pairs; the first one is the reference that the others are compared with."""
    if not scorers:
        raise ValueError("scorers must name one or more; the first is what the others are compared with")
    scores = {name: score_pairs(scorer, labels.query, labels.ad, name) for name, scorer in scorers.items()}
    reference = next(iter(scores))
    rows = []
    for name, score in scores.items():
        auc_lead = ndcg_lead = None
        if name != reference:
            auc_lead, ndcg_lead = lead_intervals(labels, scores[reference], score, rng, n_resamples)
        rows.append(ScorerEvaluation(name, evaluate(labels.query, labels.grade, score), auc_lead, ndcg_lead))
    return rows


def lead_intervals(
    labels: Labels,
    reference: FloatArray,
    other: FloatArray,
    rng: np.random.Generator,
    n_resamples: int = 1000,
) -> tuple[Interval, Interval]:
    """AUC of positive against negative, and mean NDCG@10: the reference's minus the other's."""
    check_columns(query=labels.query, reference=reference, other=other)
    first, second = (auc_by_weight(labels.grade >= 2, score) for score in (reference, other))
    auc = difference_interval(
        labels.query, lambda weight: first(weight) - second(weight), rng=rng, n_resamples=n_resamples
    )
    query, ndcg = ndcg_by_query(labels.query, labels.grade, reference)
    lead = ndcg - ndcg_by_query(labels.query, labels.grade, other)[1]
    return auc, difference_interval(
        query, lambda weight: float(np.average(lead, weights=weight)), rng=rng, n_resamples=n_resamples
    )
