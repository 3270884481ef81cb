"""What the command line shows: progress bars, and results as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
from scenarios.storage.command_progress import ProgressFile

if TYPE_CHECKING:
    from relevance.evaluation import ScorerEvaluation
    from scenarios.config.service_profile import ProfileFile
    from scenarios.markets.click_model import CtrFile
    from scenarios.replay.replay_run import Replay

NAMES = {"none": "no relevance", "bm25": "BM25", "hcmrm": "HCMRM", "oracle": "oracle"}
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
        """Move the bar of a stage."""
        if self._file is not None:
            self._file.report(stage, done, total, detail)
        self._bars.start()
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total, detail=detail)
        self._bars.update(self._stages[stage], completed=done, total=total, detail=detail)

    def made(self, folder: Path) -> None:
        """Name the folder that the command has made, for who reads the progress file."""
        if self._file is not None:
            self._file.made(folder)

    def found(self, facts: Mapping[str, Any]) -> None:
        """What the command has found out, for who reads the progress file."""
        if self._file is not None:
            self._file.found(facts)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._bars.console.print(text, highlight=False, soft_wrap=True)


Format = Callable[[float], str]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _change(value: float) -> str:
    return f"{100 * value:+.1f}%"


def _number(value: float) -> str:
    return f"{value:.2f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def _per_thousand(metric: str) -> pl.Expr:
    return 1000.0 * pl.col(metric) / pl.col("queries")


_COMPARISON: tuple[tuple[str, pl.Expr, Format], ...] = (
    ("revenue", pl.col("revenue_rpm"), _number),
    ("uplift", pl.col("revenue_uplift"), _change),
    ("irrel.", pl.col("irrelevant_share"), _percent),
    ("by pos.", pl.col("irrelevant_share_weighted"), _percent),
    ("CTR", pl.col("ctr"), lambda value: f"{100 * value:.2f}%"),
    ("fill", pl.col("fill"), _percent),
    ("price", pl.col("mean_price"), _number),
    ("surplus", _per_thousand("advertiser_surplus"), _number),
    ("utility", _per_thousand("user_utility"), _number),
    ("welfare", _per_thousand("welfare"), _number),
)
_COMPARISON_NOTE = (
    "irrel.: share of shown ads of true grade 0; by pos.: weighted by how likely the slot is looked at;\n"
    "price per click; revenue, advertiser surplus, user utility and welfare in currency per 1000 queries"
)


class Section(NamedTuple):
    """A table between what it shows and what its columns mean."""

    title: str
    table: Table
    note: str


def comparison_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer, on the same market and the same luck."""
    rows = points.filter(pl.col("kind") == "compare")
    counts = dict.fromkeys(f"{int(rows['queries'].sort()[at]):,}" for at in (0, -1))  # users may stay away
    title = f"{scenario.name}: {' to '.join(counts)} queries, the same market and luck in every row"
    table = _table(["ranked by", *(heading for heading, _, _ in _COMPARISON)])
    values = rows.select(*(expression.alias(str(i)) for i, (_, expression, _) in enumerate(_COMPARISON)))
    for scorer, row in zip(rows["scorer"], values.rows(), strict=True):
        cells = (_cell(value, form) for value, (_, _, form) in zip(row, _COMPARISON, strict=True))
        table.add_row(NAMES.get(scorer, scorer), *cells)
    return Section(title, table, _COMPARISON_NOTE)


def traffic_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer: how much of the traffic came, where users may stay away, and what it brought."""
    rows = points.filter(pl.col("kind") == "compare")
    table = _table(["ranked by", "queries", "change", "revenue", "change"])
    first = rows.row(0, named=True)
    for row in rows.iter_rows(named=True):
        cells = []
        for name in ("queries", "revenue"):
            cells += [
                f"{row[name]:,.0f}",
                _cell(row[name] / first[name] - 1.0 if first[name] else None, _change),
            ]
        table.add_row(NAMES.get(row["scorer"], row["scorer"]), *cells)
    note = f"over {scenario.traffic.days} days; change: against the first row; revenue in currency, in all"
    return Section("Who came, and what it brought", table, note)


def sweep_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per value of the swept field: revenue per thousand queries and irrelevant share by scorer."""
    swept = scenario.sweep
    if swept is None:
        raise ValueError("the scenario has no sweep")
    scorers = list(dict.fromkeys(swept.scorers))
    headings = [
        f"{NAMES.get(scorer, scorer)}\n{what}" for scorer in scorers for what in ("revenue", "irrel.")
    ]
    title = f"Sweep of {swept.field}: revenue per 1000 queries and share of irrelevant ads"
    note = "*: no other point has more revenue with fewer irrelevant ads (Pareto front)"
    table = _table([swept.field.rpartition(".")[2], *headings])
    rows = points.filter(pl.col("kind") == "sweep")
    for value in dict.fromkeys(swept.values):
        cells: list[str] = []
        for scorer in scorers:
            found = rows.filter((pl.col("scorer") == scorer) & (pl.col("value") == value)).row(0, named=True)
            star = "*" if found["pareto"] else " "
            cells += [_cell(found["revenue_rpm"], _number), _cell(found["irrelevant_share"], _percent) + star]
        table.add_row(f"{value:g}", *cells)
    return Section(title, table, note)


