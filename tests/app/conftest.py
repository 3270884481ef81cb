"""A small stored result for the dashboard's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import DEFAULT_SCENARIO, Scenario, load_scenario, run_scenario, write_result

TINY = [
    "name=tiny",
    "scorer=oracle",
    "compare=[none,bm25,oracle]",
    "sweep.scorers=[bm25,oracle]",
    "sweep.values=[0.5,1.0,2.0]",
    "traffic.n_queries=2000",
    "world.test_advertisers=60",
    "world.ads_per_advertiser=5",
    "world.query_pool=4000",
    "world.frame_size=24",
    "world.glyph_min=16",
    "world.glyph_max=20",
]


@pytest.fixture(scope="session")
def tiny_scenario() -> Scenario:
    return load_scenario(DEFAULT_SCENARIO, TINY)


@pytest.fixture(scope="session")
def results(tiny_scenario: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder that holds one result."""
    root = tmp_path_factory.mktemp("results")
    run = run_scenario(tiny_scenario, cache=root)
    write_result(root, tiny_scenario, run.metrics, run.points, run.log)
    return root
