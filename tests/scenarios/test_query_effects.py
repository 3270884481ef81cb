"""Which queries a difference rests on: totals by query, their parts, and the bootstrap over them."""

from dataclasses import replace

import numpy as np
import pytest

from scenarios import load_scenario, prepare, relevance_of
from scenarios.markets.simulation import market_of
from scenarios.studies.designs import full, query_split
from scenarios.studies.experiments.query_effects import QueryEffects
from simulator.measures.query_totals import COLUMNS, RATIOS, difference_parts, ratios
from simulator.users import UserModel

SCENARIO = """\
schema: 1
name: small
world: {test_advertisers: 36, ads_per_advertiser: 4, query_pool: 3000}
traffic: {n_queries: 400}
retrieval: {candidates: 12}
scorer: oracle
"""
METRICS = tuple(RATIOS)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.yaml"
    path.write_text(SCENARIO)
    return prepare(load_scenario(path))


def market(prepared, scorer="oracle", **users):
    scenario = prepared.scenario.model_copy(update={"users": replace(UserModel(), **users)})
    return market_of(prepared, relevance_of(prepared, scorer), scenario)


@pytest.mark.parametrize("click_model", ["position", "cascade"])
def test_the_totals_of_queries_give_the_metrics_of_the_run(prepared, click_model):
    run = full(market(prepared, click_model=click_model))
    table = run.queries().table(run.n_queries)
    assert table[:, COLUMNS.index("arrivals")].sum() == 400
    expected = [run.metrics[name] for name in METRICS]
    assert ratios(table.sum(axis=0), METRICS) == pytest.approx(expected, rel=1e-5)


def test_the_arms_of_a_split_number_their_queries_alike(prepared):
    one = market(prepared)
    halves = [run.queries().table(run.n_queries) for run in query_split([one, one])]
    whole = full(one).queries().table(one.pairs.n_queries)
    assert np.array_equal(sum(halves)[:, 0], whole[:, 0])


def test_parts_sum_to_the_difference_and_a_query_like_the_rest_has_none(prepared):
    a, b = (full(market(prepared, scorer)).queries().table(3000) for scorer in ("none", "oracle"))
    parts = difference_parts(a, b, METRICS)
    assert parts.sum(axis=0) == pytest.approx(ratios(b.sum(axis=0), METRICS) - ratios(a.sum(axis=0), METRICS))
    a = np.array([[10.0, 10, 5, 1, 0, 0, 0, 1, 1], [10.0, 10, 5, 1, 0, 0, 0, 1, 1]])
    b = np.array([[10.0, 10, 5, 1, 0, 0, 0, 1, 1], [10.0, 30, 0, 1, 0, 0, 0, 1, 1]])
    by_query = difference_parts(a, b, ("irrelevant_share",))[:, 0]
    assert by_query.sum() == pytest.approx(5 / 40 - 10 / 20)
    assert abs(by_query[1]) > 4 * abs(by_query[0])


def test_one_query_that_makes_the_difference_is_named_with_its_world():
    effects = QueryEffects("A", ("irrelevant_share", "spend_hhi"))
    for world in (1, 2):
        a = np.tile([10.0, 40, 1, 2, 0, 0, 0, 1, 1], (50, 1))
        b = a.copy()
        if world == 2:
            b[7, COLUMNS.index("irrelevant")] = 40
        effects.add(world, {("common", "A"): a, ("common", "B"): b}, [f"text {n}" for n in range(50)])
    assert effects.effective == pytest.approx(50)
    first, *others = effects.top("common", "B")
    assert (first["query"], first["world"], first["metric"]) == ("text 7", 2, "irrelevant_share")
    assert first["share"] == pytest.approx(1.0)
    assert all(abs(row["share"]) < 1e-9 for row in others)
    found = effects.interval("common", "B", "irrelevant_share", 0.95)
    # Once in e it does not come at all, so the lower end is nothing.
    assert found["queries_difference_low"] == 0.0
    assert found["queries_difference_high"] > 2 * 39 / (2 * 50 * 40)
    assert np.isnan(list(effects.interval("common", "B", "spend_hhi", 0.95).values())).all()


def test_the_bootstrap_over_queries_holds_the_rate_as_often_as_it_says():
    """2,500 queries, of which some are drawn one by one and some in groups."""
    rng, held, trials = np.random.default_rng(1), 0, 200
    for trial in range(trials):
        traffic = np.rint(rng.lognormal(1.0, 0.8, 2500)) + 1
        tables = {}
        for arm, rate in (("A", 0.10), ("B", 0.08)):
            table = np.zeros((2500, len(COLUMNS)))
            table[:, COLUMNS.index("arrivals")] = table[:, COLUMNS.index("shown")] = traffic
            own = np.clip(rng.normal(rate, 0.05, 2500), 0, 1)
            table[:, COLUMNS.index("irrelevant")] = rng.binomial(traffic.astype(int), own)
            tables["common", arm] = table
        effects = QueryEffects("A", ("irrelevant_share",))
        effects.add(trial, tables, [""] * 2500)
        found = effects.interval("common", "B", "irrelevant_share", 0.95)
        truth = TRUTH[1] - TRUTH[0]
        held += found["queries_difference_low"] <= truth <= found["queries_difference_high"]
    assert 0.90 <= held / trials <= 0.985


def _clipped_mean(rate):
    draws = np.random.default_rng(0).normal(rate, 0.05, 2_000_000)
    return float(np.clip(draws, 0, 1).mean())


TRUTH = _clipped_mean(0.10), _clipped_mean(0.08)
