"""What `relbid corpus evaluate` prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from relevance.corpus import Labels
from relevance.metrics import Interval
from scenarios.models.judged import RaterRow, ScorerRow
from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import cell, scorer_name


def judged_tables(
    name: str, labels: Labels, scorers: Sequence[ScorerRow], raters: Sequence[RaterRow]
) -> list[Section]:
    """A table of scorers, and one of raters where there are several.

    Args:
        name: of the scenario.
        labels: the pairs that people graded.
    """
    n = np.unique(labels.query).size
    title = f"{name}: {len(labels):,} pairs of {n:,} queries that people graded"
    note = (
        "NDCG@10: mean over queries with a relevant ad; AUC: grades 2 and 3 against 0 and 1, pooled;\n"
        "[ ]: 95% bootstrap intervals over queries"
    )
    rows = [(scorer_name(one.scorer), *map(_interval, (one.ndcg_10, one.auc))) for one in scorers]
    tables = [section(title, ["scorer", "NDCG@10", "AUC"], rows, note)]
    if raters:
        note = (
            "against the mean of the other raters' grades; AUC: whether that mean, rounded, is 2 or 3;\n"
            "kappa: Cohen's with quadratic weights, with the rounded mean"
        )
        rows = [(one.rater, f"{one.pairs:,}", *map(_interval, (one.auc, one.kappa))) for one in raters]
        headings = ["rater", "pairs", "AUC", "weighted kappa"]
        tables.append(section("The ceiling: one rater against the others", headings, rows, note))
    return tables


def _interval(found: Interval) -> str:
    value, low, high = (cell(one, "{:.3f}".format) for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
