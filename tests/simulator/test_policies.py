"""Bid policies: what the literature says that they reach, and what the checker says of broken ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from relevance.errors import PluginError
from relevance.plug_in import Plugin
from simulator import policies
from simulator.arrays import FloatArray
from simulator.auction import Ranked, allocate, price_gsp, price_vcg
from simulator.bidders import PolicyShare
from simulator.fusion import Product
from simulator.policies import (
    N_UNIFORMS,
    POLICIES,
    Balanced,
    Bandit,
    BidPolicy,
    Bids,
    DualPacing,
    PidPacing,
    Report,
    Shading,
    TargetCpa,
    TargetRoas,
    Throttling,
    check_policy,
    make_policy,
)
from simulator.policies.agent import multiplier_of
from simulator.policies.own_policy import OwnPolicy
from simulator.policies.seats import Seats
from simulator.random import uniforms

Plant = Callable[[Bids], Mapping[str, FloatArray]]
"""What a tick brings to advertisers who bid so: columns of a report."""


class Tick(NamedTuple):
    bids: Bids
    brought: Mapping[str, FloatArray]


def report(value: FloatArray, **columns: Any) -> Report:
    """A report in which nothing happened but what `columns` say."""
    nothing = {f.name: np.zeros(value.size) for f in fields(Report)}
    shared = {
        "time_s": 0.0,
        "day": 0,
        "ticks_left": 9.0,
        "slot_price": np.zeros(1),
        "slot_clicks": np.zeros(1),
    }
    return Report(**{**nothing, **shared, "value": value, **columns})


def live(
    policy: BidPolicy, plant: Plant, *, budget: float = 1e9, n: int = 1, n_ticks: int = 96, days: int = 1
) -> list[Tick]:
    """What `n` advertisers with value 1 do and get, tick by tick; nobody spends more than its budget."""
    value, whole = np.ones(n), np.full(n, budget)
    state, bids = policy.start(whole, value)
    history = []
    for day in range(days):
        remaining = whole.copy()
        for tick in range(n_ticks):
            brought = dict(plant(bids))
            brought["spent"] = np.minimum(brought["spent"], remaining)
            remaining = remaining - brought["spent"]
            history.append(Tick(bids, brought))
            if ticks_left := n_ticks - 1 - tick:
                u = uniforms(3, "policy", day * n_ticks + tick, 1, n * N_UNIFORMS).reshape(n, N_UNIFORMS)
                told = report(
                    value, budget=whole, remaining=remaining, ticks_left=float(ticks_left), **brought
                )
                state, bids = policy.adjust(state, told, u)
    return history


def total(history: Sequence[Tick], column: str) -> float:
    return float(sum(tick.brought[column].sum() for tick in history))


# Budgets


@pytest.mark.parametrize(
    "policy", [PidPacing(shading=1.0), DualPacing(shading=1.0)], ids=lambda p: type(p).__name__
)
def test_bid_pacing_holds_its_spend_on_a_linear_plant(policy: BidPolicy) -> None:
    """Spend 4 m a tick against a budget for 1 a tick: the multiplier goes to 1/4."""
    history = live(policy, lambda bids: {"spent": 4.0 * bids.multiplier}, budget=96.0)
    assert total(history, "spent") == pytest.approx(96.0, rel=0.01)
    late = [tick.brought["spent"][0] for tick in history[-40:]]
    assert max(late) - min(late) < 0.05
    assert np.mean(late) == pytest.approx(1.0, rel=0.25)
    days = live(policy, lambda bids: {"spent": 4.0 * bids.multiplier}, budget=96.0, days=4)
    assert [tick.brought["spent"][0] for tick in days[-40:]] == pytest.approx([1.0] * 40, rel=0.05)


@pytest.mark.parametrize("name", ["dual_pacing", "pid_pacing"])
def test_bid_pacing_does_nothing_without_need(name: str) -> None:
    history = live(make_policy(name), lambda bids: {"spent": 0.4 * bids.multiplier}, budget=96.0)
    assert {tick.bids.multiplier[0] for tick in history} == {0.8}


def test_throttling_spends_the_budget_in_expectation() -> None:
    """Auctions are won one by one, at 1/2 each and 8 a tick for who takes part in all: 384 a day."""
    rng = np.random.default_rng(0)
    history = live(
        Throttling(),
        lambda bids: {"spent": 0.5 * rng.poisson(8.0 * bids.participation)},
        budget=100.0,
        n=100,
        days=3,
    )
    assert total(history, "spent") / 300 == pytest.approx(100.0, rel=0.01)
    assert {m for tick in history for m in tick.bids.multiplier} == {0.8}
    share = np.array([tick.bids.participation.mean() for tick in history])
    assert share[0] == 1.0
    assert share[-96:].mean() == pytest.approx(100 / 384, rel=0.05)


def test_throttling_takes_part_in_all_auctions_without_need() -> None:
    history = live(Throttling(first=0.1), lambda bids: {"spent": 0.5 * bids.participation}, budget=96.0)
    assert history[-1].bids.participation[0] == 1.0


# Targets


def uniform_rivals(seed: int, clicks: float) -> Plant:
    """Second price against a uniform rival: m `clicks` at m / 2 each; one in twenty converts, worth 20."""
    rng = np.random.default_rng(seed)

    def plant(bids: Bids) -> Mapping[str, FloatArray]:
        clicked = rng.poisson(clicks * bids.multiplier)
        converted = rng.binomial(clicked, 0.05)
        return {
            "clicks": clicked.astype(float),
            "spent": clicked * bids.multiplier / 2,
            "conversions": converted.astype(float),
            "conversion_value": 20.0 * converted,
        }

    return plant


@pytest.mark.parametrize("clicks", [10.0, 200.0])
@pytest.mark.parametrize("target", [10.0, 15.0])
def test_target_cpa_is_reached(clicks: float, target: float) -> None:
    """Cost per conversion is 10 m: the multiplier goes to target / 10."""
    later = live(TargetCpa(target=target), uniform_rivals(1, clicks), n=40, days=3)[96:]
    assert total(later, "spent") / total(later, "conversions") == pytest.approx(target, rel=0.05)
    assert np.mean([tick.bids.multiplier for tick in later]) == pytest.approx(target / 10, rel=0.1)


@pytest.mark.parametrize("clicks", [10.0, 200.0])
@pytest.mark.parametrize("target", [1.5, 3.0])
def test_target_roas_is_reached(clicks: float, target: float) -> None:
    """Return on spend is 2 / m."""
    later = live(TargetRoas(target=target), uniform_rivals(2, clicks), n=40, days=3)[96:]
    assert total(later, "conversion_value") / total(later, "spent") == pytest.approx(target, rel=0.05)
    assert np.mean([tick.bids.multiplier for tick in later]) == pytest.approx(2 / target, rel=0.1)


def test_one_lucky_conversion_moves_the_bid_by_a_step() -> None:
    policy = TargetCpa(target=10.0, step=0.1)
    state, before = policy.start(np.ones(1), np.ones(1))
    lucky = report(np.ones(1), spent=np.array([0.01]), conversions=np.ones(1))
    after = policy.adjust(state, lucky, np.zeros((1, 4)))[1]
    assert np.log(after.multiplier / before.multiplier)[0] == pytest.approx(0.1, rel=0.01)


# Learning


def test_bandit_regret_falls() -> None:
    """First price against a uniform rival: m clicks of profit 1 - m, best at m = 1/2 with 1/4."""
    rng = np.random.default_rng(3)

    def plant(bids: Bids) -> Mapping[str, FloatArray]:
        clicks = rng.poisson(40.0 * bids.multiplier).astype(float)
        return {"clicks": clicks, "spent": clicks * bids.multiplier}

    history = live(Bandit(arms=10, lowest=0.1, highest=1.0), plant, n=60, n_ticks=800)
    m = np.array([tick.bids.multiplier for tick in history])
    regret = (0.25 - m * (1 - m)).mean(axis=1)
    chance = np.mean([0.25 - x * (1 - x) for x in np.linspace(0.1, 1.0, 10)])
    assert regret[:10].mean() == pytest.approx(chance, rel=0.05), "each one once"
    assert regret[10:100].mean() < chance / 3
    assert regret[-100:].mean() < chance / 8
    assert np.mean(np.abs(m[-100:] - 0.5) < 0.15) > 0.9


def test_bandits_do_not_try_all_the_same_first() -> None:
    """Else all of a market's bandits would bid high at once, and low at once."""
    history = live(
        Bandit(), lambda bids: {"clicks": np.ones(500), "spent": bids.multiplier}, n=500, n_ticks=3
    )
    assert np.unique(history[1].bids.multiplier).size == 5, "all but the one that was tried at the start"


