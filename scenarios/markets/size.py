"""What a scenario needs of the machine, so that what cannot run is refused before the work."""

from __future__ import annotations

import os

import psutil

from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from simulator.world.world_config import WorldConfig

INSIST = "RELBID_INSIST"
"""The environment variable that lets everything through; `relbid --insist` sets it."""
BYTES_A_QUERY = 60
"""At least so many bytes are held of each arrival: its time, query, user, session, and what the log says."""
BYTES_A_PAIR = 30
"""At least so many are held of each pair of a query and a candidate: ad, grade, click rate, relevance."""
MOST_AUCTIONED = 10**12
"""Candidates of all auctions of a simulation; at some ten million a second that is a day."""
MOST_TICKS = 10**9
"""Ticks of a simulation times advertisers."""
REMEDY = "take fewer, or insist with relbid --insist"


def check_size(scenario: Scenario) -> None:
    """Refuse a scenario that no machine runs, or not this one.

    Raises:
        ScenarioError: names the fields, what they need, and what there is.
    """
    if os.environ.get(INSIST):
        return
    traffic, candidates = scenario.traffic, scenario.retrieval.candidates
    days = traffic.days + traffic.warm_up_days
    queries = days * traffic.n_queries
    sizes = f"days {days:,} x queries {traffic.n_queries:,}"
    pairs = scenario.world.query_pool * candidates if scenario.market.kind == "world" else 0
    held, there = queries * BYTES_A_QUERY + pairs * BYTES_A_PAIR, psutil.virtual_memory().total
    if held > there:
        parts = sizes if queries * BYTES_A_QUERY > pairs * BYTES_A_PAIR else f"{pairs:,} pairs"
        raise _too_large(scenario, "traffic.n_queries", f"{parts} needs at least {_gib(held)} of memory, "
                         f"this machine has {_gib(there)}")  # fmt: skip
    if queries * candidates > MOST_AUCTIONED:
        needs = f"{sizes} x candidates {candidates:,} is {queries * candidates:,} bids to rank"
        raise _too_large(scenario, "traffic.days", f"{needs}, at most {MOST_AUCTIONED:,}")
    ticks = days * traffic.horizon_s / scenario.bidders.pacing_tick_s
    advertisers = _advertisers(scenario.world)
    if ticks * advertisers > MOST_TICKS:
        needs = f"{ticks:,.0f} ticks of {advertisers:,} advertisers is {ticks * advertisers:,.0f} steps"
        raise _too_large(scenario, "bidders.pacing_tick_s", f"{needs}, at most {MOST_TICKS:,}")


def _advertisers(world: WorldConfig) -> int:
    return max(world.test_advertisers, world.validation_advertisers)


def _gib(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB"


def _too_large(scenario: Scenario, field: str, reason: str) -> ScenarioError:
    return ScenarioError(reason, file=scenario.place, field=field, remedy=REMEDY)
