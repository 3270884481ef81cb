"""Scorers offline as tables, for figures and downloads. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import polars as pl

from scenarios import Labels, OfflineScores, Reliability, ScorerEvaluation

LEADS = ("auc_lead", "ndcg_lead")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def metrics_table(evaluations: Sequence[ScorerEvaluation], gaps: Mapping[str, float]) -> pl.DataFrame:
    """One row per scorer: its metrics, the gap between positive and negative, and the first one's leads.

    Args:
        gaps: by scorer, as of `scenarios.gap_of`.
    """
    ends = {"": "value", "_low": "low", "_high": "high"}
    rows = []
    for one in evaluations:
        row: dict[str, object] = {"scorer": one.scorer, **one.metrics.as_dict(), "gap": gaps[one.scorer]}
        for lead in LEADS:
            row |= {f"{lead}{end}": getattr(getattr(one, lead), part, None) for end, part in ends.items()}
        rows.append(row)
    leads = [f"{lead}{end}" for lead in LEADS for end in ends]
    return pl.DataFrame(rows, schema_overrides=dict.fromkeys(leads, pl.Float64))


def reliability_table(
    curves: Mapping[str, Reliability], scores: Collection[str] = frozenset()
) -> pl.DataFrame:
    """One row per scorer and bin.

    Args:
        scores: names of scorers that give scores and no probabilities; they have no expected error.

    Returns:
        scorer, low, high, predicted, observed, at_least and at_most (the 95% interval of observed), count,
        and expected_error, the scorer's.
    """
    parts = [
        pl.DataFrame(
            {
                "scorer": [scorer] * len(curve.count),
                **{name: getattr(curve, name) for name in ("low", "high", "predicted", "observed", "count")},
                **dict(zip(("at_least", "at_most"), curve.intervals(), strict=True)),
                "expected_error": [math.nan if scorer in scores else curve.expected_error] * len(curve.count),
            }
        )
        for scorer, curve in curves.items()
    ]
    return pl.concat(parts)


def score_quantiles(labels: Labels, scores: Mapping[str, OfflineScores]) -> pl.DataFrame:
    """One row per scorer and true grade: count, and the score's quantiles q5, q25, q50, q75, q95."""
    rows = []
    for scorer, found in scores.items():
        for grade in range(4):
            own = found.score[labels.grade == grade]
            if own.size:
                at = np.quantile(own, QUANTILES)
                named = {f"q{100 * q:.0f}": float(x) for q, x in zip(QUANTILES, at, strict=True)}
                rows.append({"scorer": scorer, "grade": grade, "count": own.size, **named})
    return pl.DataFrame(rows)
