import re
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relevance.errors import PluginError
from relevance.plug_in import Plugin
from simulator.arrays import FloatArray
from simulator.fusion import (
    RULES,
    Exponential,
    Formula,
    FusionRule,
    Gate,
    Learnt,
    Linear,
    Product,
    SoftGate,
    Tiers,
    check_rule,
)
from simulator.rules.own_rule import OwnRule
from simulator.rules.rule_check import RuleTraits, rule_traits

RULE_EXAMPLES: list[FusionRule] = [
    Product(),
    Product(relevance=0.0),
    Product(bid=2.0, pctr=0.5, relevance=3.0),
    Gate(),
    Gate(0.5, within=Linear(0.3)),
    Linear(),
    Linear(0.0),
    Tiers(),
    Tiers((0.5,), within=Product(bid=0.5)),
    Tiers((0.2, 0.4, 0.6, 0.8), within=Linear()),
    Gate(0.2, within=Tiers()),
    SoftGate(),
    SoftGate(0.5, 0.05, within=Linear(0.3)),
    SoftGate(0.5, 1.0, within=Exponential(bid=0.5)),
    Exponential(),
    Exponential(bid=2.0, pctr=0.5, gain=5.0),
    Learnt(),
    Learnt((0.0, 0.1, 1.0), (3.0, 0.0), pctr_knots=(0.02, 0.1), pctr_weights=(2.0, 0.5, 1.0)),
    Learnt((0.2, 0.6), (1.0,), pctr_knots=(0.05,), pctr_weights=(0.0, 0.0)),
    Formula("b^0.7 * q * max(r, 0.1)"),
    Formula("q * (b - 0.5 * (1 - r)) + 0.01 * log(1 + b)"),
]

positive = st.floats(0.01, 100.0)
share = st.floats(0.0, 1.0)
rule_examples = st.sampled_from(RULE_EXAMPLES)


def one(x: float) -> Any:
    return np.array([x])


@pytest.mark.parametrize("rule", RULE_EXAMPLES, ids=repr)
def test_checker_passes_every_rule_of_ours(rule: FusionRule) -> None:
    assert check_rule(rule) == []


def test_every_registered_rule_has_sound_defaults() -> None:
    for name, kind in RULES.items():
        assert check_rule(kind()) == [], name


@given(rule=rule_examples, bid=positive, pctr=st.floats(0.001, 0.9), rel=share)
def test_inverse_gives_back_the_bid(rule: FusionRule, bid: float, pctr: float, rel: float) -> None:
    score = rule.score(one(bid), one(pctr), one(rel))
    if score[0] > -inf:
        assert rule.bid_for_score(score, one(pctr), one(rel))[0] == pytest.approx(bid, rel=1e-6)


@given(rule=rule_examples, bid=positive, raised=st.floats(1.001, 10.0), pctr=st.floats(0.001, 0.9), rel=share)
def test_score_rises_with_the_bid(
    rule: FusionRule, bid: float, raised: float, pctr: float, rel: float
) -> None:
    low, high = (rule.score(one(b), one(pctr), one(rel))[0] for b in (bid, bid * raised))
    assert high > low or high == low == -inf


@given(rule=rule_examples, pctr=st.floats(0.001, 0.9), rel=share)
def test_nobody_to_beat_asks_for_the_least_eligible_bid(rule: FusionRule, pctr: float, rel: float) -> None:
    least = rule.bid_for_score(one(-inf), one(pctr), one(rel))[0]
    assert least >= 0
    if least < inf:
        assert rule.score(one(least * (1 + 1e-9) + 1e-12), one(pctr), one(rel))[0] > -inf
        if least > 0.01:
            assert rule.score(one(least * (1 - 1e-9)), one(pctr), one(rel))[0] == -inf


def test_gate_and_zero_relevance_shut_ads_out() -> None:
    bid, pctr = np.full(3, 2.0), np.full(3, 0.1)
    rel = np.array([0.0, 0.29, 0.3])
    assert Product().score(bid, pctr, rel).tolist() == [-inf, pytest.approx(0.058), pytest.approx(0.06)]
    assert Product(relevance=0.0).score(bid, pctr, rel).tolist() == pytest.approx([0.2] * 3)
    assert Gate(0.3).score(bid, pctr, rel).tolist() == [-inf, -inf, pytest.approx(0.2)]


