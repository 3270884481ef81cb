"""How the default market compares with published figures of search advertising.

    python -m benchmarks.base_rates [--worlds 8] [--first-world 201] [--markdown]

Each row is a base rate of the default scenario, ranked without relevance: its mean over worlds, the lowest
and the highest world, the bounds that this project sets itself, and what was published. One day of each world
is simulated after its warm-up. No model is needed. Exit code 1 where a mean is out of its bounds.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from scenarios import DEFAULT_SCENARIO, load_scenario
from scenarios.markets.embedded import EmbeddedWorld
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import Simulation, simulate
from simulator.arrays import FloatArray
from simulator.measures.health import herfindahl, top_share
from simulator.retrieval import BROAD, RECALLS
from simulator.world import World, build_world


class Day(NamedTuple):
    """A simulated day of a world."""

    world: World
    run: Simulation

    @property
    def traffic(self) -> FloatArray:
        """The day's shares of the queries that came, F[n]."""
        came = np.bincount(self.run.log.arrival_query)
        return came[came > 0] / came.sum()

    def by_slot(self) -> FloatArray:
        """Clicks per impression of each slot, F[S]."""
        log = self.run.log
        shown = np.bincount(log.slot, minlength=self.run.market.n_slots)
        return np.bincount(log.slot[log.clicked], minlength=shown.size) / shown

    def of(self, recall: Callable[[FloatArray], FloatArray], column: FloatArray) -> float:
        """Mean of a column F[R] over the shown ads that were found in some way."""
        return float(column[recall(self.run.log.recall)].mean())


class Rate(NamedTuple):
    """A base rate, the bounds that it should keep, and what is known of platforms."""

    name: str
    of: Callable[[Day], float]
    low: float = -inf
    high: float = inf
    published: str = "no figure found"
    departs: str = ""
    digits: int = 3


def metric(name: str) -> Callable[[Day], float]:
    """A metric of the run."""
    return lambda day: day.run.metrics[name]


def worded(recall: FloatArray) -> FloatArray:
    """Found by the words of a keyword."""
    return recall <= BROAD


def expanded(recall: FloatArray) -> FloatArray:
    """Found by the platform's own broad match."""
    return recall > BROAD


RATES: tuple[Rate, ...] = (
    # Traffic
    Rate("largest share of a query", lambda d: float(d.traffic.max()), high=0.01, digits=4,
         published="the top 100 of US web search have 5.7% together (Hitwise 2008)"),
    Rate("largest share of a product", lambda d: float(np.bincount(
             d.world.truth.query_product[d.run.log.arrival_query]).max() / d.run.log.arrival.size),
         high=0.03, digits=4),
    Rate("effective number of queries", lambda d: float(1.0 / (d.traffic**2).sum()), low=2000, digits=0),
    Rate("distinct queries in a day", lambda d: d.traffic.size, low=20_000, digits=0,
         published="AOL 2006: 48% of 21 million queries are distinct; here of 100,000",
         departs="a shop's search has fewer wordings than the web's"),
    Rate("share of the 100 commonest queries", lambda d: float(np.sort(d.traffic)[::-1][:100].sum()),
         published="5.7% of US web search (Hitwise 2008)",
         departs="124 products make a narrower market than the web"),
    # Supply
    Rate("eligible ads a query", lambda d: float(d.run.log.n_eligible.mean()), 4.0, 6.0, digits=2,
         published="ads shown a commercial query: Google 5.7, Bing 3.9 (AdGooroo 2010)"),
    Rate("queries without an eligible ad", lambda d: float((d.run.log.n_eligible == 0).mean()), 0.01, 0.3,
         published="Google 47%, Yahoo 40% of all searches show none (comScore 2006)",
         departs="all queries here are for things to buy"),
    Rate("fill: shown ads / slots", metric("fill"), 0.55, 0.75),
    Rate("sold slots at the reserve", lambda d: float(
             (d.run.log.price_micros <= round(d.run.market.auction.reserve * 1e6)).mean()), low=0.10),
    Rate("price / bid", lambda d: float((d.run.log.price_micros / d.run.log.bid_micros).mean()), digits=2,
         published="none; reserve 10 cents at Yahoo before 2008 (Ostrovsky and Schwarz)"),
    # How ads are found
    *(Rate(f"impressions found by {name}", lambda d, n=number: float((d.run.log.recall == n).mean()))
      for number, name in enumerate(RECALLS)),
    Rate("impressions by broad match, the platform's own included", lambda d: float(
             (d.run.log.recall >= BROAD).mean()), 0.3, 0.7,
         published="57% (Bing 2012-13); clicks 42% (Marin, Q2 2011)"),
    Rate("CTR of broad match / CTR of the rest", lambda d: d.of(lambda r: r >= BROAD, d.run.log.clicked)
         / d.of(lambda r: r < BROAD, d.run.log.clicked), high=1.0, digits=2,
         published="0.57, computed from the figures of Bing 2012-13"),
    Rate("conversion of broad match / of exact", lambda d: conversion(d, lambda r: r >= BROAD)
         / conversion(d, lambda r: r == 0), high=1.0, digits=2,
         published="0.85 (Microsoft 2013)"),
    # Clicks
    Rate("CTR an impression", metric("ctr"),
         published="3.5% (WordStream 2020), 6.7% (2025)"),
    *(Rate(f"CTR of slot {slot + 1} / CTR of slot 1",
           lambda d, s=slot: float(d.by_slot()[s] / d.by_slot()[0]), digits=2,
           published=f"{was} (AccuraCast 2013, better ads are higher there)")
      for slot, was in ((1, ".42"), (2, ".31"), (3, ".30"))),
    Rate("queries with a click on an ad", lambda d: float(
             np.unique(d.run.log.query_index[d.run.log.clicked]).size / d.run.log.arrival.size),
         published="Google 11.8%, Yahoo 11.4% (comScore 2006); of those with ads 22%, 19%"),
    Rate("conversions a click", lambda d: d.run.metrics["conversions"] / d.run.metrics["clicks"],
         published="e-commerce 1.8% in the median account (WordStream 2014); all 7.5% (2025)"),
    # Relevance
    Rate("irrelevant ads, of shown ones", metric("irrelevant_share"), 0.10, 0.20,
         published="none as shown; 10% of the results judged in ESCI"),
    Rate("irrelevant ads found by the platform's own broad match", lambda d: float(
             expanded(d.run.log.recall)[d.run.log.grade == 0].mean()), low=0.5),
    Rate("irrelevant share of those", lambda d: d.of(expanded, d.run.log.grade == 0)),
    Rate("irrelevant share of the rest", lambda d: d.of(worded, d.run.log.grade == 0)),
    # The click prediction
    Rate("pCTR: AUC of clicks in a slot", metric("pctr_auc"),
         published="0.81 over all slots and users (KDD Cup 2012, the winner)",
         departs="within a slot, and of users who are all alike"),
    Rate("pCTR: expected clicks / clicks", metric("pctr_calibration"), 0.9, 1.1, digits=2,
         published="near 1 is wanted (He et al. 2014)"),
    Rate("pCTR read as relevance: AUC", metric("pctr_relevance_auc"), 0.6, 0.8),
    # Advertisers
    Rate("advertisers out of budget", metric("ran_out_share")),
    Rate("top ten advertisers' share of spend", lambda d: top_share(spend(d)),
         published="about 5% of Google's US revenue (June 2010)",
         departs="300 advertisers cannot be as many as a platform's"),
    Rate("concentration of spend (HHI)", lambda d: herfindahl(spend(d)), digits=4),
)  # fmt: skip


