"""A world small enough to build in a test, as a scenario file and prepared."""

from pathlib import Path

import pytest

from scenarios import load_scenario, prepare

TINY = """\
schema: 1
name: tiny
seed: 3
world:
  test_advertisers: 36
  ads_per_advertiser: 4
  query_pool: 3000
traffic: {n_queries: 2000}
retrieval: {candidates: 12}
scorer: oracle
compare: [none, bm25, oracle]
sweep: {values: [0.5, 1.0, 2.0], scorers: [bm25, oracle]}
"""


@pytest.fixture(scope="session")
def tiny_text() -> str:
    return TINY


@pytest.fixture
def tiny_file(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, tiny_cache):
    path = tmp_path_factory.mktemp("scenario") / "tiny.yaml"
    path.write_text(TINY)
    return prepare(load_scenario(path), cache=tiny_cache)
