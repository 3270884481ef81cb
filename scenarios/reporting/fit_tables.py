"""Tables of a market fitted to a log, and of a backtest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import cell, scorer_name

if TYPE_CHECKING:
    from scenarios.fitting.backtest import Backtest
    from scenarios.fitting.market import FittedMarket

_PART = "part "


def fit_table(fitted: FittedMarket) -> Section:
    """One row for each estimate; the parts of the day are in fit.json."""
    rows, last = [], ""
    for one in fitted.findings:
        if one.station == "arrivals" and one.name.startswith(_PART):
            continue
        figures = [cell(value, _figure) for value in (one.value, one.low, one.high)]
        rows.append(["" if one.station == last else one.station, one.name, one.says, *figures])
        last = one.station
    title = f"{fitted.log.table.path}: a market fitted to {fitted.log.cluster.size:,} query events"
    note = "from, to: 95% interval, where the log has one; - not identified, or no interval"
    if fitted.put_back:
        note += f"\n{fitted.put_back:,} candidates put back that had run out of budget"
    note = "\n".join([note, *(f"warning: {text}" for text in fitted.warnings)])
    return section(title, ["station", "estimate", "rests on", "value", "from", "to"], rows, note, left=3)


def backtest_table(found: Backtest) -> Section:
    """One row for each figure of the second part."""
    rows = [
        [
            one.figure,
            *(_figure(value) for value in (one.predicted, one.low, one.high, one.observed)),
            "yes" if one.covered else "NO",
        ]
        for one in found.predictions
    ]
    hits = sum(one.covered for one in found.predictions)
    way = found.ranking.way
    title = (
        f"{found.second:,} query events predicted from {found.first:,} before: {hits} of "
        f"{len(found.predictions)} figures covered"
    )
    note = (
        f"from, to: 95% prediction interval of {found.draws} draws; predicted: their median;\n"
        f"second part ranked by {scorer_name(way.scorer)}, {way.rule}, reserve "
        f"{found.ranking.auction.reserve:g}, {found.ranking.auction.mechanism}"
    )
    note = "\n".join([note, *(f"warning: {text}" for text in found.warnings)])
    return section(title, ["figure", "predicted", "from", "to", "observed", "covered"], rows, note)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
