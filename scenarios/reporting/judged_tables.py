"""What `relbid corpus evaluate` and `relbid judge` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from relevance.agreement import Agreement
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


def agreement_tables(source: str, agreements: Mapping[tuple[str, str], Agreement]) -> list[Section]:
    """A judge against labels and raters, these against one another, and the judge's grades by the labels'.

    Args:
        source: who judged.
        agreements: by the two graders, of which "labels" and "judge" are always there; empty: no tables.
    """
    if not agreements:
        return []
    rows = [
        (
            first,
            f"judge ({source})" if second == "judge" else second,
            _interval(one.kappa),
            _interval(one.equal),
            f"{one.counts.sum():,.0f}",
        )
        for (first, second), one in agreements.items()
    ]
    note = (
        "kappa: Cohen's with quadratic weights; equal: share of equal grades; [ ]: 95% intervals over\n"
        "queries; a scorer's grades are fitted by folds over queries, none on labels of its own query"
    )
    tables = [section("Agreement", ["grades of", "and of", "kappa", "equal", "pairs"], rows, note, left=2)]
    counts = agreements["labels", "judge"].counts
    headings = ["labels", *(f"judge {grade}" for grade in range(len(counts)))]
    by_label = [(f"grade {grade}", *(f"{n:,.0f}" for n in counts[grade])) for grade in range(len(counts))]
    tables.append(section("Pairs by the label's grade and the judge's", headings, by_label, ""))
    return tables


def _interval(found: Interval) -> str:
    value, low, high = (cell(one, "{:.3f}".format) for one in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"