def test_linear_charges_the_hidden_cost() -> None:
    """Bid 2 at relevance .4 with cost 1 counts as 2 - .6 per click; below its hidden cost an ad is out."""
    rule = Linear(cost=1.0)
    assert rule.score(one(2.0), one(0.1), one(0.4))[0] == pytest.approx(0.1 * 1.4)
    assert rule.bid_for_score(one(0.05), one(0.1), one(0.4))[0] == pytest.approx(0.5 + 0.6)
    assert rule.score(one(0.59), one(0.1), one(0.4))[0] == -inf
    assert rule.bid_for_score(one(-inf), one(0.1), one(0.4))[0] == pytest.approx(0.6)


def test_tiers_put_relevance_first() -> None:
    rule = Tiers((0.3, 0.6))
    poor, fair, good = 0.1, 0.5, 0.9
    score = rule.score(np.array([1e6, 5.0, 0.01]), np.full(3, 0.1), np.array([poor, fair, good]))
    assert score[2] > score[1] > score[0]
    # Against a lower bucket any bid does; against one's own the rival's bid; against a higher none.
    assert rule.bid_for_score(score[:1], one(0.1), one(good))[0] == 0.0
    assert rule.bid_for_score(score[1:2], one(0.2), one(fair))[0] == pytest.approx(2.5)
    assert rule.bid_for_score(score[2:], one(0.1), one(fair))[0] == inf


def test_soft_gate_keeps_a_share_of_the_score() -> None:
    """Below the threshold an ad needs 1 / floor = 4 times the bid of an equal one above it."""
    rule = SoftGate(0.3, floor=0.25)
    score = rule.score(np.full(2, 2.0), np.full(2, 0.1), np.array([0.29, 0.3]))
    assert score.tolist() == pytest.approx([0.05, 0.2])
    assert rule.bid_for_score(score[1:], one(0.1), one(0.29))[0] == pytest.approx(8.0)
    assert np.array_equal(
        SoftGate(0.3, 1.0).score(score, score, score), Product(relevance=0.0).score(*[score] * 3)
    )


def test_exponential_boost_multiplies_by_steps() -> None:
    """gain ln 4: half a step of relevance doubles the score, and relevance 0 keeps a quarter."""
    score = Exponential(gain=np.log(4)).score(np.full(3, 2.0), np.full(3, 0.1), np.array([0.0, 0.5, 1.0]))
    assert score.tolist() == pytest.approx([0.05, 0.1, 0.2])


@given(bid=positive, pctr=st.floats(0.001, 0.9), rel=share, gain=st.floats(0.0, 5.0))
def test_learnt_rule_contains_the_exponential_boost(bid: float, pctr: float, rel: float, gain: float) -> None:
    learnt = Learnt((0.0, 0.3, 1.0), (0.3 * gain, 0.7 * gain))
    of = one(bid), one(pctr), one(rel)
    assert learnt.score(*of)[0] == pytest.approx(Exponential(gain=gain).score(*of)[0], rel=1e-9)


@given(
    weights=st.lists(st.floats(0.0, 4.0), min_size=3, max_size=3),
    slopes=st.lists(st.floats(0.0, 2.0), min_size=2, max_size=2),
    low=share,
    high=share,
    pctr=st.floats(0.001, 0.9),
    more=st.floats(1.0, 5.0),
)
def test_learnt_score_never_falls_in_relevance_or_click_rate(
    weights: list[float], slopes: list[float], low: float, high: float, pctr: float, more: float
) -> None:
    rule = Learnt((0.1, 0.4, 0.5, 0.9), tuple(weights), pctr_knots=(0.05,), pctr_weights=tuple(slopes))
    low, high = sorted((low, high))
    less = rule.score(one(1.0), one(pctr), one(low))[0]
    assert rule.score(one(1.0), one(pctr), one(high))[0] >= less * (1 - 1e-12)
    assert rule.score(one(1.0), one(pctr * more), one(low))[0] >= less * (1 - 1e-12)


@pytest.mark.parametrize(
    ("rule", "traits"),
    [
        (Product(), (True, True)),
        (Product(bid=2.0), (True, False)),
        (Gate(0.2, within=Tiers()), (True, False)),
        (SoftGate(within=Linear()), (False, True)),
        (Linear(), (False, True)),
        (Linear(0.0), (True, True)),
        (Exponential(), (True, True)),
        (Learnt(), (True, True)),
    ],
    ids=repr,
)
def test_traits(rule: FusionRule, traits: tuple[bool, bool]) -> None:
    """Doubling all bids and reserves doubles the prices, unless a cost in currency stands against it."""
    assert rule_traits(rule) == RuleTraits(*traits)
    assert bool(getattr(rule, "affine", False)) == traits[1]


