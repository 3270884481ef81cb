"""What the command line shows: progress bars, and results as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from scenarios.config.scenario import Scenario
from scenarios.reporting.words import Format, cell, change, milliseconds, number, percent, scorer_name
from scenarios.storage.command_progress import ProgressFile

if TYPE_CHECKING:
    from scenarios.config.service_profile import ProfileFile
    from scenarios.replay.replay_run import Replay

MIN_WIDTH = 132
"""Columns that the widest table takes."""


class ProgressBars:
    """A `scenarios.Progress`: one bar per stage, on stderr, so that stdout holds the tables only."""

    def __init__(self, file: Path | None = None) -> None:
        """Show nothing yet.

        Args:
            file: kept up to date as well, see `scenarios.storage.command_progress`.

        Raises:
            StoreError: it cannot be written.
        """
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
        )
        self._bars = Progress(*columns, console=Console(stderr=True))
        self._stages: dict[str, TaskID] = {}
        self._file = None if file is None else ProgressFile(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.end(error)
        if self._stages:  # where nothing was shown, stopping would still print an empty line
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, detail: str = "") -> None:
        if self._file is not None:
            self._file.report(stage, done, total, detail)
        self._bars.start()
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, detail=detail)
        self._bars.update(self._stages[stage], completed=done, total=total, detail=detail)

    def made(self, folder: Path) -> None:
        if self._file is not None:
            self._file.made(folder)

    def found(self, facts: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.found(facts)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(text, highlight=False, soft_wrap=True)


class Section(NamedTuple):
    """A table between what it shows and what its columns mean."""

    title: str
    table: Table
    note: str


def section(
    title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], note: str, *, left: int = 1
) -> Section:
    """A table of texts.

    Args:
        left: how many columns are flush left and may be folded; the others hold numbers.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        numbers = place >= left
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return Section(title, table, note)


Columns = tuple[tuple[str, pl.Expr, Format], ...]
"""Of a table: heading, figure, and how that is written."""


def headings_of(columns: Columns) -> list[str]:
    """The headings of columns."""
    return [heading for heading, _, _ in columns]


def cells_of(points: pl.DataFrame, columns: Columns) -> list[list[str]]:
    """The columns' texts, row by row."""
    values = points.select(figure.alias(str(place)) for place, (_, figure, _) in enumerate(columns))
    return [
        [cell(value, form) for value, (_, _, form) in zip(row, columns, strict=True)]
        for row in values.iter_rows()
    ]


def _per_thousand(metric: str) -> pl.Expr:
    return 1000.0 * pl.col(metric) / pl.col("queries")


COMPARISON: Columns = (
    ("revenue", pl.col("revenue_rpm"), number),
    ("irrel.", pl.col("irrelevant_share"), percent),
    ("by pos.", pl.col("irrelevant_share_weighted"), percent),
    ("CTR", pl.col("ctr"), lambda value: f"{100 * value:.2f}%"),
    ("fill", pl.col("fill"), percent),
    ("price", pl.col("mean_price"), number),
    ("surplus", _per_thousand("advertiser_surplus"), number),
    ("utility", _per_thousand("user_utility"), number),
    ("welfare", _per_thousand("welfare"), number),
)
_UPLIFT: Columns = (("uplift", pl.col("revenue_uplift"), change),)
COMPARISON_NOTE = (
    "irrel.: share of shown ads of true grade 0; by pos.: weighted by how likely the slot is looked at;\n"
    "price per click; revenue, advertiser surplus, user utility and welfare in currency per 1000 queries"
)


JUDGED_NOTE = "judged: share of the shown ads whose grade a person gave"


