"""The designs of an experiment, on markets: who is treated how, and what happens in each arm.

The truth of a market is what would be if all of it were treated one way against all of it the other way.
Simulating both with the same arrivals, values, budgets and uniforms (common random numbers) measures that. A
platform cannot run its market twice, so it splits. In `query_split` both arms draw on the same budgets, so an
arm that sells more leaves less for the other. `budget_split` gives each arm its own part of every budget and
removes that interference (Liu, Mao and Kang 2020, "Trustworthy online marketplace experimentation with
budget-split design").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from simulator import random
from simulator.arrays import BoolArray, IntArray
from simulator.clock.engine import simulate
from simulator.log import SimulationLog
from simulator.market import Market, warm_up_seed
from simulator.measures.market_metrics import market_metrics, with_rates
from simulator.measures.query_totals import QueryTotals, query_totals
from simulator.pairs import Known, PairTables


def metrics_of(log: SimulationLog, market: Market) -> dict[str, float]:
    """The metrics of `simulator.measures.market_metrics`, and its totals per thousand queries."""
    return with_rates(market_metrics(log, market))


@dataclass(frozen=True, slots=True)
class ArmRun:
    """What happened to the queries of one arm."""

    metrics: dict[str, float]
    log: SimulationLog
    market: Market
    n_queries: int
    """Distinct queries of the whole market."""

    def queries(self) -> QueryTotals:
        """What each distinct query brought."""
        return query_totals(self.log, self.market, self.n_queries)


def full(market: Market) -> ArmRun:
    """A market that is all of one arm."""
    return _run(simulate(market), market, market.pairs.n_queries)


def _run(log: SimulationLog, market: Market, n_queries: int) -> ArmRun:
    return ArmRun(metrics_of(log, market), log, market, n_queries)


def arm_of_arrival(market: Market, n_arms: int) -> IntArray:
    """The arm I[Q] that each arrival falls to, by a keyed coin."""
    return _arms(market.seed, market.query.size, n_arms)


def _arms(seed: int, n: int, n_arms: int) -> IntArray:
    coin = random.uniforms(seed, "arm", 0, n, 1)[:, 0]
    return np.minimum((coin * n_arms).astype(np.int64), n_arms - 1)


def query_split(markets: Sequence[Market]) -> list[ArmRun]:
    """One market whose queries fall to arms, each ranked by its arm's relevance and rule.

    The markets have tables of their pairs, and differ in relevance and rule alone. Advertisers know nothing
    of it: one budget and one bid serve all arms.
    """
    first, n_arms = markets[0], len(markets)
    arm, n_queries = arm_of_arrival(first, n_arms), first.pairs.n_queries
    tables = [market.tables for market in markets]
    pairs = PairTables(*(np.concatenate([getattr(one, name) for one in tables]) for name in Known._fields))
    stacked: dict[str, Any] = {
        name: np.concatenate([getattr(market, name) for market in markets])
        for name in PER_QUERY
        if getattr(first, name) is not None
    }
    if (come := first.warm_up) is not None:
        before = _arms(warm_up_seed(first.seed), come.query.size, n_arms)
        stacked["warm_up"] = come._replace(query=come.query + n_queries * before, arm=before)
    if (past := first.past) is not None and past.prediction is not None:
        known = past.prediction.of_queries(np.tile(np.arange(n_queries), n_arms))
        stacked["past"] = past._replace(prediction=known)
    market = replace(
        first,
        **stacked,
        pairs=pairs,
        query=first.query + n_queries * arm,
        arm=arm,
        other_rules=tuple(market.rule for market in markets[1:]),
    )
    log = simulate(market)
    return [_run(*of_arrivals(log, market, arm == place), n_queries) for place in range(n_arms)]


PER_QUERY = ("relevance", "query_category", "fallback_relevance", "first_stage_relevance")
PER_ARRIVAL = ("arrival_s", "query", "user", "arm")
"""Fields of a market with one row per distinct query, and per arrival; None where it has none."""


def budget_split(markets: Sequence[Market]) -> list[ArmRun]:
    """A market for each arm, with its queries and its equal part of every budget."""
    n_arms, found = len(markets), []
    arm, come = arm_of_arrival(markets[0], n_arms), markets[0].warm_up
    for place, whole in enumerate(markets):
        part = _only(whole, arm == place)
        if come is not None:
            before = _arms(warm_up_seed(whole.seed), come.query.size, n_arms)
            part = replace(part, warm_up=come.some(before == place))
        found.append(full(replace(part, budget_micros=whole.budget_micros // n_arms)))
    return found


def of_arrivals(log: SimulationLog, market: Market, which: BoolArray) -> tuple[SimulationLog, Market]:
    """The part of a log, and of its market, that belongs to some of the arrivals B[Q]."""
    names = [field.name for field in fields(log)]
    per_query, per_account = names.index("arrival"), names.index("budget_micros")
    kept = which[log.arrival]
    place = np.cumsum(which) - 1
    shown = which[log.query_index]
    part = replace(
        log,
        **{name: getattr(log, name)[shown] for name in names[:per_query]},
        **{name: getattr(log, name)[kept] for name in names[per_query:per_account]},
    )
    part = replace(part, query_index=place[part.query_index], arrival=place[part.arrival])
    return part, _only(market, which)


def _only(market: Market, which: BoolArray) -> Market:
    """The market with some of its arrivals B[Q]."""
    kept: dict[str, Any] = {
        name: getattr(market, name)[which] for name in PER_ARRIVAL if getattr(market, name) is not None
    }
    return replace(market, **kept)
