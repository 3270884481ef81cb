"""The shipped scenario of four weeks, on a small world."""

from pathlib import Path

import numpy as np
import pytest

import scenarios
from scenarios import load_scenario, prepare, relevance_of, simulate

SMALL = [
    "world.test_advertisers=36",
    "world.ads_per_advertiser=4",
    "traffic.warm_up_days=0",
    "world.query_pool=3000",
    "retrieval.candidates=12",
    "scorer=oracle",
    "traffic.n_queries=600",
    "traffic.days=10",
    "traffic.sessions.population=300",
    "bidders.pacing_tick_s=21600",
    "fusion.relevance=1",
]


@pytest.fixture(scope="module")
def small(tiny_cache):
    prepared = prepare(
        load_scenario(Path(scenarios.__file__).parent / "retention.yaml", SMALL), cache=tiny_cache
    )
    return prepared, {name: relevance_of(prepared, name) for name in ("none", "oracle")}


def logs(small, settings):
    prepared, relevances = small
    return {name: simulate(prepared, relevance, settings).log for name, relevance in relevances.items()}


def test_irrelevant_ads_cost_traffic(small):
    came = logs(small, {"users.return_elasticity": 20.0})
    first = {name: log.arrival_s < 86_400.0 for name, log in came.items()}
    assert np.array_equal(*(came[name].arrival[first[name]] for name in came)), "nobody has seen anything yet"
    assert came["none"].grade.mean() < came["oracle"].grade.mean()
    assert came["none"].arrival.size < 0.98 * came["oracle"].arrival.size


def test_without_elasticity_everybody_comes_on_the_same_days(small):
    came = logs(small, {"users.return_elasticity": 0.0})
    assert np.array_equal(came["none"].arrival, came["oracle"].arrival)
    assert 0.7 < came["none"].arrival.size / (600 * 10) < 0.8  # return_rate