def comparison_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer, on the same market and the same random draws."""
    points, columns = points.filter(pl.col("kind") == "compare"), (*COMPARISON, *_UPLIFT)
    note = COMPARISON_NOTE
    if "judged_share" in points.columns:
        columns += (("judged", pl.col("judged_share"), percent),)
        note += f"\n{JUDGED_NOTE}"
    counts = dict.fromkeys(f"{int(points['queries'].sort()[at]):,}" for at in (0, -1))  # users may stay away
    title = (
        f"{scenario.name}: {' to '.join(counts)} queries, simulated once, so no intervals; "
        "the same market and random draws in every row"
    )
    names = map(scorer_name, points["scorer"])
    rows = [[name, *cells] for name, cells in zip(names, cells_of(points, columns), strict=True)]
    return section(title, ["ranked by", *headings_of(columns)], rows, note)


_PREDICTION: Columns = (
    ("AUC", pl.col("pctr_auc"), lambda value: f"{value:.3f}"),
    ("expected/clicks", pl.col("pctr_calibration"), lambda value: f"{value:.3f}"),
    ("error", pl.col("pctr_calibration_error"), percent),
    ("AUC as relevance", pl.col("pctr_relevance_auc"), lambda value: f"{value:.3f}"),
)
_PREDICTION_NOTE = (
    "of the ads shown. AUC: clicked against not clicked in the same slot; error: |expected clicks - clicks|\n"
    "in groups of nearly equal pCTR, of all clicks; AUC as relevance: grades 2 and 3 against 0 and 1"
)


def prediction_table(points: pl.DataFrame) -> Section:
    """One row per scorer: how good the click prediction was on its pages."""
    points = points.filter(pl.col("kind") == "compare")
    names = map(scorer_name, points["scorer"])
    rows = [[name, *cells] for name, cells in zip(names, cells_of(points, _PREDICTION), strict=True)]
    return section("Click prediction", ["ranked by", *headings_of(_PREDICTION)], rows, _PREDICTION_NOTE)


def traffic_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer: how much of the traffic came, where users may stay away, and what it earned."""
    points = points.filter(pl.col("kind") == "compare")
    first = points.row(0, named=True)
    rows = []
    for row in points.iter_rows(named=True):
        cells = [scorer_name(row["scorer"])]
        for name in ("queries", "revenue"):
            relative = row[name] / first[name] - 1.0 if first[name] else None
            cells += [f"{row[name]:,.0f}", cell(relative, change)]
        rows.append(cells)
    note = f"over {scenario.traffic.days} days; change: against the first row; revenue in currency, in all"
    headings = ["ranked by", "queries", "change", "revenue", "change"]
    return section("Who came, and what it brought", headings, rows, note)


def sweep_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per value of the swept field: revenue per thousand queries and irrelevant share by scorer."""
    swept = scenario.sweep
    if swept is None:
        raise ValueError("the scenario has no sweep")
    scorers = list(dict.fromkeys(swept.scorers))
    points = points.filter(pl.col("kind") == "sweep")
    rows = []
    for value in dict.fromkeys(swept.values):
        cells = [f"{value:g}"]
        for scorer in scorers:
            found = points.row(
                by_predicate=(pl.col("scorer") == scorer) & (pl.col("value") == value), named=True
            )
            star = "*" if found["pareto"] else " "
            cells += [cell(found["revenue_rpm"], number), cell(found["irrelevant_share"], percent) + star]
        rows.append(cells)
    title = f"Sweep of {swept.field}: revenue per 1000 queries and share of irrelevant ads, simulated once"
    headings = [f"{scorer_name(scorer)}\n{what}" for scorer in scorers for what in ("revenue", "irrel.")]
    note = "*: no other point has more revenue with fewer irrelevant ads (Pareto front)"
    return section(title, [swept.field.rpartition(".")[2], *headings], rows, note)


_SERVING: Columns = (
    ("p50", pl.col("latency_p50_s"), milliseconds),
    ("p95", pl.col("latency_p95_s"), milliseconds),
    ("p99", pl.col("latency_p99_s"), milliseconds),
    ("timed out", pl.col("timeout_share"), percent),
    ("cached", pl.col("cache_hit_share"), percent),
    ("pairs", pl.col("scored_pairs") / pl.col("queries"), lambda value: f"{value:.1f}"),
    ("revenue", pl.col("revenue_rpm"), number),
    ("irrel.", pl.col("irrelevant_share"), percent),
    ("fill", pl.col("fill"), percent),
)


_MEASURED: Columns = (
    ("busy", pl.col("utilisation"), percent),
    ("served/s", pl.col("served_per_s"), number),
    ("in target/s", pl.col("in_target_per_s"), number),
    ("capacity/s", pl.col("capacity_per_s"), number),
    ("cost/million", pl.col("cost_per_million"), number),
)


def measured_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer and point of the sweep: what the machine served, by a measured clock."""
    model = scenario.serving
    columns = [column for column in _MEASURED if model.price_per_hour is not None or "cost" not in column[0]]
    if model.latency_target_s is None and model.timeout_s is None:
        columns = [column for column in columns if "target" not in column[0]]
    if scenario.sweep is not None:
        swept = scenario.sweep.field.rpartition(".")[2]
        columns.insert(0, (swept, pl.col("value"), lambda value: f"{value:g}"))
    names = map(scorer_name, points["scorer"])
    rows = [[name, *cells] for name, cells in zip(names, cells_of(points, tuple(columns)), strict=True)]
    note = (
        "busy: share of the servers' time; served/s: queries a second by the scorer or from its cache;\n"
        "in target/s: those within the latency target; capacity/s: as many if servers were never idle"
    )
    return section("Measured on this machine", ["ranked by", *headings_of(tuple(columns))], rows, note)


