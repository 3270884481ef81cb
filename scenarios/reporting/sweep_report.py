"""A sweep as one HTML page that needs nothing beside it: no scripts, no network, light and dark."""

from __future__ import annotations

from html import escape

import polars as pl

from scenarios.config.load import dump_scenario
from scenarios.reporting.svg import Dot, scatter
from scenarios.reporting.sweep_tables import amount, cell, figures, long, strength
from scenarios.reporting.terminal import NAMES
from scenarios.studies.sweeps.analysis import best_points, front, point_scenario, sensitivity
from scenarios.studies.sweeps.folder import SweepResult, read_status
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
.plot { width: 100%; height: auto; } .plot text { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--faint); } .front { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.dot { opacity: .65; } .dot.bold { opacity: 1; stroke: var(--ink); } .dot.faint { opacity: .2; }
.legend { list-style: none; display: flex; gap: 1.2rem; padding: 0; }
.legend span { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
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
    fields = [field for field in sweep.fields if field in result.points.columns]
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
        f"<h2>{escape(long(gain).capitalize())} against {escape(long(harm))}</h2>",
        _plot(result, pareto),
        f'<p class="note">Each dot is a point, the mean over its seeds; {_front_in_words(result)} Rest the '
        "pointer on a dot to see its settings.</p>",
        "<h2>Pareto front</h2>",
        _table(result, fields, pareto),
        "<h2>Which field moves what</h2>",
        _sensitivity(result),
        '<p class="note">With a sign: Spearman\'s rank correlation over the points. Without one, for values '
        "that have no order: the correlation ratio of the ranks, from 0 to 1.</p>",
        f"<h2>Best points with {best_are}</h2>",
        _table(result, fields, best) if len(best) else f"<p>There is no point with {best_are}.</p>",
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
    faint = " Faint ones do not keep to the constraints." if file.bounds else ""
    if not file.further:
        return f"the line is the Pareto front: no other feasible point is better in both.{faint}"
    of = ", ".join(
        f"{'much' if sign > 0 else 'little'} {escape(name)}" for name, sign in file.directions.items()
    )
    return (
        f"those with a rim are the Pareto front: no other feasible point is better in one of {of}, and as "
        f"good in the others.{faint}"
    )


def _plot(result: SweepResult, pareto: pl.DataFrame) -> str:
    groups = list(dict.fromkeys(point.scenario.scorer for point in result.sweep.points))
    dots = []
    gain, harm = result.sweep.file.objectives
    scales = {metric: 100.0 if is_share(metric) else 1.0 for metric in (gain, harm)}
    for row in result.points.drop_nans([gain, harm]).iter_rows(named=True):
        point = result.sweep.points[row["point"]]
        label = (
            f"point {row['point']}: {in_words(point.settings)}\n"
            f"{gain} {amount(gain, row[gain])}, {harm} {amount(harm, row[harm])}"
        )
        group = groups.index(point.scenario.scorer)
        dots.append(
            Dot(
                scales[harm] * row[harm],
                scales[gain] * row[gain],
                group,
                label,
                bold=row["pareto"],
                faint=not row["feasible"],
            )
        )
    if not dots:
        return "<p>No point has both figures.</p>"
    line = [(scales[harm] * row[harm], scales[gain] * row[gain]) for row in pareto.iter_rows(named=True)]
    if result.sweep.file.further:
        line = []  # what is a front in more than two objectives is none in two
    return scatter(
        dots,
        line,
        [NAMES.get(name, name) for name in groups],
        f"{gain} against {harm}",
        long(harm),
        long(gain),
    )


def _table(result: SweepResult, fields: list[str], points: pl.DataFrame) -> str:
    numbers = [name for metric in result.sweep.file.directions for name in (escape(metric), "&plusmn;")]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("point", *fields))
    head += "".join(f'<th class="number">{name}</th>' for name in numbers)
    body = []
    for row in points.iter_rows(named=True):
        cells = [f'<td><a href="#point-{row["point"]}">{row["point"]}</a></td>']
        cells += [f"<td>{escape(cell(row[field]))}</td>" for field in fields]
        cells += [f'<td class="number">{text}</td>' for text in figures(result.sweep, row)]
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def _sensitivity(result: SweepResult) -> str:
    found = sensitivity(result)
    rows = []
    for field in dict.fromkeys(one.field for one in found):
        cells = (f'<td class="number">{strength(one)}</td>' for one in found if one.field == field)
        rows.append(f"<tr><td>{escape(field)}</td>{''.join(cells)}</tr>")
    head = "<th>field</th>" + "".join(
        f'<th class="number">{escape(metric)}</th>' for metric in result.sweep.file.directions
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _scenario(result: SweepResult, index: int) -> str:
    words = in_words(result.sweep.points[index].settings)
    text = escape(dump_scenario(point_scenario(result, index)))
    return (
        f'<details id="point-{index}"><summary>Point {index}: {escape(words)}</summary>'
        f"<pre>{text}</pre></details>"
    )
