"""What `relbid experiment` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scenarios.reporting.terminal import Section, section
from scenarios.studies.experiments.experiment_run import ExperimentResult
from simulator.measures.market_metrics import is_share

_CONFIDENCE_NOTE = """\
revenue, surplus, utility and welfare in currency per 1000 queries; [ ]: {level} intervals of the change;
detectable: least true change found with probability 0.8"""
_INTERFERENCE_NOTE = """\
all relative to the baseline's true mean; truth: both arms on the whole market on the same random draws;
one run: how much a single replicate's estimate varies (standard deviation)"""
_NAMES = {
    "revenue_rpm": "revenue",
    "irrelevant_share": "irrelevant ads",
    "irrelevant_share_weighted": "irrelevant by pos.",
    "ctr": "CTR",
    "mean_price": "price per click",
    "advertiser_surplus_rpm": "advertiser surplus",
    "user_utility_rpm": "user utility",
    "welfare_rpm": "welfare",
}
_TITLES = {
    "common": "each arm on the whole market, on the same random draws",
    "independent": "each arm on the whole market, on random draws of its own",
    "query_split": "query split: one market, each query falls to an arm",
    "budget_split": "budget split: a market for each arm, with its part of every budget",
}


def experiment_tables(result: ExperimentResult) -> list[Section]:
    """One table per design and arm, and one of what the splits get wrong."""
    experiment = result.plan.experiment
    level = f"{100 * experiment.confidence:g}%"
    sections = []
    for (design, arm), rows in result.summary.group_by("design", "arm", maintain_order=True):
        title = (
            f"{experiment.name}: {arm} against {experiment.baseline}, {len(result.seeds)} seeds, "
            f"{_TITLES[str(design)]}"
        )
        arms = [experiment.baseline, str(arm)]
        headings = ["metric", *arms, "diff.", "change", level, "detectable"]
        cells = map(_summary_row, rows.iter_rows(named=True))
        sections.append(section(title, headings, cells, _CONFIDENCE_NOTE.format(level=level)))
    if not len(result.interference):
        return sections
    for (arm,), rows in result.interference.group_by("arm", maintain_order=True):
        title = (
            f"{experiment.name}: what a split says of {arm} against {experiment.baseline}, beside the truth"
        )
        headings = ["metric", "truth", "design", "estimate", "error", level, "one run"]
        by_metric = sorted(
            rows.iter_rows(named=True), key=lambda row: experiment.metrics.index(row["metric"])
        )
        sections.append(section(title, headings, map(_interference_row, by_metric), _INTERFERENCE_NOTE))
    return sections


def _summary_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    share = is_share(row["metric"])
    return (
        _NAMES.get(row["metric"], row["metric"]),
        _plain(row["baseline_mean"], share),
        _plain(row["arm_mean"], share),
        _signed(row["difference_value"], share),
        _signed(row["change_value"], True),
        _span(row, "change_t", True),
        _plain(row["change_detectable"], True),
    )


def _interference_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _NAMES.get(row["metric"], row["metric"]),
        _signed(row["truth_change"], True),
        row["design"].replace("_", " "),
        _signed(row["estimate_change"], True),
        _signed(row["error_change"], True),
        _span(row, "error_change", True),
        _plain(row["spread_of_one"], True),
    )


def _span(row: Mapping[str, Any], name: str, share: bool) -> str:
    low, high = _signed(row[f"{name}_low"], share), _signed(row[f"{name}_high"], share)
    return "-" if "-" in (low, high) else f"[{low}, {high}]"


def _plain(value: float | None, share: bool) -> str:
    return _signed(value, share).removeprefix("+")


def _signed(value: float | None, share: bool) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{100 * value:+.2f}%" if share else f"{value:+.2f}"