_SERVING: tuple[tuple[str, pl.Expr, Format], ...] = (
    ("p50", pl.col("latency_p50_s"), _milliseconds),
    ("p95", pl.col("latency_p95_s"), _milliseconds),
    ("p99", pl.col("latency_p99_s"), _milliseconds),
    ("timed out", pl.col("timeout_share"), _percent),
    ("cached", pl.col("cache_hit_share"), _percent),
    ("pairs", pl.col("scored_pairs") / pl.col("queries"), lambda value: f"{value:.1f}"),
    ("revenue", pl.col("revenue_rpm"), _number),
    ("irrel.", pl.col("irrelevant_share"), _percent),
    ("fill", pl.col("fill"), _percent),
)


def serving_table(scenario: Scenario, points: pl.DataFrame) -> Section:
    """One row per scorer and point of the sweep: how long queries wait, and what that costs."""
    swept = "" if scenario.sweep is None else scenario.sweep.field.rpartition(".")[2]
    table = _table(["ranked by", *([swept] if swept else []), *(heading for heading, _, _ in _SERVING)])
    values = points.select(*(expression.alias(str(i)) for i, (_, expression, _) in enumerate(_SERVING)))
    for scorer, at, row in zip(points["scorer"], points["value"], values.rows(), strict=True):
        cells = (_cell(value, form) for value, (_, _, form) in zip(row, _SERVING, strict=True))
        which = [_cell(at, lambda value: f"{value:g}")] if swept else []
        table.add_row(NAMES.get(scorer, scorer), *which, *cells)
    note = (
        "p50, p95, p99: latency in ms that so many percent of queries did not exceed; timed out: share of\n"
        "queries that got the fallback; pairs: scored per query; revenue per 1000 queries"
    )
    return Section("Serving", table, note)


def profile_table(profile: ProfileFile) -> Section:
    """One row per batch size."""
    table = _table(["pairs", "ms", "quartiles", "pairs per s"])
    for (pairs, seconds), (low, high) in zip(profile.points, profile.quartiles, strict=True):
        spread = f"{_milliseconds(low)} to {_milliseconds(high)}"
        table.add_row(f"{pairs:g}", _milliseconds(seconds), spread, f"{pairs / seconds:,.0f}")
    on = ", ".join(f"{name} {value}" for name, value in profile.machine.items())
    note = f"median of {profile.repeats} batches of each size; {on}"
    return Section(f"Time that {NAMES.get(profile.scorer, profile.scorer)} takes for a batch", table, note)


def evaluation_table(split: str, evaluations: Sequence[ScorerEvaluation]) -> Section:
    """One row per scorer."""
    from scenarios.models.training import HEADINGS, evaluation_row  # imports scikit-learn

    note = "leads: the first row's metric minus this one's, with 95% bootstrap intervals over queries"
    table = _table(HEADINGS)
    for evaluation in evaluations:
        table.add_row(*evaluation_row(evaluation))
    return Section(f"Relevance on the split '{split}'", table, note)


