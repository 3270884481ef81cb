"""Which queries, ads, advertisers and kinds of match make the difference between two rankings.

Both rankings meet the same days: the same queries and the same random draws. Each day's difference is
divided exactly (`simulator.measures.query_totals.difference_parts`), and a part is the mean over days. So
parts sum to the mean difference, and their intervals over days are those of paired differences.

responsible_for      the division of one metric's difference
explain_scenarios    simulates the days of two scenarios and divides
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from relevance.ranges import check_named
from scenarios.config.load import override
from scenarios.config.scenario import PREPARED, Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared
from scenarios.markets.registry import source_of
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import Simulation, market_of, prepare, simulate_market
from scenarios.markets.size import check_size
from scenarios.markets.table.table_market import auctions_of
from scenarios.studies.experiments.query_effects import LARGE_SHARE
from scenarios.studies.experiments.statistics import t_interval, t_quantile
from simulator.arrays import FloatArray
from simulator.measures.query_totals import (
    COLUMNS,
    RATIOS,
    PairTotals as PairTotals,
    difference_parts,
    pair_totals,
    parts_of,
    ratios,
    wholes_of,
)
from simulator.policies.match_types import GROUPS

DIVIDED = ("revenue_rpm", "irrelevant_share", "clicks_rpm", "user_utility_rpm", "advertiser_surplus_rpm")
"""Metrics whose differences are divided."""
GROUPINGS = ("query", "ad", "advertiser", "match")
"""Among whom; matches are `simulator.policies.match_types.GROUPS`."""


def totals_of(simulation: Simulation) -> PairTotals:
    """What the pairs of a run brought."""
    return pair_totals(simulation.log, simulation.market)


@dataclass(frozen=True, slots=True)
class Division:
    """The difference of a metric between two rankings, B - A, divided among groups."""

    metric: str
    grouping: str
    before: float
    """The mean over days of A."""
    after: float
    low: float
    high: float
    """The interval of the difference over days; NaN for a single day."""
    n_days: int
    parts: pl.DataFrame
    """One row per group with a part, by falling size of it: group (its number), part, low, high (of the part,
    over days; NaN for a single day), share (part / difference), before and after (what the group adds to the
    metric under A and B), traffic (its share of the queries; NaN for groups that are not of queries)."""

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def clear(self) -> bool:
        """Whether there is a difference: its interval leaves out zero; of a single day, it is not zero."""
        if math.isnan(self.low):
            return math.isfinite(self.difference) and self.difference != 0.0
        return not self.low <= 0.0 <= self.high

    @property
    def warns(self) -> bool:
        """Whether one query, ad or advertiser alone makes more than a fifth of a clear difference.

        There are few kinds of match, so a large part of one is no surprise.
        """
        few = self.grouping == "match" or not len(self.parts)
        return self.clear and not few and abs(self.parts["share"][0]) > LARGE_SHARE


def responsible_for(
    before: Sequence[PairTotals],
    after: Sequence[PairTotals],
    metric: str,
    grouping: str,
    *,
    confidence: float = 0.95,
) -> Division:
    """Divide the difference of a metric among queries, ads, advertisers or kinds of match.

    Args:
        before, after: D days under A and B; day d of both has the same queries and random draws.
        metric: a name of `simulator.measures.query_totals.RATIOS`, such as those of DIVIDED.
        grouping: one of GROUPINGS.

    Raises:
        ValueError: there is no day, or not as many of A as of B.
    """
    if not before or len(before) != len(after):
        raise ValueError(
            f"before and after must have as many days, at least one: got {len(before)} and {len(after)}"
        )
    check_named("grouping", grouping, GROUPINGS)
    check_named("metric", metric, RATIOS)
    days = [*before, *after]
    groups, place = np.unique(np.concatenate([getattr(day, grouping) for day in days]), return_inverse=True)
    ends = np.cumsum([0, *(len(day.totals) for day in days)])
    every = np.zeros((len(days), groups.size, len(COLUMNS)))
    for day, start, end, table in zip(days, ends[:-1], ends[1:], every, strict=True):
        np.add.at(table, place[start:end], day.totals)
    tables = np.stack([every[: len(before)], every[len(before) :]])  # [2, D, G, 9]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.stack([difference_parts(a, b, (metric,))[:, 0] for a, b in zip(*tables, strict=True)])
        wholes = wholes_of(tables.sum(axis=2), (metric,))[..., 0]  # [2, D]
        adds = (parts_of(tables, (metric,))[..., 0] / wholes[..., None]).mean(axis=1)  # [2, G]
    levels = ratios(tables.sum(axis=2), (metric,))[..., 0]
    whole, low, high = t_interval(levels[1] - levels[0], confidence)
    came = tables[0, :, :, 0].sum(axis=0)
    mean, half = parts.mean(axis=0), _half_widths(parts, confidence)
    divided = pl.DataFrame(
        {
            "group": groups,
            "part": mean,
            "low": mean - half,
            "high": mean + half,
            "share": mean / whole if whole else np.full(groups.size, math.nan),
            "before": adds[0],
            "after": adds[1],
            "traffic": came / came.sum() if grouping == "query" else np.full(groups.size, math.nan),
        }
    )
    divided = divided.filter((pl.col("group") >= 0) & (pl.col("part") != 0.0))
    divided = divided.sort(pl.col("part").abs(), descending=True, maintain_order=True)
    a, b = (float(level.mean()) for level in levels)
    return Division(metric, grouping, a, b, low, high, len(before), divided)


def narrowed(day: PairTotals, grouping: str, group: int) -> PairTotals:
    """The pairs of one group, and all arrivals: what of a difference is its own."""
    check_named("grouping", grouping, GROUPINGS)
    kept = (getattr(day, grouping) == group) | (day.ad < 0)
    return PairTotals(*(column[kept] for column in day))


def _half_widths(parts: FloatArray, confidence: float) -> FloatArray:
    """Half the width of Student's interval over days, F[G] from F[D, G]."""
    n_days = len(parts)
    if n_days < 2:
        return np.full(parts.shape[1], math.nan)
    errors = parts.std(axis=0, ddof=1) / math.sqrt(n_days)
    return np.asarray(t_quantile(confidence, n_days) * errors)


