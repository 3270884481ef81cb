"""An example of a table of auctions, made by the simulator, so that the truth behind it is known."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from relevance.lexical import Bm25Scorer
from relevance.oracle import GRADE_GAIN
from scenarios.config.load import override
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError, TableError
from scenarios.markets.loading import load_scenario
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import prepare, rule_of
from scenarios.markets.table.columns import is_relevance
from scenarios.markets.table.rows import check_kind, column_names
from scenarios.models.judged import corpus_of, needs_corpus
from scenarios.storage.parquet import write_parquet
from scenarios.storage.tables import LINES, PARQUET
from scenarios.storage.whole import check_file_place, whole_path
from simulator import random
from simulator.arrays import MICROS, BoolArray, FloatArray
from simulator.bidders import BidderModel
from simulator.clock.engine import simulate
from simulator.fusion import FusionRule, Product
from simulator.ledger import UNLIMITED
from simulator.log import SimulationLog
from simulator.market import Market, TrafficModel, build_market, retrieve_candidates, with_settings
from simulator.pctr import CtrModel
from simulator.scoring import score_candidates
from simulator.users import UserModel
from simulator.world import WorldConfig, build_world

WORLD = WorldConfig(test_advertisers=400, query_pool=10_000)
CANDIDATES = 10
BID_SIGMA = 0.3
"""Spread of log bids between the auctions of an ad: so a pair of query and ad is seen in several slots."""


class Names(NamedTuple):
    """What the owner of a corpus calls its ads and advertisers, and which grades of pairs a person gave."""

    ad: tuple[str, ...]
    advertiser: tuple[str, ...]
    judged: BoolArray  # [U, K]


@dataclass(frozen=True, slots=True)
class Example:
    """A small market whose ads bid anew in each auction, ranked with the first relevance, and its log."""

    market: Market
    """Each event its own query, each candidate its own ad; budgets without limit."""
    relevance: dict[str, FloatArray]
    """[U, K] by name."""
    owner: np.ndarray
    """I[A] the ad of the world that an ad of the market is."""
    query_text: tuple[str, ...]
    log: SimulationLog
    names: Names | None = None
    """Of a corpus; None: numbers are the names, and all grades are known."""


def make_example(
    n_queries: int,
    *,
    seed: int = 1,
    ctr: CtrModel | None = None,
    rule: FusionRule | None = None,
    users: UserModel | None = None,
    days: int = 1,
) -> Example:
    """Simulate days of a small market in which advertisers change their bids from auction to auction.

    Each of the days has `n_queries` queries.

    Two scores come with it: BM25, and "model", a stand-in for a neural one: the grade's gain, blurred.
    """
    world = build_world(WORLD, "test", draw=False)
    found = retrieve_candidates(world, CANDIDATES)
    candidate = found.ad
    base = build_market(
        world,
        found,
        np.ones(candidate.shape),
        seed=seed,
        traffic=TrafficModel(n_queries=n_queries, days=days),
        bidder_model=BidderModel(paced_share=0.0),
        ctr_model=ctr,
        users_model=users,
    )
    asked = candidate[base.query]
    blur = random.pair_normals(seed, "blur", base.query[:, None], asked)
    gain = np.asarray(GRADE_GAIN)[base.grade[base.query]]
    scores = {
        "bm25": score_candidates(Bm25Scorer(world.corpus), candidate)[base.query],
        "model": np.where(asked >= 0, np.clip(gain + 0.15 * blur, 0.0, 1.0).round(4), 0.0),
    }
    return _bid_anew(base, scores, world.corpus.query_text, "model", seed=seed, rule=rule)


def corpus_example(scenario: Scenario, n_queries: int, *, cache: Path | None = None) -> Example:
    """The auctions of a corpus, each at bids of its own, ranked by the scenario's scorer.

    Relevance comes of each scorer that the scenario compares. The prediction of clicks is a signal, since
    none has been learnt before the first query.

    Raises:
        ScenarioError: the market is no corpus.
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    needs_corpus(scenario)
    plain = {
        "traffic.n_queries": n_queries,
        "traffic.warm_up_days": 0,
        "pctr": {"kind": "signal"},
        "bidders.paced_share": 0.0,
        "serving.scoring": "table",
    }
    scenario = override(scenario, plain)
    prepared = prepare(scenario, cache=cache)
    source = corpus_of(prepared)
    base = source.market(prepared.found, np.ones(prepared.candidate.shape), scenario, rule_of(scenario))
    names = [name for name in dict.fromkeys((scenario.scorer, *scenario.compare)) if name not in GIVEN]
    scores = {name: relevance_of(prepared, name, cache=cache).table[base.query] for name in names}
    if not scores:
        raise ScenarioError("has no scorer besides none and oracle", file=scenario.place, field="compare")
    rule, text = rule_of(scenario), source.corpus.query_text
    example = _bid_anew(base, scores, text, names[0], seed=scenario.seed, rule=rule)
    asked = base.candidate[base.query]
    judged = source.pairs.judged(base.query[:, None], asked)
    return replace(example, names=Names(source.corpus.ad_ids(), source.owners.names, judged))


GIVEN = ("none", "oracle")
"""Scorers that every table of auctions has; see `scenarios.markets.table.auctions`."""