def conversion(day: Day, recall: Callable[[FloatArray], FloatArray]) -> float:
    """Conversions a click of the ads that were found in some way."""
    log = day.run.log
    clicked = log.clicked & recall(log.recall)
    return float(np.isfinite(log.conversion_s)[clicked].mean())


def spend(day: Day) -> FloatArray:
    """What each advertiser spent, micros I[N]."""
    return day.run.log.spent_micros


def days(worlds: Iterable[int], settings: Sequence[str] = ()) -> Iterator[Day]:
    """A day of each world, without key frames, which nothing here looks at."""
    for seed in worlds:
        own = [f"world.seed={seed}", "sweep=null", "compare=[none]", "scorer=none", *settings]
        scenario = load_scenario(DEFAULT_SCENARIO, own)
        world = build_world(scenario.world, scenario.split, draw=False)
        prepared = Prepared(scenario, EmbeddedWorld(world))
        yield Day(world, simulate(prepared, Relevance("none", np.ones(prepared.candidate.shape))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="base rates of the default market beside published ones")
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--first-world", type=int, default=201)
    parser.add_argument("--markdown", action="store_true", help="print a table for a document")
    arguments = parser.parse_args()
    worlds = range(arguments.first_world, arguments.first_world + arguments.worlds)
    found = np.array([[rate.of(day) for rate in RATES] for day in days(worlds)])
    outside = False
    rows = []
    for rate, values in zip(RATES, found.T, strict=True):
        mean = float(values.mean())
        inside = rate.low <= mean <= rate.high
        outside |= not inside
        asked = "" if rate.low == -inf and rate.high == inf else bounds(rate)
        published = f"{rate.published}; {rate.departs}" if rate.departs else rate.published
        shown = [f"{value:,.{rate.digits}f}" for value in (mean, values.min(), values.max())]
        rows.append(
            (rate.name, shown[0], f"{shown[1]} to {shown[2]}", asked + ("" if inside else " OUT"), published)
        )
    head = ("rate", "mean", "worlds", "bounds", "published")
    if arguments.markdown:
        print("\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows)))
    else:
        wide = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        print(
            "\n".join(
                "  ".join(cell.ljust(w) for cell, w in zip(row, wide, strict=True)).rstrip()
                for row in (head, *rows)
            )
        )
    print(f"\nworlds {worlds[0]} to {worlds[-1]}, one day of each, ranked without relevance")
    sys.exit(1 if outside else 0)


def bounds(rate: Rate) -> str:
    """The bounds in words."""
    if rate.low == -inf:
        return f"at most {rate.high:g}"
    return f"at least {rate.low:g}" if rate.high == inf else f"{rate.low:g} to {rate.high:g}"


if __name__ == "__main__":
    main()
