"""A small stored result for the dashboard's tests, and a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scenarios import DEFAULT_SCENARIO, Scenario, load_scenario, run_scenario, write_result
from tests.app import server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 120_000

# The figures of one world, those that `relbid run` gives, unless a test asks for more worlds.
os.environ.setdefault("RELBID_WORLDS", "1")
# Without the tour of newcomers.
os.environ.setdefault("RELBID_TOUR", "0")

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


def _missing() -> str | None:
    if find_spec("playwright") is None:
        return "playwright is not installed: pip install -e '.[browser]'"
    if server.chromium() is None:
        return "no chromium: apt-get install chromium"
    return None


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if reason := _missing():
        if os.environ.get("RELBID_REQUIRE_BROWSER") == "1":
            pytest.fail(f"RELBID_REQUIRE_BROWSER=1, but {reason}")
        pytest.skip(reason)
    with server.browser() as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    found = chromium.new_page(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    found.set_default_timeout(PATIENCE_MS)
    yield found
    found.close()
