"""A learnt click prediction in scenarios: the days before, what rankings share, designs of experiments."""

import pickle

import numpy as np
import pytest

from scenarios import load_scenario, override, prepare, relevance_of, simulate
from scenarios.errors import ScenarioError
from scenarios.markets import simulation as markets
from scenarios.markets.simulation import market_of, shared_past, thin
from scenarios.studies.designs import arm_of_arrival, budget_split, query_split
from simulator.arrays import MICROS
from simulator.clock import engine
from simulator.fusion import Product
from simulator.ledger import UNLIMITED
from simulator.market import with_rule, with_settings

LEARNT = {"pctr.kind": "learnt", "traffic.warm_up_days": 2}


@pytest.fixture
def learning(prepared):
    return prepare(override(prepared.scenario, LEARNT))


def test_what_is_shared_is_simulated_once_for_all_rankings(learning, monkeypatch):
    simulated = []
    monkeypatch.setattr(
        markets.engine, "past_of", lambda *a, **k: simulated.append(a) or engine_past_of(*a, **k)
    )
    shared = {"pctr.feedback": "shared"}
    seen = {}
    for scorer in ("none", "bm25", "oracle"):
        for exponent in (0.5, 2.0):
            settings = {**shared, "fusion.relevance": exponent}
            log = simulate(learning, relevance_of(learning, scorer), settings).log
            for pair, rate in zip(zip(log.query, log.ad, strict=True), log.pctr, strict=True):
                assert seen.setdefault(pair, rate) == rate
    assert len(simulated) == 1
    assert np.unique(list(seen.values())).size > 100
    for reserve in np.linspace(0.01, 0.1, 6):
        simulate(learning, relevance_of(learning, "none"), {**shared, "auction.reserve": float(reserve)})
    assert len(simulated) == 7
    assert len(learning.pasts) == markets.PASTS_KEPT


engine_past_of = engine.past_of


def test_own_predictions_follow_the_ranking(learning):
    logs = [simulate(learning, relevance_of(learning, scorer)).log for scorer in ("none", "oracle")]
    first, second = (dict(zip(zip(log.query, log.ad, strict=True), log.pctr, strict=True)) for log in logs)
    both = set(first) & set(second)
    assert sum(first[pair] != second[pair] for pair in both) > 0.9 * len(both) > 50


def test_budgets_do_not_depend_on_what_is_predicted(prepared, learning):
    relevance = relevance_of(prepared, "none")
    signal, learnt = market_of(prepared, relevance), market_of(learning, relevance)
    np.testing.assert_array_equal(signal.budget_micros, learnt.budget_micros)
    np.testing.assert_array_equal(signal.arrival_s, learnt.arrival_s)
    assert np.unique(learnt.pctr[learnt.candidate >= 0]).tolist() == [0.05]
    assert learnt.warm_up.query.size == 2 * 2000
    assert not np.array_equal(learnt.warm_up.query[:2000], learnt.query)


def test_a_prepared_market_gives_the_same_in_another_process(learning):
    relevance = relevance_of(learning, "bm25")
    other = pickle.loads(pickle.dumps(learning))
    for feedback in ("own", "shared"):
        settings = {"pctr.feedback": feedback}
        assert simulate(learning, relevance, settings).metrics == pytest.approx(
            simulate(other, relevance, settings).metrics, rel=0, nan_ok=True
        )


def test_relevance_can_be_a_feature(learning):
    relevance = relevance_of(learning, "oracle")
    plain, knowing = (
        simulate(learning, relevance, {"fusion.relevance": 0.0, "pctr.relevance": known}).metrics
        for known in (False, True)
    )
    assert knowing["pctr_relevance_auc"] > plain["pctr_relevance_auc"] + 0.1
    assert knowing["pctr_auc"] > plain["pctr_auc"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["pctr.feedback=shared", "traffic.warm_up_days=0"], "traffic.warm_up_days.*must be above 0"),
        (["pctr.feedback=shared", "pctr.relevance=true"], "pctr.relevance.*feedback is shared"),
        (
            ["pctr.relevance=true", "serving.first_stage=bm25", "serving.first_stage_keep=3"],
            "pctr.relevance.*first stage",
        ),
        (["traffic.warm_up_days=-1"], "traffic.warm_up_days"),
        (["pctr.kind=fitted"], "pctr.kind must be one of signal, learnt"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny_file, wrong, message):
    with pytest.raises(ScenarioError, match=message):
        load_scenario(tiny_file, [*(f"{name}={value}" for name, value in LEARNT.items()), *wrong])


def test_a_sample_of_the_day_has_learnt_from_the_whole_days_before(learning):
    market = market_of(learning, relevance_of(learning, "none"))
    sample = thin(market, 500)
    assert sample.query.size == 500
    learnt, whole = engine.simulate(sample), engine.simulate(market)
    auctions = whole.query_index == whole.query_index[0]
    first = learnt.query_index == whole.query_index[0]
    np.testing.assert_array_equal(learnt.pctr[first], whole.pctr[auctions])


def endless(learning, scorer, **settings):
    market = market_of(learning, relevance_of(learning, scorer), override(learning.scenario, settings))
    nobody = np.zeros(market.budget_micros.size, dtype=bool)
    return with_settings(market, budget_micros=np.full_like(market.budget_micros, UNLIMITED), paced=nobody)


def test_arms_of_a_query_split_share_a_prediction_that_is_shared(learning):
    plain = endless(learning, "none", **{"pctr.feedback": "shared"})
    other = endless(learning, "oracle", **{"pctr.feedback": "shared"})
    other = with_rule(other, Product(relevance=3.0))
    arm = arm_of_arrival(plain, 2)
    for place, (market, found) in enumerate(zip((plain, other), query_split([plain, other]), strict=True)):
        alone = engine.simulate(market)
        mine = arm[alone.query_index] == place
        assert found.metrics["revenue"] == pytest.approx(alone.charged_micros[mine].sum() / MICROS)


def test_arms_of_a_query_split_learn_from_their_own_pages(learning):
    """What the other arm shows changes nothing, but for spreads, which are common from the second fit on."""
    once = {"traffic.warm_up_days": 1}
    plain = endless(learning, "none", **once)
    other = with_rule(endless(learning, "oracle", **once), Product(relevance=3.0))
    found, same = query_split([plain, other]), query_split([plain, plain])
    assert found[0].metrics == pytest.approx(same[0].metrics, nan_ok=True)
    assert found[1].metrics["irrelevant_share"] == 0.0 < found[0].metrics["irrelevant_share"]


def test_a_budget_split_parts_the_days_before_as_well(learning, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "scenarios.studies.designs.simulate", lambda market: seen.append(market) or engine.simulate(market)
    )
    market = market_of(learning, relevance_of(learning, "none"))
    budget_split([market, market])
    times = np.sort(np.concatenate([half.warm_up.arrival_s for half in seen]))
    np.testing.assert_array_equal(times, market.warm_up.arrival_s)


def test_the_past_of_a_market_without_days_before_is_nothing(prepared):
    assert shared_past(prepared, prepared.scenario) is None