def test_bandits_learn_nothing_from_ticks_without_a_budget() -> None:
    """Whose budget has run out earns nothing with any multiplier; that says nothing about the one in use."""
    policy, value, u = Bandit(), np.ones(2), np.zeros((2, 4))
    state, before = policy.start(np.ones(2), value)
    idle = report(value, remaining=np.array([0.01, 5.0]))
    after, bids = policy.adjust(state, idle, u)
    assert after.pulls.sum(axis=1).tolist() == [0.0, 1.0]
    assert (bids.multiplier == before.multiplier).tolist() == [True, False]


# Balanced bidding


def gsp_game(value: FloatArray, alpha: FloatArray, n_ticks: int) -> tuple[FloatArray, FloatArray]:
    """The ranking and prices to which balanced bidders come, and the ranking and prices of truthful VCG."""
    n, n_slots = value.size, alpha.size
    ones, no_ties, rule, policy = np.ones(n), np.linspace(0, 0.5, n), Product(), Balanced()
    present = np.ones(n, dtype=bool)
    state, bids = policy.start(ones, value)
    for _ in range(n_ticks):
        bid = value * bids.multiplier
        ranking = allocate(rule.score(bid, ones, ones), present, n_slots + 1, no_ties)
        price = price_gsp(Ranked(ranking, rule.score(bid, ones, ones), rule, bid, ones, ones, 0.0))
        clicks = np.where(ranking[:-1] >= 0, alpha, 0.0)
        told = report(value, slot_price=price, slot_clicks=clicks)
        state, bids = policy.adjust(state, told, np.zeros((n, N_UNIFORMS)))
    score = rule.score(value, ones, ones)
    truthful = allocate(score, present, n_slots + 1, no_ties)
    vcg = price_vcg(Ranked(truthful, score, rule, value, ones, ones, 0.0, tuple(alpha)))
    assert ranking.tolist() == truthful.tolist()
    return price, vcg


