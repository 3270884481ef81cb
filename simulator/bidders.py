"""Bidders: what a click is worth to them, what they bid, and how they pace their budgets.

By default some pace and the others bid the same all day; with `policies` every advertiser follows one of
those of `simulator.policies`. A bidder sees its own figures and what a platform reports, nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le

from relevance.ranges import Share, Spread, check_ranges
from simulator.arrays import BoolArray, FloatArray, IntArray, to_micros
from simulator.policies import (
    BidPolicy,
    Bids,
    DualPacing,
    Report,
    Shading,
    State,
    even_spend_gap,
    make_policy,
)
from simulator.policies.churn import ChurnModel
from simulator.policies.match_types import MatchBids
from simulator.policies.registry import refuse_unfit
from simulator.policies.seats import DEVIATING, SEATED, Seats


@dataclass(frozen=True, slots=True)
class PolicyShare:
    """A share of the advertisers who follow a bid policy."""

    policy: str  # a name in policies.POLICIES, or your own as "module:attr"
    share: Annotated[float, Gt(0), Le(1)]
    settings: dict[str, Annotated[float, Ge(-1e9), Le(1e9)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_ranges(self, "bidders.policies")
        refuse_unfit(self.policy, self.settings)


@dataclass(frozen=True, slots=True)
class BidderModel:
    """Values, bids and budgets of the advertisers; amounts in currency units."""

    value_median: Annotated[float, Gt(0), Le(1e4)] = 1.0  # of a click
    category_sigma: Spread = 0.5  # spread of log values between categories
    value_sigma: Spread = 0.4  # spread of log values between the ads of a category
    shading: Annotated[float, Gt(0), Le(100)] = 0.8  # bid / value; GSP is not truthful, and bidders know
    budget_multiple: Annotated[float, Gt(0), Le(1e6)] = (
        3.0  # median budget over the spend that the traffic would let a bidder have
    )
    budget_sigma: Spread = 1.0  # spread of log budgets
    paced_share: Share = 0.5  # of the advertisers; the others bid the same all day
    pacing_tick_s: Annotated[float, Ge(0.001), Le(1e7)] = 900.0
    pacing_step: Annotated[float, Ge(0), Le(10)] = (
        0.1  # log rise of the multiplier in a tick without any spend
    )
    pacing_floor: Annotated[float, Gt(0), Le(1)] = 0.1  # least multiplier
    policies: tuple[PolicyShare, ...] = ()  # who bids how; none: shading, paced_share and pacing_* say it
    churn: ChurnModel = field(default_factory=ChurnModel)  # who joins and who leaves, over days
    match_bids: MatchBids = field(default_factory=MatchBids)  # by how retrieval found the ad
    seats: Seats = field(default_factory=Seats)  # who follows another policy, to compare policies

    def __post_init__(self) -> None:
        check_ranges(self, "bidders")
        total = sum(one.share for one in self.policies)
        if self.policies and abs(total - 1.0) > 1e-9:
            raise ValueError(f"the shares of bidders.policies must sum to 1, they sum to {total:g}")


def values(model: BidderModel, category_draw: FloatArray, ad_draw: FloatArray) -> FloatArray:
    """Value per click F[A], lognormal, from standard normals F[A] of the ad's category and of the ad."""
    return model.value_median * np.exp(model.category_sigma * category_draw + model.value_sigma * ad_draw)


def demand(
    parts: Iterable[tuple[FloatArray, FloatArray, IntArray, IntArray]], n: int, n_slots: int
) -> FloatArray:
    """Spend F[N] of each of `n` advertisers if every candidate were as likely as the others to be shown.

    A part holds some queries: an impression's expected cost F[Q, K], the queries in a day F[Q], the ads
    I[Q, K] (-1 padding) and their advertisers I[Q, K]. However the queries are parted, the sums are the same
    bits.
    """
    total = np.zeros(n)
    for spend_if_shown, traffic, candidate, owner in parts:
        met = candidate >= 0
        chance = np.minimum(1.0, n_slots / np.maximum(met.sum(axis=1), 1))
        expected = (traffic * chance)[:, None] * spend_if_shown
        np.add.at(total, owner[met], expected[met])
    return total


def budgets(model: BidderModel, demand: FloatArray, draw: FloatArray) -> IntArray:
    """Daily budgets in micros I[N]: lognormal multiples of the demand F[N], from standard normals F[N]."""
    return to_micros(demand * model.budget_multiple * np.exp(model.budget_sigma * draw))