def _bid_anew(
    base: Market,
    scores: dict[str, FloatArray],
    query_text: Sequence[str],
    ranked_by: str,
    *,
    seed: int,
    rule: FusionRule | None,
) -> Example:
    """A market whose every arrival is a query of its own, with bids of its own, and its log.

    Args:
        scores: F[Q, K] of the arrivals by name, of which `ranked_by` ranks.
    """
    asked = base.candidate[base.query]
    met = asked >= 0
    bid = (
        base.bidders.shading
        * base.value[asked]
        * np.exp(BID_SIGMA * random.normals(seed, "bid of an auction", 0, *asked.shape))
    )
    bid = np.maximum(np.round(bid, 2), 0.01)
    column = np.where(met, np.cumsum(met).reshape(met.shape) - 1, -1)
    market = with_settings(
        base,
        candidate=column,
        grade=base.grade[base.query],
        attraction=base.attraction[base.query],
        pctr=base.pctr[base.query],
        recall=base.recall[base.query],
        relevance=scores[ranked_by],
        advertiser=base.advertiser[asked[met]],
        value=bid[met] / base.bidders.shading,
        budget_micros=np.full_like(base.budget_micros, UNLIMITED),
        query=np.arange(base.query.size),
        query_category=None,
        rule=rule or Product(),
        judged=None,
    )
    texts = tuple(query_text[query] for query in base.query)
    return Example(market, scores, asked[met], texts, simulate(market))


def as_table(example: Example) -> pl.DataFrame:
    """The rows of an example, as `scenarios.markets.table.columns` describes them."""
    market, log = example.market, example.log
    event, column = np.nonzero(market.candidate >= 0)
    ad = market.candidate[event, column]
    shown = pl.DataFrame(
        {
            "_ad": log.ad,
            "position": log.slot + 1,
            "clicked": log.clicked,
            "price": log.price_micros / MICROS,
        }
    )
    rows = pl.DataFrame(
        {
            "_ad": ad,
            "query_id": event + 1,
            "time_s": market.arrival_s[event].round(3),
            "query": [example.query_text[row] for row in event],
            "ad_id": example.owner[ad],
            "advertiser_id": market.advertiser[ad],
            "bid": (market.value[ad] * market.bidders.shading).round(6),
            "pctr": market.pctr[event, column],
            **{f"relevance_{name}": score[event, column] for name, score in example.relevance.items()},
            "grade": market.grade[event, column],
        }
    )
    if (names := example.names) is not None:
        rows = rows.with_columns(
            pl.Series("ad_id", [names.ad[i] for i in example.owner[ad].tolist()], dtype=pl.String),
            pl.Series("advertiser_id", [names.advertiser[i] for i in market.advertiser[ad].tolist()]),
            grade=pl.when(pl.Series(names.judged[event, column])).then("grade"),
        )
    return rows.join(shown, on="_ad", how="left", maintain_order="left").drop("_ad")


COLUMNS = (
    "query_id", "time_s", "query", "ad_id", "advertiser_id", "bid", "pctr", "grade", "position", "clicked",
    "price",
)  # fmt: skip
"""Of an example, besides relevance, in their order: by it an example is told from a table of the user's."""


def _check_example(path: Path) -> None:
    """Refuse to write over a file that is no example.

    Raises:
        TableError: names it.
    """
    if path.is_file() and path.stat().st_size:
        with contextlib.suppress(TableError):
            if tuple(name for name in column_names(path) if not is_relevance(name)) == COLUMNS:
                return
        raise TableError("is there, and is no example", file=path, remedy="name another file")


def write_example(
    path: Path,
    *,
    n_rows: int = 1000,
    seed: int = 1,
    days: int = 1,
    file: Path | None = None,
    cache: Path | None = None,
) -> int:
    """Write at most `n_rows` rows of an example, whole events only; returns how many rows that are.

    The name of the file decides between Parquet and JSON lines.

    Args:
        days: over which they are spread; a scenario with a corpus has one.
        file: a scenario with a corpus, whose auctions these are; None: the embedded world's.
        cache: the results folder, under which scores of a corpus are kept.

    Raises:
        ScenarioError: the scenario has no corpus.
        TableError: the name says neither, or a file is there that is no example.
        StoreError: it cannot be written.
    """
    check_kind(path)
    if file is not None and file.suffix.lower() in (*LINES, *PARQUET):
        raise TableError("is a table already", file=file, remedy="give --example a scenario, or no file")
    check_file_place(path)
    _check_example(path)
    n_queries = 60 + n_rows // 3
    if file is None:
        table = as_table(make_example(-(-n_queries // days), seed=seed, days=days))
    else:
        table = as_table(corpus_example(load_scenario(file, seed=seed), n_queries, cache=cache))
    sizes = table.group_by("query_id", maintain_order=True).len()
    kept, left = [], n_rows
    for query_id, size in sizes.iter_rows():  # an event that does not fit is left out
        if size <= left:
            kept.append(query_id)
            left -= size
    table = table.filter(pl.col("query_id").is_in(kept))
    with whole_path(path) as part:
        if path.suffix.lower() in LINES:
            table.write_ndjson(part)
        else:
            write_parquet(table, part)
    return table.height