def test_balanced_bidding_comes_to_the_known_vcg_prices() -> None:
    """Slots of 200 and 100 clicks, values 10, 4, 2: VCG takes 600 and 200."""
    price, vcg = gsp_game(np.array([10.0, 4.0, 2.0]), np.array([200.0, 100.0]), 50)
    assert (price * [200.0, 100.0]).tolist() == pytest.approx([600.0, 200.0])
    assert price == pytest.approx(vcg)


@given(
    value=st.lists(st.integers(1, 1000), min_size=2, max_size=7, unique=True),
    ratio=st.lists(st.floats(0.2, 0.95), min_size=0, max_size=4),
)
@settings(max_examples=30, deadline=None)
def test_balanced_bidding_pays_vcg_prices_in_any_game(value: list[int], ratio: list[float]) -> None:
    price, vcg = gsp_game(np.array(value) / 100.0, np.cumprod([1.0, *ratio]), 100)
    assert price == pytest.approx(vcg, rel=1e-3, abs=1e-3)


def test_balanced_bidders_look_again_now_and_then() -> None:
    policy, value = Balanced(revise=0.5), np.array([3.0, 3.0])
    state, first = policy.start(np.ones(2), value)
    told = report(value, slot_price=np.array([1.0]), slot_clicks=np.array([0.5]))
    _, bids = policy.adjust(state, told, np.array([[0.4] * 4, [0.6] * 4]))
    assert first.multiplier.tolist() == [1.0, 1.0]
    assert bids.multiplier.tolist() == pytest.approx([2.0 / 3.0, 1.0])


# By name


def test_every_policy_is_documented_with_its_source_and_sound_by_default() -> None:
    assert list(POLICIES) == [
        "fixed",
        "truthful",
        "shading",
        "balanced",
        "dual_pacing",
        "pid_pacing",
        "throttling",
        "target_cpa",
        "target_roas",
        "bandit",
    ]
    for name in POLICIES:
        assert check_policy(make_policy(name)) == [], name


def test_constant_policies() -> None:
    value = np.array([2.0, 0.5, 0.0])
    for name, given_settings, expected in (
        ("fixed", {"bid": 1.0}, [0.5, 2.0, 0.0]),
        ("truthful", {}, [1.0, 1.0, 1.0]),
        ("shading", {"factor": 0.7}, [0.7, 0.7, 0.7]),
    ):
        _, bids = make_policy(name, given_settings).start(np.ones(3), value)
        assert bids.multiplier.tolist() == expected, name