def bids_micros(
    model: BidderModel, value: FloatArray, multiplier: FloatArray, advertiser: IntArray
) -> IntArray:
    """Bids per click I[A] in micros: value F[A] x shading x multiplier F[N] of the ad's advertiser I[A]."""
    return to_micros(value * model.shading * multiplier[advertiser])


def pace(
    model: BidderModel,
    multiplier: FloatArray,
    paced: BoolArray,
    spent: FloatArray,
    remaining: FloatArray,
    ticks_left: float,
) -> FloatArray:
    """New bid multipliers F[N] at a tick, of those who pace B[N].

    The plan is to spend what is left evenly over the ticks left: log multiplier += step (1 - spent / plan),
    kept in [floor, 1], with `spent` F[N] in the last tick and `remaining` F[N] after it (currency). So it
    spends what it planned on average over the ticks; clipping the error would put that off. Multiplicative
    dual descent: Balseiro, Lu and Mirrokni 2020, "Dual mirror descent for online allocation problems".
    """
    gap = even_spend_gap(spent, remaining, ticks_left)
    moved = np.clip(multiplier * np.exp(model.pacing_step * gap), model.pacing_floor, 1.0)
    return np.where(paced, moved, multiplier)


class Followers(NamedTuple):
    """A policy and the advertisers who follow it."""

    policy: BidPolicy
    advertisers: IntArray  # [n] ascending


def followers(shares: Sequence[PolicyShare], u: FloatArray) -> tuple[Followers, ...]:
    """Who follows which policy: uniforms F[N], one per advertiser, cut at the cumulative shares."""
    cuts = np.cumsum([one.share for one in shares])[:-1]  # the last takes the rest, rounding or not
    which = np.searchsorted(cuts, u, side="right")
    return tuple(
        Followers(make_policy(one.policy, one.settings), np.flatnonzero(which == i))
        for i, one in enumerate(shares)
    )


def said_as_policies(model: BidderModel, paced: BoolArray) -> tuple[Followers, ...]:
    """The default bidders as policies: those who pace B[N], and those who bid the same all day."""
    pacing = DualPacing(model.shading, model.pacing_step, model.pacing_floor)
    shading = Shading(model.shading)
    return Followers(pacing, np.flatnonzero(paced)), Followers(shading, np.flatnonzero(~paced))


def without(groups: Iterable[Followers], some: IntArray) -> tuple[Followers, ...]:
    """The groups without some of the advertisers I[m]."""
    return tuple(Followers(policy, np.setdiff1d(who, some)) for policy, who in groups)


def with_seats(seats: Seats, seat: IntArray, groups: Sequence[Followers]) -> tuple[Followers, ...]:
    """The groups, and those who have a seat I[N], see `policies.seats.seat_of`."""
    policy = make_policy(seats.policy, seats.settings)
    deviates = (seat == DEVIATING) if seats.deviate else np.zeros(seat.size, dtype=np.bool_)
    seated = [Followers(policy, np.flatnonzero((seat >= SEATED) & ~deviates))]
    if seats.deviate:
        seated.append(Followers(Shading(seats.deviate), np.flatnonzero(deviates)))
    return *seated, *without(groups, np.flatnonzero(seat))


def mean_value(value: FloatArray, advertiser: IntArray, n: int) -> FloatArray:
    """Mean value per click F[N] over the ads F[A] of each of `n` advertisers; 0 without any."""
    ads = np.bincount(advertiser, minlength=n)
    return np.bincount(advertiser, weights=value, minlength=n) / np.maximum(ads, 1)


def first_bids(
    groups: Sequence[Followers], budget: FloatArray, value: FloatArray
) -> tuple[tuple[State, ...], Bids]:
    """What all want before the first tick, F[N]: see `policies.BidPolicy.start`."""
    begun = [policy.start(budget[who], value[who]) for policy, who in groups]
    return tuple(state for state, _ in begun), _together(groups, [bids for _, bids in begun], budget.size)


def next_bids(
    groups: Sequence[Followers], states: Sequence[State], report: Report, u: FloatArray
) -> tuple[tuple[State, ...], Bids]:
    """What all want until the next tick, from the report to all N and uniforms F[N, 4]."""
    moved = [
        policy.adjust(state, report.of(who), u[who])
        for (policy, who), state in zip(groups, states, strict=True)
    ]
    return tuple(state for state, _ in moved), _together(groups, [bids for _, bids in moved], u.shape[0])


def _together(groups: Sequence[Followers], answers: Sequence[Bids], n: int) -> Bids:
    bids = Bids(np.zeros(n), np.ones(n))
    for group, answer in zip(groups, answers, strict=True):
        for whole, part in zip(bids, answer, strict=True):
            whole[group.advertisers] = part
    return bids