def ctr_tables(fitted: CtrFile, assumed: Sequence[float]) -> list[Section]:
    """A fitted click model: its figures before and after, coefficients, and examination by slot."""
    quality = _table(["predicted by", "log loss", "calib. error", "predicted/clicked", "AUC"])
    for name, of in ("the platform", fitted.before), ("the fitted model", fitted.after):
        quality.add_row(
            name,
            f"{of.log_loss:.5f}",
            f"{100 * of.calibration_error:.3f}%",
            f"{of.predicted_to_clicked:.3f}",
            f"{of.auc:.4f}",
        )
    weights = fitted.coefficients
    coefficients = _table(["intercept", "log odds of pCTR", "relevance", "phrase match", "broad match"])
    coefficients.add_row(
        *(f"{w:+.3f}" for w in (weights.intercept, weights.prediction, weights.relevance, *weights.match[1:]))
    )
    slots = _table(["slot", "assumed", "estimated"])
    for slot, (prior, found) in enumerate(zip(assumed, fitted.examination, strict=True), start=1):
        slots.add_row(str(slot), f"{prior:.3f}", f"{found:.3f}")
    scorer = "none" if fitted.scorer is None else NAMES.get(fitted.scorer, fitted.scorer)
    held_out = "every fifth query, held out; calib. error: |predicted - clicked| over 20 groups by prediction"
    base = f"relevance of: {scorer}; exact match is the base"
    return [
        Section(f"Click prediction, fitted on {fitted.impressions:,} ads shown", quality, held_out),
        Section("Coefficients in the log odds", coefficients, base),
        Section("P(examined) by slot", slots, "the first slot's is taken as given"),
    ]


_REPLAY_NOTE = """\
revenue per 1000 queries; model: clicks as pCTR says; self-norm.: the same, scaled by what logged clicks say;
IPS: logged clicks, weighted by how likely slots are looked at, and pCTR where the log has not shown the ad;
vs. log: IPS against what was earned, page by page; +-: standard error; price per click by pCTR;
irrel.: share of grade 0 among graded ads; covered: share of the ads that the log showed for the same query;
ESS: effective sample size of those, (sum w)^2 / sum w^2"""


def replay_table(replay: Replay) -> Section:
    """One row for the log, then one for each way to rank it."""
    rows = replay.points.rows(named=True)
    headings = ["ranked by", "rule", "model", "self-norm.", "IPS", "+-", "vs. log", "+-", "price", "fill"]
    table = _table([*headings, "irrel.", "covered", "ESS"])
    for row in rows:
        per_thousand = 1000.0 / row["queries"]

        def revenue(kind: str, row: dict[str, Any] = row, scale: float = per_thousand) -> str:
            value = row[f"revenue_{kind}"]
            return _cell(None if value is None else scale * value, _number)

        if row["kind"] == "log":
            spent = row["revenue"]
            actual = _cell(None if spent is None else per_thousand * spent, _number)
            figures = [revenue("model"), "", actual, "", "", ""]
        else:
            figures = [revenue(kind) for kind in ("model", "sn", "ips", "ips_se")]
            figures += [_cell(row["change"], _change), _cell(row["change_se"], _percent)]
        name = "as logged" if row["kind"] == "log" else NAMES.get(row["scorer"], row["scorer"])
        table.add_row(
            name,
            row["rule"] or "",
            *figures,
            *(_cell(row[metric], form) for metric, form in _REPLAY_COLUMNS),
        )
    title = f"{replay.source}: {int(rows[0]['queries']):,} queries auctioned again"
    slots = ", ".join(f"{p:.3g}" for p in replay.examination)
    note = f"{_REPLAY_NOTE}\nslots are looked at with probability {slots} ({replay.examination_is})"
    return Section(title, table, "\n".join([note, *(f"warning: {text}" for text in replay.warnings)]))


_REPLAY_COLUMNS: tuple[tuple[str, Format], ...] = (
    ("mean_price", _number),
    ("fill", _percent),
    ("irrelevant_share", _percent),
    ("covered", _percent),
    ("effective_impressions", lambda value: f"{value:,.0f}"),
)


def print_tables(sections: Sequence[Section]) -> None:
    """To stdout."""
    console = Console(highlight=False)
    if console.width < MIN_WIDTH:  # a narrow terminal wraps lines; cut numbers would be worse
        console.width = MIN_WIDTH
    for title, table, note in sections:
        console.print(f"[bold]{escape(title)}[/bold]")
        console.print(table)
        console.print(f"[dim]{escape(note)}[/dim]\n")


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for position, heading in enumerate(headings):
        table.add_column(heading, justify="left" if position == 0 else "right", no_wrap=True)
    return table


def _cell(value: Any, form: Format) -> str:
    return "-" if value is None or math.isnan(value) else form(value)