@pytest.mark.parametrize(
    ("name", "given_settings", "message"),
    [
        ("dual_pacin", {}, "did you mean 'dual_pacing'"),
        ("dual_pacing", {"stp": 1.0}, "did you mean 'step'"),
        ("truthful", {"step": 1.0}, "it has none"),
        ("simulator.policies:Shading", {"fctor": 1.0}, "'simulator.policies:Shading' has no setting 'fctor'"),
        (".policies:Shading", {}, "write it as 'module:attr'"),
        ("dual_pacing", {"step": -1.0}, "step must not be negative"),
        ("pid_pacing", {"floor": 2.0}, "floor must be at most 1"),
        ("bandit", {"arms": 2.5}, "whole number"),
        ("bandit", {"lowest": 0.9, "highest": 0.5}, "below highest"),
        ("target_cpa", {"target": float("nan")}, "target"),
        ("no_such_module:Policy", {}, "there is no module 'no_such_module'"),
        ("simulator.policies:Nothing", {}, "has no 'Nothing'"),
        ("simulator.policies:Report", {}, "needs the setting 'time_s'"),
        ("simulator.policies:N_UNIFORMS", {}, "class or function"),
        ("builtins:dict", {}, "must"),
    ],
)
def test_impossible_policies_are_refused_in_words(
    name: str, given_settings: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_policy(name, given_settings)


def test_a_policy_of_ones_own() -> None:
    own = make_policy("simulator.policies:DualPacing", {"step": 0.2})
    assert isinstance(own, OwnPolicy)
    assert own.policy == DualPacing(step=0.2)
    assert own.plugin.name


class Gone:
    """Bids that end the process when they are read."""

    @property
    def multiplier(self) -> FloatArray:
        raise SystemExit(0)


class Ending(Shading):
    def start(self, budget: FloatArray, value: FloatArray) -> Any:
        return None, Gone()


def test_bids_that_cannot_be_read_name_their_policy() -> None:
    own = make_policy(f"{__name__}:Ending")
    with pytest.raises(PluginError, match=r"the bids cannot be read: SystemExit"):
        own.start(np.ones(2), np.ones(2))


class Named(NamedTuple):
    """Bids in another order, with more to them."""

    participation: FloatArray
    multiplier: FloatArray
    reason: str = ""


class Elsewhere(Shading):
    def start(self, budget: FloatArray, value: FloatArray) -> Any:
        return None, Named(np.full(value.size, 0.25), np.full(value.size, 0.75))


class Listed(Shading):
    def start(self, budget: FloatArray, value: FloatArray) -> Any:
        return None, [value, value]


def test_bids_are_read_by_name_whatever_object_holds_them() -> None:
    own = OwnPolicy(Elsewhere(), Plugin("bid policy 'mine:Elsewhere'"))
    _, bids = own.start(np.ones(2), np.ones(2))
    assert type(bids) is Bids
    assert (bids.multiplier.tolist(), bids.participation.tolist()) == ([0.75] * 2, [0.25] * 2)
    own = OwnPolicy(Listed(), Plugin("bid policy 'mine:Listed'"))
    with pytest.raises(PluginError, match=r"is missing from a list: give Bids\(multiplier, participation\)"):
        own.start(np.ones(2), np.ones(2))


def test_a_report_shares_no_array_with_that_of_others() -> None:
    whole = report(np.ones(3), slot_price=np.ones(2), slot_clicks=np.ones(2))
    some = whole.of(np.array([0, 2]))
    some.slot_price[:], some.slot_clicks[:], some.value[:] = 5.0, 5.0, 5.0
    assert max(whole.slot_price.max(), whole.slot_clicks.max(), whole.value.max()) == 1.0


def test_actions_of_an_agent_are_numbers() -> None:
    with pytest.raises(ValueError, match="log multipliers; they are of the kind complex128"):
        multiplier_of(np.full((2, 1), 1j), 2)
    for shape in ((2, 3), (1, 2), (3,), ()):
        with pytest.raises(ValueError, match=r"actions must be of shape \(2, 1\) or \(2,\), one for each"):
            multiplier_of(np.zeros(shape), 2)
    with pytest.raises(ValueError, match="got NaN"):
        multiplier_of(np.array([0.0, np.nan]), 2)


@pytest.mark.parametrize("name", ["start", "adjust"])
def test_a_checked_policy_that_ends_the_program_raises_like_any_other(name: str) -> None:
    def end(*_: Any) -> None:
        raise SystemExit(0)

    ended = "the policy raised SystemExit: 0"
    assert check_policy(type("Ending", (Shading,), {name: end})(0.5)) == [ended]
    assert check_policy(type("Ending", (Shading,), {name: property(end)})(0.5)) == [ended]


class AnySettings(Shading):
    def __init__(self, **given: float) -> None:
        super().__init__(given.get("factor", 0.5))


class Leaving(type):
    @property
    def __signature__(cls) -> None:
        raise SystemExit(0)


class Hidden(Shading, metaclass=Leaving):
    pass


def test_a_policy_of_ones_own_need_not_name_its_settings() -> None:
    own = make_policy(f"{__name__}:AnySettings", {"factor": 0.7})
    assert isinstance(own, OwnPolicy)
    assert own.policy.factor == 0.7  # type: ignore[attr-defined]
    assert isinstance(make_policy(f"{__name__}:Hidden"), OwnPolicy)


def test_public_names_resolve() -> None:
    assert all(hasattr(policies, name) for name in policies.__all__)


# The checker


class Own:
    """A sound policy for a broken one to override."""

    def start(self, budget: Any, value: Any) -> Any:
        return np.zeros_like(value), Bids(np.ones_like(value), np.ones_like(value))

    def adjust(self, state: Any, told: Any, u: Any) -> Any:
        seen = state + told.spent
        return seen, Bids(1.0 / (1.0 + seen), np.ones_like(seen))


def answer(multiplier: Callable[[Any, Any], Any], participation: Any = None) -> Callable[..., Any]:
    def adjust(self: Any, state: Any, told: Any, u: Any) -> Any:
        bids = multiplier(state, told)
        return state + 1.0, Bids(bids, np.ones_like(bids) if participation is None else participation)

    return adjust


def mutating(self: Any, state: Any, told: Any, u: Any) -> Any:
    told.spent[:] = 0.0
    return Own().adjust(state, told, u)


def remembering(self: Any, state: Any, told: Any, u: Any) -> Any:
    self.calls = getattr(self, "calls", 0) + 1
    return state, Bids(np.full_like(state, 1.0 / self.calls), np.ones_like(state))


def in_place(self: Any, state: Any, told: Any, u: Any) -> Any:
    state += 1.0
    return state, Bids(1.0 / state, np.ones_like(state))


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "nan": (answer(lambda s, r: np.full_like(s, np.nan)), "finite, from 0 to 1,000,000, got nan"),
    "negative": (answer(lambda s, r: s - 1.0), "finite, from 0 to 1,000,000, got -1"),
    "infinite": (answer(lambda s, r: r.clicks / r.spent), "finite"),
    "scalar": (answer(lambda s, r: np.float64(0.5)), r"floats of shape \(12,\)"),
    "whole numbers": (answer(lambda s, r: np.ones(s.size, dtype=int)), "floats"),
    "eager": (answer(lambda s, r: 1.0 + s, np.full(12, 1.5)), r"participation must be a number in \[0, 1\]"),
    "mean of all": (answer(lambda s, r: np.full_like(s, r.spent.sum())), "which other advertisers"),
    "mean value": (answer(lambda s, r: np.full_like(s, r.value.sum() / max(s.size, 1))), "which other"),
    "rank": (answer(lambda s, r: np.arange(s.size) / 9.0), "the order of the advertisers"),
    "mutating": (mutating, "changes the arrays"),
    "remembering": (remembering, "answered differently"),
    "in place": (in_place, "a new state"),
    "raises": (answer(lambda s, r: r.nothing), "raised AttributeError"),
    "nobody": (answer(lambda s, r: s * 0 + max(r.budget) * 0), "raised ValueError"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_checker_names_the_fault(fault: str) -> None:
    adjust, message = BROKEN[fault]
    policy = type("Broken", (Own,), {"adjust": adjust})()
    assert check_policy(Own()) == []
    with pytest.raises(AssertionError, match=message):
        raise AssertionError("\n".join(check_policy(policy)))


def test_checker_wants_both_methods() -> None:
    assert "must have the methods" in check_policy(object())[0]  # type: ignore[arg-type]


class Drawing(Own):
    def adjust(self, state: Any, told: Any, u: Any) -> Any:
        return state, Bids(np.random.default_rng().random(state.size), np.ones(state.size))


def test_seats_take_no_policy_that_a_market_would_not_take() -> None:
    for take in (Seats, lambda policy: PolicyShare(policy, 1.0)):
        with pytest.raises(ValueError, match="cannot be used: the same reports are answered differently"):
            take(policy=f"{__name__}:Drawing")
