"""A scenario's market through a day: prepare it once, simulate it as often as asked.

prepare       source and candidates: what no sweep changes
relevance_of  a scorer's relevance of every pair that can meet (scoring)
simulate      the market of a scenario through a day: metrics and log
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from relevance.errors import PluginError
from scenarios.config.load import override
from scenarios.config.scenario import PREPARED, Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress, stage_of
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.registry import source_of
from scenarios.markets.scoring import relevance_of
from scenarios.markets.size import check_size
from simulator.arrays import MICROS as MICROS
from simulator.auction import check_vcg
from simulator.clock import engine
from simulator.fusion import FusionRule, Product
from simulator.log import SimulationLog, Sink, both
from simulator.market import Market, Past, with_settings
from simulator.measures.market_metrics import (
    METRICS as METRICS,
    Totals,
    is_share as is_share,
    market_metrics,
)
from simulator.scoring import RelevanceSource
from simulator.serving import FALLBACK as FALLBACK


@dataclass(frozen=True, slots=True)
class Simulation:
    """One run of a market."""

    market: Market
    log: SimulationLog
    metrics: dict[str, float]


def prepare(scenario: Scenario, *, cache: Path | None = None, progress: Progress | None = None) -> Prepared:
    """Read or build a scenario's market and find every query's candidates.

    Args:
        cache: the results folder, under which key frames and scores are kept; None makes them anew.

    Raises:
        PluginError: your own fusion rule cannot be loaded, or is not fit for an auction.
        ScenarioError: it needs more than this machine has.
        StoreError: the cache cannot be written.
        TableError: the table of auctions that it names cannot be read, or holds what no auction can.
    """
    check_size(scenario)
    rule_of(scenario)  # before the work, not after
    source = source_of(scenario).read(scenario, cache, progress)
    prepared = Prepared(scenario, source)
    if scenario.serving.scoring == "table":
        _ = prepared.found  # what cannot be found is refused here

    def score(scorer: str) -> Relevance:
        return relevance_of(prepared, scorer, cache=cache, progress=progress)

    cheap = {name: score(name).score for name in scenario.serving.cheap_scorers}
    return replace(prepared, cheap=cheap)


def with_tables(prepared: Prepared, *, cache: Path | None = None) -> Prepared:
    """The same market with all pairs scored beforehand, for whoever looks at single auctions.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    if prepared.scenario.serving.scoring == "table":
        return prepared
    fields = {"serving.scoring": "table", "serving.clock": "profile"}
    prepared = replace(prepared, scenario=override(prepared.scenario, fields), cheap={})
    names = prepared.scenario.serving.cheap_scorers
    cheap = {name: relevance_of(prepared, name, cache=cache).score for name in names}
    return replace(prepared, cheap=cheap)


def frames_kept(scenario: Scenario, cache: Path) -> bool:
    """Whether `prepare` finds on disk what takes long to make, such as key frames."""
    return source_of(scenario).is_kept(scenario, cache)


