"""Rules and mechanisms from scenario files: one's own rule, what fits what, the rule that is learnt."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relevance.errors import PluginError
from relevance.extras import MissingExtraError
from scenarios import (
    ScenarioError,
    dump_scenario,
    inspect_query,
    load_scenario,
    override,
    prepare,
    relevance_of,
    simulate,
    tune_fusion,
)
from scenarios.config.constraints import metric_bound
from scenarios.config.fusion_rules import LearntRule
from scenarios.runs.tuning import LARGEST_WEIGHT
from simulator.arrays import MICROS
from simulator.fusion import Learnt, Product
from tests.scenarios.test_cli import relbid

HEAD = "schema: 1\nname: s\n"
OWN = """\
import numpy as np

class Bonus:
    "bid x pctr x (1 + bonus x rel)"

    affine = True

    def __init__(self, bonus=1.0):
        self.bonus = bonus

    def score(self, bid, pctr, rel):
        return bid * pctr * (1 + self.bonus * rel)

    def bid_for_score(self, target, pctr, rel):
        return np.maximum(target, 0) / (pctr * (1 + self.bonus * rel))

class Careless(Bonus):
    def bid_for_score(self, target, pctr, rel):
        return np.maximum(target, 0) / pctr

ready = Bonus(2.0)
number = 3

def broken():
    raise RuntimeError("no luck")

class Listed(Bonus):
    def score(self, bid, pctr, rel):
        return super().score(bid, pctr, rel).tolist()

class Thrifty(Bonus):
    kept = {}

    def score(self, bid, pctr, rel):
        score = super().score(bid, pctr, rel)
        kept = self.kept.setdefault(score.shape, score)
        kept[...] = score
        return kept

class Needy(Bonus):
    def __init__(self, bonus):
        self.bonus = bonus

class AnySettings(Bonus):
    def __init__(self, **settings):
        super().__init__()

class Leaving(Bonus):
    affine = property(lambda self: exit(0))

class Gone(Bonus):
    score = property(lambda self: exit(0))
