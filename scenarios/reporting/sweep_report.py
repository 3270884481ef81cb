"""A sweep as one HTML page that needs nothing beside it: plotly's script is in it, nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from scenarios.config.load import dump_scenario
from scenarios.reporting.figures import SweepTexts, html_of, sweep_front, with_both_objectives
from scenarios.reporting.sweep_tables import fields_of, row_of, strengths
from scenarios.reporting.words import amount, scorer_name
from scenarios.studies.study import read_status
from scenarios.studies.sweeps.analysis import best_points, front, point_scenario
from scenarios.studies.sweeps.folder import SweepResult
from scenarios.studies.sweeps.sweep import in_words, simulations
from simulator.measures.market_metrics import is_share

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d8dce1; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #14171a; --faint: #3a4047; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--faint); text-align: left;
  vertical-align: top; }
th.number, td.number { text-align: right; white-space: nowrap; }
.main-svg text { fill: var(--ink) !important; } .gridlayer path { stroke: var(--faint) !important; }
.hoverlayer text { fill: #fff !important; }
.note { opacity: .75; } pre { overflow-x: auto; border: 1px solid var(--faint); padding: .7rem; }
"""

MAX_IRRELEVANT = 0.02
"""Bound on the share of irrelevant ads where neither the sweep nor the reader names any."""


def report_html(result: SweepResult, *, max_irrelevant: float | None = None) -> str:
    """The page of a sweep.

    Args:
        max_irrelevant: the best points are those that keep to the sweep's constraints, and whose share of
            irrelevant ads is no larger than this one; 2% where the sweep has no constraints on metrics.
    """
    sweep = result.sweep
    fields = fields_of(result)
    seeds = ", ".join(map(str, sweep.seeds)) if len(sweep.seeds) < 8 else f"{len(sweep.seeds)} in all"
    status = read_status(result.folder)  # a search that has seen all there is has ended before its time
    total = simulations(sweep) if status is None else status.total
    gain, harm = sweep.file.objectives
    bounds = [str(one) for one in sweep.file.bounds]
    if max_irrelevant is None and not bounds:
        max_irrelevant = MAX_IRRELEVANT
    best, pareto = best_points(result, max_irrelevant), front(result)
    missing = total - len(result.replicates)
    unfinished = (
        f" {missing} of {total} simulations are missing ({len(result.failures)} failed)." if missing else ""
    )
    feasible = (
        f" {result.points['feasible'].sum()} of the points keep to {escape(', '.join(bounds))}."
        if bounds
        else ""
    )
    if max_irrelevant is not None:
        bounds.append(f"at most {100 * max_irrelevant:g}% irrelevant ads")
    best_are = escape(" and ".join(bounds))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(sweep.name)}: sweep</title><style>{STYLE}</style></head><body>",
        f"<h1>Sweep {escape(sweep.name)}</h1>",
        f"<p>{len(result.points)} points over {escape(', '.join(fields))} of the scenario "
        f"{escape(sweep.scenario.name)}; {sweep.file.method.replace('_', ' ')}; "
        f"seeds: {seeds}.{feasible}{unfinished}</p>",
        f"<h2>{escape(_long(gain).capitalize())} against {escape(_long(harm))}</h2>",
        _plot(result),
        f'<p class="note">Each dot is a point, the mean over its seeds; {_front_in_words(result)} Rest the '
        "pointer on a dot to see its settings; drag over an area to enlarge it.</p>",
        "<h2>Pareto front</h2>",
        _points(result, pareto),
        "<h2>Which field moves what</h2>",
        _table(["field", *sweep.file.directions], strengths(result), left=1),
        '<p class="note">With a sign: Spearman\'s rank correlation over the points. Without one, for values '
        "that have no order: the correlation ratio of the ranks, from 0 to 1.</p>",
        f"<h2>Best points with {best_are}</h2>",
        _points(result, best) if len(best) else f"<p>There is no point with {best_are}.</p>",
        '<p class="note">_rpm: per 1000 queries, in currency; irrelevant_share: of shown ads of true grade '
        "0; &plusmn;: standard error over the seeds.</p>",
        "<h2>Their scenarios</h2>",
        "<p>Save one as a file; <code>relbid run FILE</code> runs it, and <code>relbid sweep</code> gave "
        "exactly its figures for the seed it names.</p>",
        *(_scenario(result, index) for index in dict.fromkeys([*best["point"], *pareto["point"]])),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _front_in_words(result: SweepResult) -> str:
    file = result.sweep.file
    faint = " Hollow ones do not keep to the constraints." if file.bounds else ""
    if not file.further:
        return f"the line is the Pareto front: no other feasible point is better in both.{faint}"
    of = ", ".join(
        f"{'much' if sign > 0 else 'little'} {escape(name)}" for name, sign in file.directions.items()
    )
    return (
        f"the large ones are the Pareto front: no other feasible point is better in one of {of}, and as "
        f"good in the others.{faint}"
    )


def _plot(result: SweepResult) -> str:
    """The two main objectives as a figure that zooms and says where the pointer is."""
    if not len(with_both_objectives(result)):
        return "<p>No point has both figures.</p>"
    gain, harm = result.sweep.file.objectives

    def hover(row: Mapping[str, Any]) -> str:
        settings = in_words(result.sweep.points[row["point"]].settings)
        return (
            f"<b>point {row['point']}</b>: {escape(settings, quote=False)}<br>"
            f"{gain} {amount(gain, row[gain])}, {harm} {amount(harm, row[harm])}"
        )

    texts = SweepTexts(
        title="",
        gain=_long(gain),
        harm=_long(harm),
        front="Pareto front",
        points="points",
        opened="",
        scorer=scorer_name,
        hover=hover,
    )
    figure = sweep_front(result, texts)
    figure.update_layout(
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", margin={"t": 10}, dragmode="zoom"
    )
    return html_of(figure)


def _long(metric: str) -> str:
    """A metric as the title of an axis."""
    named = {"revenue_rpm": "revenue per 1000 queries", "irrelevant_share": "share of irrelevant ads"}
    return named.get(metric, metric) + (", %" if is_share(metric) else "")


def _points(result: SweepResult, points: pl.DataFrame) -> str:
    fields = fields_of(result)
    numbers = [name for metric in result.sweep.file.directions for name in (metric, "±")]
    rows = [row_of(result, row) for row in points.iter_rows(named=True)]
    return _table(["point", *fields, *numbers], rows, left=1 + len(fields), links="#point-")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int, links: str = "") -> str:
    """A table as HTML.

    Args:
        left: how many columns hold texts; the others hold numbers.
        links: where the first column's texts lead to, each as the end of such an address.
    """

    def line(tag: str, cells: Sequence[str], links: str = "") -> str:
        texts = list(map(escape, cells))
        if links:
            texts[0] = f'<a href="{links}{texts[0]}">{texts[0]}</a>'
        kinds = [tag if place < left else f'{tag} class="number"' for place in range(len(cells))]
        return "".join(f"<{kind}>{text}</{tag}>" for kind, text in zip(kinds, texts, strict=True))

    lines = [line("th", headings), *(line("td", row, links) for row in rows)]
    body = "".join(f"<tr>{cells}</tr>" for cells in lines)
    return f'<div class="scroll"><table>{body}</table></div>'


def _scenario(result: SweepResult, index: int) -> str:
    words = in_words(result.sweep.points[index].settings)
    text = escape(dump_scenario(point_scenario(result, index)))
    return (
        f'<details id="point-{index}"><summary>Point {index}: {escape(words)}</summary>'
        f"<pre>{text}</pre></details>"
    )