def simulate(
    prepared: Prepared,
    relevance: Relevance,
    settings: Mapping[str, object] | None = None,
    *,
    n_queries: int | None = None,
    sink: Sink | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Simulation:
    """Run the prepared market with a scorer's relevance.

    Args:
        settings: fields to replace in the scenario, e.g. `{"fusion.relevance": 2.0}`.
        n_queries: simulate an even sample of this many of the day's queries, with budgets scaled down alike;
            a preview.
        sink: takes the log's shown ads in parts (see `simulator.log.Sink`), and none are kept in memory.
        clock: a time in seconds, read where `serving.clock` is measured.

    Raises:
        ScenarioError: a field does not exist, refuses its value, or would need another world (see PREPARED).
    """
    market = market_of(prepared, relevance, with_settings_of(prepared, settings))
    if n_queries is not None:
        market = thin(market, n_queries)
    return simulate_market(prepared, market, sink=sink, progress=progress, clock=clock)


def with_settings_of(prepared: Prepared, settings: Mapping[str, object] | None) -> Scenario:
    """The prepared scenario with other settings, which must not need another preparation.

    Raises:
        ScenarioError: see `simulate`.
    """
    return override(prepared.scenario, settings, fixed=PREPARED) if settings else prepared.scenario


def simulate_market(
    prepared: Prepared,
    market: Market,
    *,
    sink: Sink | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Simulation:
    """Run a market that `market_of` has made; see `simulate`."""
    stage = stage_of(progress, "simulating the day")
    if sink is None:
        log = engine.simulate(market, stage, clock=clock)
        metrics = market_metrics(log, market)
    else:
        totals = Totals(market)
        log = engine.simulate(market, stage, both(totals.add, sink), clock=clock)
        metrics = totals.metrics(log)
    return Simulation(market, log, prepared.source.known(metrics))


def market_of(prepared: Prepared, relevance: Relevance, scenario: Scenario | None = None) -> Market:
    """The market of a scenario on what was prepared.

    Raises:
        ScenarioError: it names other scorers in serving than were prepared.
    """
    check_size(prepared.scenario if scenario is None else scenario)
    scenario = scenario or prepared.scenario
    live = scenario.serving.scoring == "live"
    if live != (prepared.scenario.serving.scoring == "live"):
        raise _fixed_before(scenario, "serving.scoring", "is decided")
    candidate = scenario.retrieval.candidates if live else prepared.found
    market = prepared.source.market(candidate, relevance.score, scenario, rule_of(scenario))
    market = with_settings(
        market,
        fallback_relevance=_cheap(prepared, scenario, "fallback"),
        first_stage_relevance=_cheap(prepared, scenario, "first_stage"),
    )
    return with_settings(market, past=shared_past(prepared, scenario)) if market.ctr.shared else market


def shared_past(prepared: Prepared, scenario: Scenario) -> Past | None:
    """What comes of a scenario's warm-up if its pages are ranked by bid x pCTR; None if it has none.

    The same for all rules and scorers, so it is simulated once and kept with what was prepared.
    """
    plain: dict[str, Any] = {name: Scenario.model_fields[name].default for name in NOT_OF_THE_WARM_UP}
    key = scenario.model_copy(update={**plain, "name": "warm-up"}).text
    if key not in prepared.pasts:
        live = scenario.serving.scoring == "live"
        candidate = scenario.retrieval.candidates if live else prepared.found
        market = prepared.source.market(candidate, None, scenario, Product())
        if market.warm_up is None:
            return None
        while len(prepared.pasts) >= PASTS_KEPT:
            del prepared.pasts[next(iter(prepared.pasts))]
        prepared.pasts[key] = engine.past_of(market, reference=True)
    return prepared.pasts[key]


NOT_OF_THE_WARM_UP = ("scorer", "hcmrm", "fusion", "serving", "compare", "sweep")
"""Blocks that the warm-up of `shared_past` does not look at."""
PASTS_KEPT = 4


def rule_of(scenario: Scenario) -> FusionRule:
    """The fusion rule of a scenario.

    Raises:
        PluginError: your own rule cannot be loaded, or is not fit for an auction.
        ScenarioError: VCG is asked for and your own rule is not affine in the bid.
    """
    try:
        rule = scenario.fusion.build()
    except PluginError as error:
        raise PluginError(error, file=scenario.place, field="fusion") from error
    if scenario.auction.mechanism == "vcg":
        try:
            check_vcg(rule, scenario.users.examination)
        except ValueError as error:
            raise ScenarioError(str(error), file=scenario.place, field="auction.mechanism") from None
    return rule


def thin(market: Market, n_queries: int) -> Market:
    """An even sample of a market's arrivals, with budgets scaled down by the same factor.

    The warm-up is simulated whole: a click prediction that had learnt from a sample would be a worse one.

    Raises:
        ScenarioError: there is no query to take.
    """
    total = market.query.size
    if n_queries < 1:
        raise ScenarioError(f"must be at least 1, got {n_queries}", field="n_queries", remedy="take more")
    if n_queries >= total:
        return market
    kept = np.arange(n_queries) * total // n_queries
    return replace(
        engine.with_past(market),
        arrival_s=market.arrival_s[kept],
        query=market.query[kept],
        user=None if market.user is None else market.user[kept],
        arm=None if market.arm is None else market.arm[kept],
        budget_micros=market.budget_micros * n_queries // total,
    )


def _cheap(prepared: Prepared, scenario: Scenario, role: str) -> RelevanceSource:
    """Relevance by the scorer that serving names for a role; None where it names none."""
    name = getattr(scenario.serving, role)
    if name in scenario.serving.cheap_scorers and name not in prepared.cheap:
        raise _fixed_before(scenario, f"serving.{role}", "is scored")
    return prepared.cheap.get(name)


def _fixed_before(scenario: Scenario, field: str, happens: str) -> ScenarioError:
    reason, remedy = f"{happens} before a run", "set it in the scenario"
    return ScenarioError(reason, file=scenario.place, field=field, remedy=remedy)