def group_names(prepared: Prepared, grouping: str, groups: Sequence[int]) -> list[str]:
    """What groups are called: queries and ads by their texts, or by their ids where there are none."""
    if grouping == "match":
        return [GROUPS[group] for group in groups]
    if not prepared.source.has_texts:
        auctions = auctions_of(prepared.source)
        ids = {"query": auctions.query_id, "ad": auctions.ad_id, "advertiser": auctions.advertiser_id}
        return [str(ids[grouping][group]) for group in groups]
    if grouping == "query":
        return [prepared.corpus.query_text[group] for group in groups]
    if grouping == "ad":
        return [f"{prepared.corpus.ad_title[group]} ({group})" for group in groups]
    return [str(group) for group in groups]


def explain_scenarios(
    before: Scenario,
    after: Scenario,
    *,
    days: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Prepared, list[PairTotals], list[PairTotals]]:
    """Simulate two scenarios of one market on the same days.

    Args:
        days: the seeds from the scenario's own on, `days_compared` of them by default; a market without other
            days has one.
        cache: the results folder, under which frames and scores are kept.

    Raises:
        ScenarioError: they are of different markets, seeds or traffic, or their servers measure time.
        CheckpointError, PluginError, ScorerError, StoreError, TableError: see `scenarios.prepare` and
            `scenarios.relevance_of`.
    """
    _refuse_other_market(before, after)
    check_size(after)
    n_days = (days or before.days_compared) if source_of(before).has_other_days else 1
    if before.seed + n_days > 2**63:
        reason, remedy = f"is too large for {n_days:,} days, whose seeds follow it", "take a smaller one"
        raise ScenarioError(reason, file=before.place, field="seed", remedy=remedy)
    prepared = prepare(before, cache=cache, progress=progress)
    relevances = [
        relevance_of(prepared, one.scorer, cache=cache, progress=progress) for one in (before, after)
    ]
    found: tuple[list[PairTotals], list[PairTotals]] = ([], [])
    for day in range(n_days):
        for scenario, relevance, kept in zip((before, after), relevances, found, strict=True):
            of_day = override(scenario, {"sweep": None, "seed": before.seed + day})
            kept.append(totals_of(simulate_market(prepared, market_of(prepared, relevance, of_day))))
        if progress is not None:
            progress("simulating days", day + 1, n_days)
    return prepared, *found


def _refuse_other_market(before: Scenario, after: Scenario) -> None:
    for field in (*PREPARED, "seed", "traffic"):
        a, b = (getattr(one, field) for one in (before, after))
        if a != b:
            raise ScenarioError(
                f"is not that of the first scenario, {before.place}; a difference is divided on the same "
                "queries and draws",
                file=after.place,
                field=field,
                remedy="take its block",
            )
    for one in (before, after):
        if one.serving.scoring != "table":
            raise ScenarioError(
                "'live' measures time, which differs from run to run",
                file=one.place,
                field="serving.scoring",
                remedy="'table' scores beforehand",
            )


def division_rows(prepared: Prepared, division: Division, n: int) -> list[dict[str, Any]]:
    """The n largest parts with the names of their groups, under `name`."""
    top = division.parts.head(n)
    names = group_names(prepared, division.grouping, top["group"].to_list())
    return [{"name": name, **row} for name, row in zip(names, top.iter_rows(named=True), strict=True)]