class Rule:
    """bid x pctr x rel, for a broken rule to override."""

    def score(self, bid: Any, pctr: Any, rel: Any) -> Any:
        return np.where(rel > 0, bid * pctr * rel, -inf)

    def bid_for_score(self, target: Any, pctr: Any, rel: Any) -> Any:
        return np.where(rel > 0, np.maximum(target, 0.0) / (pctr * np.where(rel > 0, rel, 1.0)), inf)


def mutating(self: Any, bid: Any, pctr: Any, rel: Any) -> Any:
    bid *= 1.0001
    return Rule().score(bid, pctr, rel)


def inverse(t: Any, q: Any, r: Any) -> Any:
    return Rule().bid_for_score(t, q, r)


BROKEN_SCORES = {
    "falls": (lambda s, b, q, r: q * r / b, "does not rise strictly"),
    "flat": (lambda s, b, q, r: np.round(b) * q * r, "does not rise strictly"),
    "nan": (lambda s, b, q, r: np.where(r > 0, b * q * r, np.nan), "not a number"),
    "infinite": (lambda s, b, q, r: b * q / (1 - r), r"\+inf"),
    "relative": (lambda s, b, q, r: b * q * r / np.max(b * q * r), "depends on the other ads"),
    "mutating": (mutating, "changes the arrays"),
    "random": (lambda s, b, q, r: b * np.random.random(b.shape), "differently"),  # noqa: NPY002
    "capped": (lambda s, b, q, r: np.where(b < 50, b * q, -inf), "ineligible by bidding more"),
    "shut": (lambda s, b, q, r: np.full_like(b, -inf), "no ad is ever eligible"),
    "scalar": (lambda s, b, q, r: (b * q * r).sum(), "must return floats of the shape"),
    "raising": (lambda s, b, q, r: b @ q, "failed: ValueError"),
}
BROKEN_INVERSES = {
    "relevance forgotten": (lambda s, t, q, r: np.maximum(t, 0.0) / q, "does not give the score's bid"),
    "dear": (lambda s, t, q, r: 1.01 * inverse(t, q, r), "a lower bid reaches"),
    "cheap": (lambda s, t, q, r: 0.99 * inverse(t, q, r), "does not reach"),
    "negative": (lambda s, t, q, r: t / (q * r + 1e-9), "not the least eligible bid"),
    "nan": (lambda s, t, q, r: np.where(t > -inf, t, np.nan) / (q * r), "never NaN"),
    "hopeless": (
        lambda s, t, q, r: np.where(r > 0.5, inverse(t, q, r), inf),
        r"\+inf though the target is reached",
    ),
}


@pytest.mark.parametrize(
    ("method", "case"),
    [*(("score", case) for case in BROKEN_SCORES), *(("bid_for_score", case) for case in BROKEN_INVERSES)],
)
def test_checker_says_what_is_wrong(method: str, case: str) -> None:
    function, words = (BROKEN_SCORES if method == "score" else BROKEN_INVERSES)[case]
    faults = check_rule(type("Broken", (Rule,), {method: function})())
    assert any(re.search(words, fault) for fault in faults), faults


def test_checker_tries_the_claim_to_be_affine() -> None:
    class Curved(Rule):
        affine = True

        def score(self, bid: Any, pctr: Any, rel: Any) -> Any:
            return super().score(bid**2, pctr, rel)

        def bid_for_score(self, target: Any, pctr: Any, rel: Any) -> Any:
            return np.sqrt(super().bid_for_score(target, pctr, rel))

    assert check_rule(Curved()) == [
        "the rule says that it is affine, but its score is not: drop the attribute affine"
    ]


class AloneAndAmongOthers(Rule):
    """Sound alone and on the grid, but spoilt in auctions of six."""

    def __init__(self, spoil: Any) -> None:
        self.spoil = spoil

    def score(self, bid: Any, pctr: Any, rel: Any) -> Any:
        score = super().score(bid, pctr, rel)
        return self.spoil(score, bid) if bid.shape[-1] == 6 else score


SPOILT = {
    "an ad loses its slot": lambda score, bid: np.where(bid > 1.5, 1.5 / bid, 1.0) ** 2 * score,
    "the price that keeps a slot is above the bid": lambda score, bid: score * (1 + score),
    "depends on the order of the candidates": lambda score, bid: score * np.arange(1.0, 7.0),
}


