"""How often the 95% intervals of a backtest cover what came, on simulated logs.

`python -m benchmarks.backtest_coverage` makes logs of several days of the example's market, fits each log's
first days, predicts the last one, and prints for each figure the share of logs whose interval covers it, with
its standard error.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import typer

from scenarios.fitting.auction_log import AuctionLog, read_log
from scenarios.fitting.backtest import SPEND, backtest
from scenarios.fitting.market import fit_market
from scenarios.fitting.ranking import Ranking
from scenarios.markets.table.auctions import DAY_S
from scenarios.replay.example import Example, as_table, make_example
from scenarios.replay.ways import Entry
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import FusionRule, Gate, Product
from simulator.market import with_rule

LOOKS = (1.0, 0.7, 0.5, 0.35)
OWN = Entry("model", "product", Product())
OTHER = Entry("model", "gate 0.3", Gate(threshold=0.3))


def log_of_example(example: Example, rule: FusionRule | None = None) -> AuctionLog:
    """The log of an example, or of its market under another rule with the same users."""
    if rule is not None:
        market = with_rule(example.market, rule)
        example = Example(market, example.relevance, example.owner, example.query_text, simulate(market))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        as_table(example).write_parquet(path)
        return read_log(path)


def covered(
    seeds: Iterable[int], n_queries: int, *, days: int = 2, draws: int = 79, other_rule: bool = False
) -> pl.DataFrame:
    """One row for each seed and figure: seed, figure, predicted, low, high, observed, covered.

    Args:
        n_queries: in a day.
        other_rule: the last day was ranked by a gate, as in an A/B test.
    """
    rows = []
    for seed in seeds:
        example = make_example(n_queries, seed=seed, days=days)
        first, last = log_of_example(example).split((days - 1) * DAY_S)
        fitted = fit_market(first, examination=LOOKS, ways=[OWN], valued=False)
        ranked = None
        if other_rule:
            last = log_of_example(example, OTHER.fusion).split((days - 1) * DAY_S)[1]
            ranked = Ranking(OTHER, AuctionModel(reserve=fitted.ranking.auction.reserve))
        found = backtest(fitted, last, ranked=ranked, draws=draws, seed=seed)
        for number, one in enumerate(found.predictions):
            name = f"spend, number {number - _first_spend(found.predictions) + 1}"
            figure = name if one.figure.startswith(SPEND) else one.figure
            rows.append({"seed": seed, **one._asdict(), "figure": figure, "covered": one.covered})
    return pl.DataFrame(rows)


def _first_spend(predictions: Iterable[object]) -> int:
    names = [getattr(one, "figure", "") for one in predictions]
    return next((place for place, name in enumerate(names) if name.startswith(SPEND)), len(names))


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Logs, share covered with its standard error, and half the interval over the prediction, by figure."""
    half = (pl.col("high") - pl.col("low")) / 2.0 / pl.col("predicted")
    return table.group_by("figure", maintain_order=True).agg(
        pl.len().alias("logs"),
        pl.col("covered").mean().alias("share"),
        half.filter(half.is_finite()).median().alias("half_width"),
    )


def main(
    logs: int = 30,
    queries: int = 1000,
    days: int = 2,
    draws: int = 79,
    other_rule: bool = False,
    first_seed: int = 1,
) -> None:
    """Print the coverage over seeds from `first_seed` on; `other_rule`: the last day is ranked by a gate."""
    table = covered(
        range(first_seed, first_seed + logs), queries, days=days, draws=draws, other_rule=other_rule
    )
    print(f"coverage of 95% intervals, {logs} logs of {days} days with {queries} queries, {draws} draws")
    print(f"{'figure':<28}{'covered':>9}{'+-':>7}{'half width':>12}")
    for name, n, share, half in summary(table).iter_rows():
        error = np.sqrt(share * (1.0 - share) / n)
        width = "-" if half is None else f"{half:.0%}"
        print(f"{name:<28}{share:>9.1%}{error:>7.1%}{width:>12}")
    by_log = table.group_by("seed").agg(pl.col("covered").mean())["covered"].to_numpy()
    error = by_log.std(ddof=1) / np.sqrt(by_log.size) if by_log.size > 1 else np.nan
    print(f"{'all':<28}{by_log.mean():>9.1%}{error:>7.1%}")


if __name__ == "__main__":
    typer.run(main)
