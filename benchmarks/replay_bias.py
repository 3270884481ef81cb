"""How far the estimates of a replay are from the truth, on simulated logs with the default click prediction.

`python -m benchmarks.replay_bias` prints, for each way to rank and each estimator, the mean bias of the
revenue over several seeds in percent of the truth, with its standard error. The truth of a log is what the
pages of the new ranking earn in expectation: prices and slots as the simulator makes them, users' true click
rates.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import typer

from scenarios.markets.table.auctions import to_arrays
from scenarios.markets.table.reading import read_auctions
from scenarios.replay.example import Example, as_table, make_example
from scenarios.replay.replay_run import replay
from scenarios.replay.ways import Entry
from simulator.arrays import MICROS
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import Gate, Product
from simulator.market import with_relevance, with_rule
from simulator.users import UserModel

WAYS = (
    Entry("none", "product", Product(relevance=0.0)),
    Entry("bm25", "product", Product()),
    Entry("model", "product .5", Product(relevance=0.5)),
    Entry("model", "gate .5", Gate(threshold=0.5)),
)
KINDS = ("model", "fitted", "ips", "sn", "dr")
RESERVE = AuctionModel(reserve=0.05)
LOOKS = (1.0, 0.7, 0.5, 0.35)


def truth(example: Example, way: Entry) -> float:
    """Expected revenue of the pages that a way to rank makes of an example's auctions, in currency."""
    base = example.market
    scores = np.ones(base.candidate.shape) if way.scorer == "none" else example.relevance[way.scorer]
    market = with_rule(with_relevance(base, scores), way.fusion)
    log, met = simulate(market), market.candidate >= 0
    attraction = np.zeros(market.advertiser.size)
    attraction[market.candidate[met]] = market.attraction[met]
    looks = np.asarray(market.users.examination)
    return float((log.price_micros / MICROS * looks[log.slot] * attraction[log.ad]).sum())


def biases(
    seeds: Iterable[int],
    n_queries: int,
    examination: Sequence[float] | None = LOOKS,
    users: UserModel | None = None,
) -> pl.DataFrame:
    """Relative bias of each estimator's revenue, one row for each seed and way: seed, way and KINDS.

    Args:
        examination: given to the replay; None: it estimates that from the log.
        users: of the simulated logs; those who click often leave less noise in the bias.
    """
    rows = []
    for seed in seeds:
        example = make_example(n_queries, seed=seed, users=users)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            as_table(example).write_parquet(path)
            auctions = to_arrays(read_auctions(path))
        found = replay(auctions, WAYS, auction=RESERVE, examination=examination)
        for way, row in zip(WAYS, found.points.rows(named=True)[1:], strict=True):
            whole = truth(example, way)
            bias = {kind: row[f"revenue_{kind}"] / whole - 1.0 for kind in KINDS}
            rows.append({"seed": seed, "way": f"{way.scorer}, {way.rule}", **bias})
    return pl.DataFrame(rows)


def summary(table: pl.DataFrame) -> pl.DataFrame:
    """Mean bias and its standard error over the seeds, by way; `table` as of `biases`."""
    mean = [pl.col(kind).mean() for kind in KINDS]
    error = [(pl.col(kind).std() / pl.len().sqrt()).alias(f"{kind}_se") for kind in KINDS]
    return table.group_by("way", maintain_order=True).agg(*mean, *error)


def main(seeds: int = 8, queries: int = 6000, estimated: bool = False) -> None:
    """Print the bias over seeds 1 .. N; `estimated`: examination is estimated from each log."""
    table = summary(biases(range(1, seeds + 1), queries, None if estimated else LOOKS))
    print(f"bias of revenue in %, over {seeds} logs of {queries} queries")
    print(f"{'ranked by':<18}" + "".join(f"{kind:>16}" for kind in KINDS))
    for row in table.iter_rows(named=True):
        cells = (f"{100 * row[kind]:+.2f} +- {100 * row[kind + '_se']:.2f}" for kind in KINDS)
        print(f"{row['way']:<18}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    typer.run(main)