@pytest.mark.parametrize("words", SPOILT)
def test_checker_tries_rules_among_others(words: str) -> None:
    faults = check_rule(AloneAndAmongOthers(SPOILT[words]))
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gate(threshold=float("nan")),
        lambda: Gate(threshold=5.0),
        lambda: Linear(cost=inf),
        lambda: Linear(cost=float("nan")),
        lambda: Product(relevance=float("nan")),
        lambda: Product(relevance=21.0),
    ],
)
def test_settings_of_rules_have_their_ranges_in_python_too(make: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        make()


class Writing(Product):
    """Writes into what it is given."""

    def score(self, bid: FloatArray, pctr: FloatArray, rel: FloatArray) -> FloatArray:
        bid[...] = 1000.0
        return pctr * rel


def test_a_rule_that_writes_into_its_arguments_changes_nobodys_bid() -> None:
    bid = np.ones(2)
    OwnRule(Writing(), Plugin("mine")).score(bid, np.ones(2), np.ones(2))
    assert bid.tolist() == [1.0, 1.0]


class Bonus:
    """The rule of docs/how-to/formula.md, whose inverse is 0 / 0 where nobody clicks."""

    def score(self, bid: Any, pctr: Any, rel: Any) -> Any:
        return bid * pctr * (1 + rel) / np.where(bid < 0, np.nan, 1.0)

    def bid_for_score(self, target: Any, pctr: Any, rel: Any) -> Any:
        return np.maximum(target, 0) / (pctr * (1 + rel))


@pytest.mark.filterwarnings("error")
def test_an_ad_that_nobody_clicks_need_not_have_a_price() -> None:
    rule = OwnRule(Bonus(), Plugin("fusion rule 'mine:Bonus'"))
    assert check_rule(rule) == []
    needed = rule.bid_for_score(np.array([-np.inf, 0.5]), np.array([0.0, 0.5]), np.array([0.0, 1.0]))
    assert needed.tolist() == [np.inf, 0.5]
    assert rule.score(np.array([-1.0]), np.array([0.0]), np.array([0.0])).tolist() == [-np.inf]
    with pytest.raises(PluginError, match=r"score\(\) returned NaN for bid -1, pctr 0\.1, rel 0; an ad that"):
        rule.score(np.array([1.0, -1.0]), np.array([0.1, 0.1]), np.array([0.0, 0.0]))


@pytest.mark.parametrize("name", ["score", "bid_for_score"])
def test_a_checked_rule_that_ends_the_program_raises_like_any_other(name: str) -> None:
    def end(*_: Any) -> None:
        raise SystemExit(0)

    for method in (end, property(end)):
        [fault] = check_rule(type("Ending", (Rule,), {name: method})())
        assert fault.endswith("SystemExit: 0"), fault


def test_checker_names_missing_methods() -> None:
    assert "methods" in check_rule(object())[0]  # type: ignore[arg-type]
    assert check_rule(Rule()) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Product(bid=0.0),
        lambda: Product(relevance=-1.0),
        lambda: Product(pctr=-1.0),
        lambda: Linear(-1.0),
        lambda: Tiers(()),
        lambda: Tiers((0.5, 0.2)),
        lambda: SoftGate(floor=0.0),
        lambda: SoftGate(floor=1.5),
        lambda: Exponential(bid=0.0),
        lambda: Exponential(gain=-1.0),
        lambda: Learnt((1.0, 0.0), (1.0,)),
        lambda: Learnt((0.0, 1.0), (-1.0,)),
        lambda: Learnt(pctr_knots=(0.0,), pctr_weights=(1.0, 1.0)),
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        make()


@pytest.mark.parametrize(
    ("make", "needed"),
    [
        (lambda: Learnt((0.0, 1.0), (1.0, 1.0)), "rel_weights needs 1 number"),
        (lambda: Learnt(pctr_knots=(0.1,)), "pctr_weights needs 2 number"),
    ],
)
def test_weights_are_one_for_each_piece(make: Any, needed: str) -> None:
    with pytest.raises(ValueError, match=needed):
        make()


@pytest.mark.parametrize("rule", RULE_EXAMPLES, ids=repr)
def test_torch_gives_the_same(rule: FusionRule) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    bid, pctr, rel = (
        rng.uniform(0.1, 3, (5, 8)),
        rng.uniform(0.01, 0.5, (5, 8)),
        rng.integers(0, 5, (5, 8)) / 4.0,
    )
    score = rule.score(bid, pctr, rel)
    on_torch = rule.score(*(torch.from_numpy(x) for x in (bid, pctr, rel)))
    assert isinstance(on_torch, torch.Tensor)
    np.testing.assert_allclose(on_torch.numpy(), score, rtol=1e-12)
    target = np.roll(score, 1, axis=-1)
    inverse = rule.bid_for_score(*(torch.from_numpy(x) for x in (target, pctr, rel)))
    np.testing.assert_allclose(inverse.numpy(), rule.bid_for_score(target, pctr, rel), rtol=1e-12)