"""


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    (tmp_path / "my_rules.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rules", raising=False)
    return tmp_path


def load(folder: Path, text: str):
    (folder / "s.yaml").write_text(HEAD + text)
    return load_scenario(folder / "s.yaml")


@pytest.mark.parametrize(
    ("text", "bonus"),
    [
        ("fusion: {rule: custom, object: 'my_rules:Bonus'}", 1.0),
        ("fusion: {rule: custom, object: 'my_rules:Bonus', settings: {bonus: 0.5}}", 0.5),
        ("fusion: {rule: custom, object: 'my_rules:ready'}", 2.0),
        ("fusion: {rule: custom, object: 'my_rules:Listed'}", 1.0),
        ("fusion: {rule: custom, object: 'my_rules:Thrifty'}", 1.0),
        ("fusion: {rule: custom, object: 'my_rules:Needy', settings: {bonus: 0.5}}", 0.5),
    ],
)
def test_a_rule_of_one_s_own(own, text, bonus):
    scenario = load(own, text)
    assert scenario.fusion.build().bonus == bonus
    (own / "again.yaml").write_text(dump_scenario(scenario))
    assert load_scenario(own / "again.yaml") == scenario


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            "object: 'my_rules:Bonnus'",
            "s.yaml, fusion: fusion rule 'my_rules:Bonnus': module 'my_rules' has no 'Bonnus'",
        ),
        ("object: 'no_rules:Bonus'", "there is no module 'no_rules' in the folder where you stand"),
        ("object: 'my_rules:number'", "must be a rule, with score and bid_for_score, or make one"),
        ("object: 'my_rules:broken'", "making it failed: RuntimeError: no luck"),
        (
            "object: 'my_rules:Bonus', settings: {bonsu: 1}",
            "has no setting 'bonsu': it has bonus; did you mean 'bonus'?",
        ),
        ("object: 'my_rules:AnySettings', settings: {self: 1}", "making it failed: TypeError"),
        ("object: 'my_rules:Needy'", "needs the setting 'bonus'"),
        ("object: 'my_rules:Leaving'", "affine cannot be had: SystemExit: 0"),
        ("object: 'my_rules:Gone'", "score() raised SystemExit: 0"),
        ("object: 'my_rules:ready', settings: {bonus: 1}", "is made already and takes no settings"),
        ("object: 'my_rules:Careless'", "bid_for_score does not give the score's bid"),
    ],
)
def test_a_rule_of_one_s_own_that_will_not_do(own, settings, words):
    scenario = load(own, f"fusion: {{rule: custom, {settings}}}")
    with pytest.raises(PluginError) as caught:
        prepare(scenario)
    assert words in str(caught.value)


def test_an_unsound_rule_ends_the_command_with_its_faults_and_code_2(own, tiny_file):
    choice = ("--set", "fusion={rule: custom, object: 'my_rules:Careless'}", "--set", "sweep=null")
    done = relbid("run", tiny_file, *choice, cwd=own)
    assert done.returncode == 2
    assert "fusion rule 'my_rules:Careless': bid_for_score does not give the score's bid" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (own / "results").exists() or not list((own / "results").glob("tiny-*"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "auction: {mechanism: vcg}\nfusion: {rule: tiers}",
            "line 3, auction.mechanism: mechanism vcg is not defined for this fusion rule",
        ),
        (
            "auction: {mechanism: vcg}\nfusion: {bid: 2}",
            "line 3, auction.mechanism: mechanism vcg is not defined for this fusion rule",
        ),
        (
            "auction: {mechanism: vcg}\nusers: {examination: [0.5, 1.0]}",
            "auction.mechanism: mechanism vcg needs click weights (users.examination) that do not rise",
        ),
        (
            "auction:\n  category_score_reserve: [0.1, 0.2]",
            "line 4, auction.category_score_reserve: needs 18 numbers, one for each category of queries",
        ),
        ("auction: {payment: view}", "line 3, auction.payment: must be 'click' or 'impression'"),
        ("fusion: {rule: soft_gate, floor: 0}", "line 3, fusion.floor: must be greater than 0"),
        (
            "fusion: {rule: learnt, rel_knots: [0, 1]}",
            "line 3, fusion.rel_weights: needs 1 number(s), one for each piece that the knots make",
        ),
        ("fusion: {rule: learnt, rel_knots: [0, 1, 0.5]}", "fusion.rel_knots: must rise"),
        ("fusion: {rule: learnt, pctr_weights: [-1]}", "fusion.pctr_weights[0]: must be at least 0"),
        ("fusion: {rule: custom}", "fusion.object: is missing; add it"),
        ("fusion: {rule: custom, object: Mine}", "fusion.object: write it as 'module:attr'"),
        ("fusion: {rule: custom, object: '.mine:Rule'}", "fusion.object: write it as 'module:attr'"),
    ],
)
def test_refusals_name_the_field(tmp_path, text, words):
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)


def test_vcg_is_refused_for_a_rule_of_one_s_own_that_does_not_say_it_is_affine(own):
    text = "auction: {mechanism: vcg}\nfusion: {rule: custom, object: 'my_rules:Bonus'}"
    assert load(own, text).fusion.build().affine
    (own / "my_rules.py").write_text(OWN.replace("affine = True", "pass").replace("Bonus", "Plain"))
    sys.modules.pop("my_rules")
    with pytest.raises(ScenarioError, match=r"auction\.mechanism: mechanism vcg is not defined for"):
        prepare(load(own, text.replace("Bonus", "Plain")))


@pytest.fixture(scope="module")
def oracle(prepared, tiny_cache):
    return relevance_of(prepared, "oracle", cache=tiny_cache)


@pytest.mark.parametrize("mechanism", ["gsp", "vcg", "first_price"])
@pytest.mark.parametrize("payment", ["click", "impression"])
def test_books_balance_under_every_mechanism_and_payment(prepared, oracle, mechanism, payment):
    simulation = simulate(prepared, oracle, {"auction.mechanism": mechanism, "auction.payment": payment})
    log = simulation.log
    assert log.charged_micros.sum() == log.spent_micros.sum() > 0
    assert (log.spent_micros <= log.budget_micros).all()
    due = log.clicked if payment == "click" else log.charged_micros >= 0
    assert (log.charged_micros[due] == log.price_micros[due]).all()
    assert (log.charged_micros[~due] == 0).all()
    weight = 1.0
    if payment == "impression":
        weight = simulation.market.pctr[log.query, :].max() and _click_weight(simulation)
    assert (log.price_micros <= log.bid_micros * weight + 1e-6).all(), "never above the bid's share"
    if mechanism == "first_price":
        assert log.price_micros == pytest.approx(log.bid_micros * weight, abs=1)


def _click_weight(simulation):
    examination = np.asarray(simulation.market.users.examination)
    return examination[simulation.log.slot] * simulation.log.pctr


def test_first_price_takes_more_than_gsp_and_gsp_more_than_vcg_at_equal_bids(prepared, oracle):
    open_budgets = {"bidders.budget_multiple": 1e4, "bidders.paced_share": 0.0}
    revenue = {
        mechanism: simulate(prepared, oracle, {**open_budgets, "auction.mechanism": mechanism}).metrics[
            "revenue"
        ]
        for mechanism in ("vcg", "gsp", "first_price")
    }
    assert revenue["vcg"] < revenue["gsp"] < revenue["first_price"]


def test_score_reserve_of_a_category_shuts_out_its_weak_ads(prepared, oracle):
    queries = prepared.world.query_category
    closed = int(queries[0])
    least = [1e9 if category == closed else 0.0 for category in range(18)]
    log = simulate(prepared, oracle, {"auction.category_score_reserve": least}).log
    assert log.query.size > 0
    assert not (queries[log.query] == closed).any()
    raised = simulate(prepared, oracle, {"auction.score_reserve": 0.02}).log
    paid = raised.price_micros / MICROS * raised.pctr * raised.relevance
    assert (paid > 0.02 - 1e-6).all(), "the least price is the bid that reaches the reserve"


def test_tuning_keeps_the_bound_and_can_be_run_again_from_its_file(prepared, tiny_cache, tmp_path):
    bm25 = relevance_of(prepared, "bm25", cache=tiny_cache)
    plain = simulate(prepared, bm25, {"fusion.relevance": 0.0}).metrics["irrelevant_share"]
    kind = {"evaluations": 10, "n_markets": 2, "n_queries": 400}
    tuned = tune_fusion(prepared, bm25, max_irrelevant=0.8 * plain, **kind)
    assert isinstance(tuned.scenario.fusion, LearntRule)
    assert isinstance(tuned.scenario.fusion.build(), Learnt)
    start_excess = max(tuned.start.irrelevant_share - 0.8 * plain, 0)
    assert max(tuned.found.irrelevant_share - 0.8 * plain, 0) <= start_excess
    free = tune_fusion(prepared, bm25, max_irrelevant=1.0, **kind)
    assert free.found.revenue_rpm > free.start.revenue_rpm
    assert free.found.revenue_rpm >= tuned.found.revenue_rpm or start_excess > 0
    assert tune_fusion(prepared, bm25, max_irrelevant=1.0, **kind) == free, (
        "the search is drawn from the seed"
    )
    (tmp_path / "tuned.yaml").write_text(dump_scenario(free.scenario))
    again = load_scenario(tmp_path / "tuned.yaml")
    assert again == free.scenario
    kind["evaluations"] = 1
    begun = tune_fusion(replace(prepared, scenario=again), bm25, max_irrelevant=1.0, **kind)
    assert begun.start == free.found, "tuning continues from the weights of the scenario"


def test_tuning_without_relevance_to_learn_from_is_the_plain_product(prepared, tiny_cache):
    none = relevance_of(prepared, "none", cache=tiny_cache)
    flat = simulate(prepared, none, {"fusion": {"rule": "learnt"}}).metrics
    assert flat == simulate(prepared, none, {"fusion": {"rule": "product"}}).metrics
    assert Product().affine


def test_tuning_keeps_the_bound_where_some_weights_do(prepared, tiny_cache):
    # Where nobody competes with an irrelevant ad, no weights hide it.
    prepared = prepare(override(prepared.scenario, {"world.test_ads_per_advertiser": 12}))
    oracle = relevance_of(prepared, "oracle", cache=tiny_cache)
    kind = {"evaluations": 12, "n_markets": 1, "n_queries": 400}
    start = tune_fusion(prepared, oracle, max_irrelevant=1.0, **{**kind, "evaluations": 1}).start
    bound = 0.85 * start.irrelevant_share
    tuned = tune_fusion(prepared, oracle, max_irrelevant=bound, **kind)
    assert tuned.start == start
    assert tuned.found.irrelevant_share <= bound < start.irrelevant_share
    assert max(tuned.scenario.fusion.rel_weights) <= LARGEST_WEIGHT


def test_tuning_keeps_a_bound_on_the_markets_health(prepared, tiny_cache):
    oracle = relevance_of(prepared, "oracle", cache=tiny_cache)
    kind = {"max_irrelevant": 1.0, "evaluations": 12, "n_markets": 1, "n_queries": 400}
    free = tune_fusion(prepared, oracle, **kind)
    bound = metric_bound("spend_hhi <= 1e-9")
    none_can = tune_fusion(prepared, oracle, keep=[bound], **kind)
    assert none_can.start.excess > 0
    assert 0 < none_can.found.excess <= none_can.start.excess
    assert none_can.found.revenue_rpm < free.found.revenue_rpm, "the least concentrated, not the dearest"
    assert tune_fusion(prepared, oracle, keep=[metric_bound("loss_share >= 0%")], **kind) == free


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("small_spend_share", "needs NAME <= NUMBER"),
        ("small_spend_shar >= 0.1", "did you mean 'small_spend_share'"),
        ("fusion.bid <= 1", "unknown metric"),
        ("ctr <= x", "needs a number after <="),
        ("ctr <= 1e99", "must be at most 1e+15"),
    ],
)
def test_a_bound_that_tuning_cannot_read_is_refused(text, words):
    with pytest.raises(ScenarioError, match=f"--keep: {re.escape(words)}|--keep: .*{re.escape(words)}"):
        metric_bound(text)


def test_tuning_without_optuna_says_what_to_install(prepared, oracle, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"tuning: optuna .*; pip install 'relbid\[search\]'"):
        tune_fusion(prepared, oracle, max_irrelevant=0.1)


def test_impossible_tuning_is_refused(prepared, oracle):
    for settings in ({"max_irrelevant": 1.5}, {"max_irrelevant": 0.1, "evaluations": 0}):
        with pytest.raises(ScenarioError, match="tuning needs"):
            tune_fusion(prepared, oracle, **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"auction.mechanism": "vcg"}, "what its presence takes from the ads below"),
        ({"auction.mechanism": "first_price"}, "It pays its bid"),
        ({"auction.payment": "impression"}, "for being shown: "),
        ({"auction.score_reserve": 0.02}, "below the score reserve 0.02"),
    ],
)
def test_the_inspector_says_why_under_every_mechanism(prepared, oracle, settings, words):
    reasons = [why for query in range(5) for why in inspect_query(prepared, oracle, query, settings)["why"]]
    assert any(words in why for why in reasons), reasons


def test_tune_prints_a_scenario_that_runs(tiny_file, tiny_cache, tmp_path):
    few = ("--evaluations", 2, "--markets", 1, "--queries", 200, "--scorer", "bm25", "--out", tiny_cache)
    done = relbid("tune", tiny_file, "--max-irrelevant", 0.1, *few, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# first weights: revenue ")
    (tmp_path / "tuned.yaml").write_text(done.stdout)
    assert isinstance(load_scenario(tmp_path / "tuned.yaml").fusion, LearntRule)


def test_the_formula_of_the_readme_runs_where_rows_of_candidates_are_not_full(own, prepared):
    assert (prepared.candidate < 0).any()
    simulate(
        prepared, relevance_of(prepared, "none"), {"fusion": {"rule": "custom", "object": "my_rules:Bonus"}}
    )


def test_the_formula_of_the_readme_passes_its_own_test():
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Test your own formula")[2].partition("\n## ")[0]
    rule, test = (block.partition("```")[0] for block in section.split("```python\n")[1:])
    assert len([line for line in test.splitlines() if line]) == 3, "in three lines"
    names: dict = {}
    exec(rule + test, names)
    names["test_my_formula"]()
    names["Bonus"].bid_for_score = lambda self, target, pctr, rel: np.maximum(target, 0) / pctr
    with pytest.raises(AssertionError):
        names["test_my_formula"]()