def serving_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer and point of the sweep: how long queries wait, and what that costs."""
    columns = _SERVING
    if scenario.sweep is not None:
        swept = scenario.sweep.field.rpartition(".")[2]
        columns = ((swept, pl.col("value"), lambda value: f"{value:g}"), *columns)
    names = map(scorer_name, points["scorer"])
    rows = [[name, *cells] for name, cells in zip(names, cells_of(points, columns), strict=True)]
    note = (
        "p50, p95, p99: latency in ms that so many percent of queries did not exceed; timed out: share of\n"
        "queries that got the fallback; pairs: scored per query; revenue per 1000 queries"
    )
    return section("Serving", ["ranked by", *headings_of(columns)], rows, note)


def profile_table(profile: ProfileFile) -> Section:
    """One row per batch size."""
    rows = [
        (
            f"{pairs:g}",
            milliseconds(seconds),
            f"{milliseconds(low)} to {milliseconds(high)}",
            f"{pairs / seconds:,.0f}",
        )
        for (pairs, seconds), (low, high) in zip(profile.points, profile.quartiles, strict=True)
    ]
    on = ", ".join(f"{name} {value}" for name, value in profile.machine.items())
    title = f"Time that {scorer_name(profile.scorer)} takes for a batch"
    note = f"median of {profile.repeats} batches of each size; {on}"
    return section(title, ["pairs", "ms", "quartiles", "pairs per s"], rows, note)


_REPLAY_NOTE = """\
revenue per 1000 queries; model: clicks as pCTR says;
IPS: logged clicks, weighted by how likely slots are looked at, and click rates fitted to the log where it has
not shown the ad; DR, doubly robust: the fitted rates, and what the log's clicks are beyond them;
vs. log: IPS against what was earned, page by page; +-: standard error; price per click by pCTR;
irrel.: share of grade 0 among graded ads; covered: share of the ads that the log showed for the same query;
ESS: effective sample size of those, (sum w)^2 / sum w^2"""

_LOGGED = pl.col("kind") == "log"
_REPLAY: Columns = (
    ("model", _per_thousand("revenue_model"), number),
    ("DR", _per_thousand("revenue_dr"), number),
    ("+-", _per_thousand("revenue_dr_se"), number),
    ("IPS", pl.when(_LOGGED).then(_per_thousand("revenue")).otherwise(_per_thousand("revenue_ips")), number),
    ("+-", _per_thousand("revenue_ips_se"), number),
    ("vs. log", pl.col("change"), change),
    ("+-", pl.col("change_se"), percent),
    ("price", pl.col("mean_price"), number),
    ("fill", pl.col("fill"), percent),
    ("irrel.", pl.col("irrelevant_share"), percent),
    ("covered", pl.col("covered"), percent),
    ("ESS", pl.col("effective_impressions"), lambda value: f"{value:,.0f}"),
)
_NOT_OF_THE_LOG = ("DR", "+-", "vs. log")


def replay_table(replay: Replay) -> Section:
    """One row for the log, then one for each way to rank it."""
    rows = []
    for point, cells in zip(
        replay.points.iter_rows(named=True), cells_of(replay.points, _REPLAY), strict=True
    ):
        logged = point["kind"] == "log"
        name = "as logged" if logged else scorer_name(point["scorer"])
        if logged:
            named = zip(headings_of(_REPLAY), cells, strict=True)
            cells = ["" if heading in _NOT_OF_THE_LOG else text for heading, text in named]
        rows.append([name, point["rule"] or "", *cells])
    title = f"{replay.source}: {int(replay.points['queries'][0]):,} queries auctioned again"
    slots = ", ".join(f"{p:.3g}" for p in replay.examination)
    note = f"{_REPLAY_NOTE}\nslots are looked at with probability {slots} ({replay.examination_is})"
    note = "\n".join([note, *(f"warning: {text}" for text in replay.warnings)])
    return section(title, ["ranked by", "rule", *headings_of(_REPLAY)], rows, note)


def print_tables(sections: Iterable[Section]) -> None:
    """To stdout."""
    console = Console(highlight=False)
    if console.width < MIN_WIDTH:  # a narrow terminal wraps lines; cut numbers would be worse
        console.width = MIN_WIDTH
    for title, table, note in sections:
        console.print(f"[bold]{escape(title)}[/bold]")
        console.print(table)
        console.print(f"[dim]{escape(note)}[/dim]\n")
