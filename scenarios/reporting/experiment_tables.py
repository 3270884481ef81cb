"""What `relbid experiment` prints."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from scenarios.reporting.terminal import (
    COMPARISON,
    COMPARISON_NOTE,
    JUDGED_NOTE,
    Section,
    cells_of,
    headings_of,
    section,
)
from scenarios.reporting.words import cell, number, percent, scorer_name
from scenarios.studies.experiments import statistics
from scenarios.studies.experiments.experiment import Plan, Rule
from scenarios.studies.experiments.experiment_run import ExperimentResult
from scenarios.studies.experiments.matched import IRRELEVANT, REVENUE, RULES, MatchedResult
from scenarios.studies.experiments.query_effects import LARGE_SHARE
from scenarios.studies.experiments.summary import PREDICTED, verdict
from scenarios.studies.study_file import listed_seeds
from simulator.measures.market_metrics import is_share

_NOTE = """\
revenue, surplus, utility and welfare in currency per 1000 queries; [ ]: {level} intervals of the change,
over {units} and over queries (if others had come)"""
_DAYS_NOTE = ";\ndetectable: least true change found with probability 0.8"
_WORLDS_NOTE = (
    "\na new one: where the change in one more {unit} lies"
    "\nworlds: share of worlds in the variance of one day's difference; the rest is days and trainings"
)
_QUERIES_NOTE = """\
share of each difference that the ten queries explain which explain most of it, and each of them; a negative
share is of a query that went the other way; effective number of queries: {effective:,.0f}"""
_PUBLISHED_NOTE = """\
reproduced: the first interval lies on the published side of 0, and the second holds the published figure;
direction only: the first alone"""
_UNMATCHED_NOTE = """
not matched: the arm never gets to what the rule asks (not reached, above), so that the arms differ in it"""
_CONFIRM_NOTE = """\
first: {first}; second: {second}; agree: whether the difference of the two changes is within its own {level}
interval (Welch). One in twenty does not by chance alone"""
_INTERFERENCE_NOTE = """\
all relative to the baseline's true mean; truth: both arms on the whole market on the same random draws;
one run: how much a single replicate's estimate varies (standard deviation)"""
_NAMES = {
    "revenue_rpm": "revenue",
    "irrelevant_share": "irrelevant ads",
    "negative_share": "grades 0 and 1",
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
    """Two tables per design and arm, of changes and of queries; and one of what the splits get wrong."""
    experiment = result.plan.experiment
    level = f"{100 * experiment.confidence:g}%"
    sections = []
    several = len(result.plan.worlds) > 1
    note = _NOTE.format(level=level, units=units_text(result))
    if several:
        unit = "world and training" if result.plan.n_trainings > 1 else "world"
        note += _WORLDS_NOTE.format(unit=unit)
    else:
        note += _DAYS_NOTE
    if "judged_share" in result.replicates.columns:
        judged = result.replicates.group_by("arm", maintain_order=True).agg(pl.col("judged_share").mean())
        shares = ", ".join(f"{arm} {cell(share, percent)}" for arm, share in judged.iter_rows())
        note += f"\njudged, share of the shown ads whose grade a person gave: {shares}"
    for (design, arm), rows in result.summary.group_by("design", "arm", maintain_order=True):
        title = (
            f"{experiment.name}: {arm} against {experiment.baseline}, {size_text(result)}, "
            f"{_TITLES[str(design)]}"
        )
        arms = [experiment.baseline, str(arm)]
        further = [f"{100 * PREDICTED:g}% (a new one)", "worlds"] if several else ["detectable"]
        headings = ["metric", *arms, "change", level, f"{level} (queries)", *further]
        cells = [_summary_row(row, several) for row in rows.iter_rows(named=True)]
        sections.append(section(title, headings, cells, note))
        sections += query_tables(result, str(design), {str(arm): str(arm)}, experiment.baseline)
    if experiment.published:
        sections.append(published_table(result.plan, {None: result}))
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


def matched_table(found: MatchedResult) -> Section:
    """The setting that each rule chose for each arm, with revenue and irrelevant ads along the grid."""
    experiment = found.plan.experiment
    matched = experiment.matched
    assert matched is not None
    rows = []
    for arm in found.plan.arms:
        curve = found.curves.filter(pl.col("arm") == arm)
        along = "\n".join(
            f"{value:g}: {number(revenue)}, {percent(share)}"
            for value, revenue, share in curve.select("value", REVENUE, IRRELEVANT).iter_rows()
        )
        chosen = [found.chosen[rule][arm] for rule in RULES]
        rows.append(
            (arm, *(f"{one.value:.3f}" + ("" if one.reached else " (not reached)") for one in chosen), along)
        )
    worlds = ", ".join(map(str, listed_seeds(matched.worlds)))
    title = f"{experiment.name}: {matched.field} of each arm, chosen in worlds {worlds}"
    headings = ["arm", *(rule.replace("_", "\n") for rule in RULES), "setting: revenue, irrelevant ads"]
    note = (
        f"equal revenue: {100 * matched.revenue_cost:g}% less than at {matched.grid[0]:g}; "
        f"equal irrelevance: as many irrelevant ads as {experiment.baseline} then has; "
        f"equal setting: {experiment.baseline}'s\n"
        "revenue per 1000 queries; means over worlds, trainings and days; straight lines between the settings"
    )
    return section(title, headings, rows, note)


def published_table(
    plan: Plan, results: Mapping[Rule | None, ExperimentResult], unmatched: Collection[tuple[Rule, str]] = ()
) -> Section:
    """Each published change beside what was found.

    Args:
        results: the experiment by each rule of `matched`; without that, by None.
        unmatched: rules and arms where the arm never gets to what the rule asks.
    """
    experiment, rows = plan.experiment, []
    lacking = [one for one in experiment.published if (one.rule, one.arm) in unmatched]
    for one in experiment.published:
        found = results[one.rule].summary.row(
            by_predicate=(pl.col("design") == "common")
            & (pl.col("arm") == one.arm)
            & (pl.col("metric") == one.metric),
            named=True,
        )
        interval, predicted = (
            (found[f"{name}_low"], found[f"{name}_high"]) for name in ("change_t", "predicted")
        )
        rows.append(
            (
                f"{one.arm} against {experiment.baseline}",
                metric_words(one.metric),
                *(() if one.rule is None else (one.rule.replace("_", " "),)),
                _signed(one.change, True),
                _signed(found["change_value"], True),
                _span(*interval),
                _span(*predicted),
                verdict(one.change, interval, predicted) + (", not matched" if one in lacking else ""),
            )
        )
    rule = [] if experiment.matched is None else ["rule"]
    level, new = f"{100 * experiment.confidence:g}%", f"{100 * PREDICTED:g}% (a new one)"
    headings = ["arms", "metric", *rule, "published", "found", level, new, "so it is"]
    note = _PUBLISHED_NOTE + (_UNMATCHED_NOTE if lacking else "")
    return section(f"{experiment.name}: what was published, and what is found", headings, rows, note)


def size_text(result: ExperimentResult) -> str:
    """`8 worlds x 5 days`."""
    plan = result.plan
    parts = [_counted(len(plan.worlds), "world")] if plan.worlds != (None,) else []
    parts += [_counted(plan.n_trainings, "training")] if plan.n_trainings > 1 else []
    return " x ".join([*parts, _counted(len(result.seeds), "day")])


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def units_text(result: ExperimentResult) -> str:
    """What intervals are over: `worlds and trainings`, `days of one world`."""
    units = "worlds" if len(result.plan.worlds) > 1 else "days of one world"
    return f"{units} and trainings" if result.plan.n_trainings > 1 else units


def days_tables(result: ExperimentResult) -> list[Section]:
    """What `relbid run` prints of its comparison: means over days, and every difference with its interval."""
    plan, names = result.plan, {arm: scorer_name(one.scorer) for arm, one in result.plan.arms.items()}
    baseline, level = names[plan.experiment.baseline], f"{100 * plan.experiment.confidence:g}%"
    sizes = result.replicates["queries"].sort()
    counts = " to ".join(dict.fromkeys(f"{int(size):,}" for size in (sizes[0], sizes[-1])))
    one = "days" if plan.scenario.traffic.days == 1 else f"runs of {plan.scenario.traffic.days} days"
    world = plan.scenario.market.kind == "world"
    days = f"{len(result.seeds)} {one} of this {'world' if world else 'market'}"
    means = result.replicates.group_by("arm", maintain_order=True).agg(pl.col(pl.Float64).mean())
    rows = [
        [names[arm], *cells] for arm, cells in zip(means["arm"], cells_of(means, COMPARISON), strict=True)
    ]
    title = (
        f"{plan.experiment.name}: {counts} queries {'a day' if one == 'days' else 'a run'}, mean of {days}; "
        "the same market and random draws in every row"
    )
    told = result.summary.filter(pl.col("metric") != "irrelevant_share_weighted")
    changes = [
        [names[str(arm)], *map(_change_cell, found.iter_rows(named=True))]
        for (arm,), found in told.group_by("arm", maintain_order=True)
    ]
    metrics = [
        metric_words(name).replace(" ", "\n", 1) for name in told["metric"].unique(maintain_order=True)
    ]
    note = f"[ ]: {level} intervals over {days}"
    if world:
        note += "; for other worlds: relbid experiment scenarios/experiments/exponent.yaml"
    return [
        section(title, ["ranked by", *headings_of(COMPARISON)], rows, COMPARISON_NOTE),
        section(f"Change against {baseline}", ["ranked by", *metrics], changes, note),
        _over_queries(result, names, means),
        *query_tables(result, "common", {arm: names[arm] for arm in plan.others}, baseline, KEY_METRICS),
    ]


KEY_METRICS = ("revenue_rpm", "irrelevant_share")
"""Whose differences `relbid run` explains by queries."""


def _over_queries(result: ExperimentResult, names: Mapping[str, str], means: pl.DataFrame) -> Section:
    """Revenue and share of irrelevant ads of each scorer, and their changes, with intervals over queries."""
    level = f"{100 * result.plan.experiment.confidence:g}%"
    judged = "judged_share" in means.columns
    bounds = {(row["arm"], row["metric"]): row for row in result.levels.iter_rows(named=True)}
    changes = {(row["arm"], row["metric"]): row for row in result.summary.iter_rows(named=True)}
    rows = []
    for row in means.iter_rows(named=True):
        cells = [names[row["arm"]]]
        for metric, form in zip(KEY_METRICS, (number, percent), strict=True):
            key, own = (row["arm"], metric), row[metric]
            found = bounds.get(key, {"low": math.nan, "high": math.nan})
            cells.append(f"{cell(own, form)} [{cell(found['low'], form)}, {cell(found['high'], form)}]")
            changed = changes.get(key)
            cells.append(
                ""
                if changed is None
                else f"{_tenths(changed['change_value'])}% [{_tenths(changed['queries_change_low'])}, "
                f"{_tenths(changed['queries_change_high'])}]"
            )
        rows.append([*cells, cell(row["judged_share"], percent)] if judged else cells)
    note = (
        f"[ ]: {level} intervals over queries, if others had come; effective number of queries: "
        f"{result.effective_queries:,.0f}"
    )
    if judged:
        note += f"\n{JUDGED_NOTE}"
    headings = ["ranked by", "revenue", "change", "irrel.", "change", *(["judged"] if judged else [])]
    return section("The same over queries", headings, rows, note)


def _change_cell(row: Mapping[str, Any]) -> str:
    return (
        f"{_tenths(row['change_value'])}%\n[{_tenths(row['change_t_low'])}, {_tenths(row['change_t_high'])}]"
    )


def _tenths(share: float) -> str:
    return f"{100 * share:+.1f}" if math.isfinite(share) else "-"


def query_tables(
    result: ExperimentResult,
    design: str,
    names: Mapping[str, str],
    baseline: str,
    metrics: Sequence[str] = (),
) -> list[Section]:
    """Which queries the differences of arms rest on; nothing where that is not known.

    Args:
        names: what each arm is called.
        baseline: what the baseline is called.
        metrics: those to show; all that are known by default.
    """
    found = result.queries.filter((pl.col("design") == design) & pl.col("arm").is_in([*names]))
    if metrics:
        found = found.filter(pl.col("metric").is_in(metrics))
    cells, large = [], []
    for (arm, metric), rows in found.group_by("arm", "metric", maintain_order=True):
        name = metric_words(str(metric))
        if len(names) > 1:
            name = f"{names[str(arm)]}: {name}"
        texts = [f"{_query_text(row)} {_whole(row['share'])}" for row in rows.iter_rows(named=True)]
        cells.append((name, ", ".join(texts), _whole(float(rows["share"].sum()))))
        if abs(rows["share"][0]) > LARGE_SHARE:
            large.append(f"{name}: {texts[0]}")
    if not cells:
        return []
    note = _QUERIES_NOTE.format(effective=result.effective_queries)
    if large:
        note += "\nwarning: a single query explains more than a fifth of a difference: " + "; ".join(large)
    title = "The queries behind the differences"
    if len(names) == 1:
        title += f" of {next(iter(names.values()))} against {baseline}"
    return [section(title, ["metric", "queries", "the ten"], cells, note, left=2)]


def confirmed_tables(first: ExperimentResult, second: ExperimentResult) -> list[Section]:
    """One table per design and arm: the changes on two sets of worlds side by side."""
    experiment = first.plan.experiment
    level = f"{100 * experiment.confidence:g}%"
    sections = []
    names = ["design", "arm", "metric", "change_value", "change_t_low", "change_t_high"]
    errors = ["change_standard_error", "change_df"]
    both = first.summary.select(names + errors).join(
        second.summary.select(names + errors), on=names[:3], suffix="_again", maintain_order="left"
    )
    worlds = [_worlds_text(result) for result in (first, second)]
    note = _CONFIRM_NOTE.format(first=worlds[0], second=worlds[1], level=level)
    for (design, arm), rows in both.group_by("design", "arm", maintain_order=True):
        title = (
            f"{experiment.name}: {arm} against {experiment.baseline} on two sets of worlds, "
            f"{size_text(first)} each, {_TITLES[str(design)]}"
        )
        cells = [_confirmed_row(row, experiment.confidence) for row in rows.iter_rows(named=True)]
        sections.append(section(title, ["metric", "first", level, "second", level, "agree"], cells, note))
    return sections


def _confirmed_row(row: Mapping[str, Any], confidence: float) -> tuple[str, ...]:
    agree = statistics.agree(
        (row["change_value"], row["change_standard_error"], row["change_df"]),
        (row["change_value_again"], row["change_standard_error_again"], row["change_df_again"]),
        confidence,
    )
    return (
        metric_words(row["metric"]),
        _signed(row["change_value"], True),
        _span(row["change_t_low"], row["change_t_high"]),
        _signed(row["change_value_again"], True),
        _span(row["change_t_low_again"], row["change_t_high_again"]),
        "-" if agree is None else "yes" if agree else "NO",
    )


def metric_words(metric: str) -> str:
    """A metric as tables name it."""
    return _NAMES.get(metric, metric)


def _worlds_text(result: ExperimentResult) -> str:
    worlds = result.plan.worlds
    return f"worlds {worlds[0]} to {worlds[-1]}"


def _query_text(row: Mapping[str, Any]) -> str:
    world = "" if row["world"] is None else f" (world {row['world']})"
    return f"'{row['query']}'{world}"


def _summary_row(row: Mapping[str, Any], several: bool) -> tuple[str, ...]:
    share = is_share(row["metric"])
    cells = (
        metric_words(row["metric"]),
        _plain(row["baseline_mean"], share),
        _plain(row["arm_mean"], share),
        _signed(row["change_value"], True),
        _span(row["change_t_low"], row["change_t_high"]),
        _span(row["queries_change_low"], row["queries_change_high"]),
    )
    if not several:
        return (*cells, _plain(row["change_detectable"], True))
    return (*cells, _span(row["predicted_low"], row["predicted_high"]), _whole(row["share_world"]))


def _interference_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        metric_words(row["metric"]),
        _signed(row["truth_change"], True),
        row["design"].replace("_", " "),
        _signed(row["estimate_change"], True),
        _signed(row["error_change"], True),
        _span(row["error_change_low"], row["error_change_high"]),
        _plain(row["spread_of_one"], True),
    )


def _span(low: float | None, high: float | None) -> str:
    """An interval of a change."""
    ends = _signed(low, True), _signed(high, True)
    return "-" if "-" in ends else f"[{ends[0]}, {ends[1]}]"


def _whole(share: float) -> str:
    return f"{100 * share:.0f}%" if math.isfinite(share) else "-"


def _plain(value: float | None, share: bool) -> str:
    return _signed(value, share).removeprefix("+")


def _signed(value: float | None, share: bool) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{100 * value:+.2f}%" if share else f"{value:+.2f}"
