"""Every scenario that is shipped, on a small day: it runs, its books balance, batches change nothing."""

from pathlib import Path

import numpy as np
import pytest

import scenarios
from scenarios import load_scenario, prepare, relevance_of, simulate
from scenarios.corpora.own import import_corpus
from simulator.arrays import MICROS
from tests.scenarios.miniature import write_clone

SHIPPED = sorted(Path(scenarios.__file__).parent.glob("*.yaml"))
SMALL = ["world.test_advertisers=36", "world.query_pool=3000", "retrieval.candidates=12", "scorer=oracle"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_books_balance_and_batches_change_nothing(path: Path, tmp_path: Path) -> None:
    small = SMALL
    if path.stem == "chorus":  # its data is not shipped
        import_corpus(write_clone(tmp_path / "clone"), tmp_path / "corpus")
        small = [f"market.folder={tmp_path / 'corpus'}", "scorer=oracle"]
    traffic = load_scenario(path, small).traffic
    n_queries = min(traffic.n_queries, 1500 // traffic.days)
    scenario = load_scenario(path, [*small, f"traffic.n_queries={n_queries}"])
    prepared = prepare(scenario, cache=tmp_path)
    ranked = relevance_of(prepared, "oracle")
    simulation = simulate(prepared, ranked)
    log = simulation.log
    by_advertiser = np.zeros_like(log.spent_micros)
    np.add.at(by_advertiser, log.advertiser, log.charged_micros)
    assert (by_advertiser == log.spent_micros).all()
    assert (log.spent_micros <= log.budget_micros).all()
    assert round(simulation.metrics["revenue"] * MICROS) == log.charged_micros.sum() > 0
    if scenario.serving.instant:
        for size in (1, 64, 4096):
            other = simulate(prepared, ranked, {"serving.batch_size": size}).log
            assert other.impressions().equals(log.impressions())
            assert other.queries().equals(log.queries())
