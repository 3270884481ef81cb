"""Tables of a judge: how well its scorers rank, and how far it agrees with people."""

from __future__ import annotations

from collections.abc import Mapping

from relevance.judging import Agreement
from relevance.metrics import Interval
from scenarios.corpora.judge_figures import Ranking
from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import scorer_name


def judge_tables(
    source: str, rankings: Mapping[str, Ranking], agreements: Mapping[tuple[str, str], Agreement]
) -> list[Section]:
    """The tables; those without rows are left out."""
    tables = []
    if rankings:
        rows = [(scorer_name(name), _with(one.auc), _with(one.ndcg_10)) for name, one in rankings.items()]
        note = "AUC: grades 2 and 3 against 0 and 1, all labelled pairs; [ ]: 95% intervals over queries"
        tables.append(section("Ranking of the labelled pairs", ("scorer", "AUC", "NDCG@10"), rows, note))
    if not agreements:
        return tables
    pairs = [
        (first, second if second != "judge" else f"judge ({source})", _with(one.kappa), _with(one.equal),
         f"{one.counts.sum():,.0f}")
        for (first, second), one in agreements.items()
    ]  # fmt: skip
    note = (
        "kappa: with quadratic weights; equal: share of equal grades; [ ]: 95% intervals over queries\n"
        "Grades by scorers are fitted by folds over queries: no query's grades come from its own labels"
    )
    heads: tuple[str, ...] = ("grades of", "and of", "kappa", "equal", "pairs")
    tables.append(section("Agreement", heads, pairs, note, left=2))
    counts = agreements["labels", "judge"].counts
    grades = [(f"grade {grade}", *(f"{n:,.0f}" for n in counts[grade])) for grade in range(len(counts))]
    heads = ("labels", *(f"judge {grade}" for grade in range(len(counts))))
    tables.append(section("Labelled pairs by people's grade and the judge's", heads, grades, ""))
    return tables


def _with(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
