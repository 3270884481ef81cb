"""Pacing: policies that spend a daily budget evenly, by lower bids or by fewer auctions."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.arrays import FloatArray
from simulator.policies.policy import Bids, Report, always, require


def even_spend_gap(spent: FloatArray, remaining: FloatArray, ticks_left: float) -> FloatArray:
    """1 - spent / plan F[n] of the last tick: above 0 where less than the plan was spent.

    The plan is to spend what was left before the tick evenly over the ticks, of which `ticks_left` come after
    it; `spent` F[n] in the tick, `remaining` F[n] after it (currency). 0 where nothing was left.
    """
    plan = (remaining + spent) / (ticks_left + 1.0)
    return 1.0 - np.divide(spent, plan, out=np.ones_like(plan), where=plan > 0)


def _gap(report: Report) -> FloatArray:
    return even_spend_gap(report.spent, report.remaining, report.ticks_left)


@dataclass(frozen=True, slots=True)
class DualPacing:
    """bid = shading x value x m, where log m += step (1 - spent / plan) at each tick, m in [floor, 1].

    The plan is an even spend of what is left of the budget. So it spends what it planned on average over the
    ticks; clipping the gap would put that off. Multiplicative dual descent: Balseiro, Lu and Mirrokni 2020,
    "Dual mirror descent for online allocation problems"; the equilibrium of such bidders: Conitzer, Kroer,
    Sodomka and Stier-Moses 2018, "Multiplicative pacing equilibria in auction markets".
    """

    shading: float = 0.8
    step: float = 0.1
    floor: float = 0.1

    def __post_init__(self) -> None:
        require(self, positive=("shading", "step", "floor"), shares=("floor",))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[FloatArray, Bids]:
        return np.ones_like(value), always(np.full_like(value, self.shading))

    def adjust(self, state: FloatArray, report: Report, u: FloatArray) -> tuple[FloatArray, Bids]:
        pace = np.clip(state * np.exp(self.step * _gap(report)), self.floor, 1.0)
        return pace, always(self.shading * pace)


class PidState(NamedTuple):
    """What the controller remembers."""

    integral: FloatArray  # [n] its part of the log multiplier
    gap: FloatArray  # [n] of the tick before


@dataclass(frozen=True, slots=True)
class PidPacing:
    """bid = shading x value x m, log m = kp e + ki (sum of e) + kd (change of e), m in [floor, 1].

    e = 1 - spent / plan with the plan of `dual_pacing`. The sum is held where m would leave its range, or it
    would take as long to come back. Zhang, Rong, Wang, Zhu and Wang 2016, "Feedback control of real-time
    display advertising"; the pacing baseline of Alibaba's AuctionNet and Avito's BAT.
    """

    shading: float = 0.8
    kp: float = 0.1
    ki: float = 0.1
    kd: float = 0.05
    floor: float = 0.1

    def __post_init__(self) -> None:
        require(self, positive=("shading", "floor"), not_negative=("kp", "ki", "kd"), shares=("floor",))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[PidState, Bids]:
        zero = np.zeros_like(value)
        return PidState(zero, zero), always(np.full_like(value, self.shading))

    def adjust(self, state: PidState, report: Report, u: FloatArray) -> tuple[PidState, Bids]:
        least, gap = np.log(self.floor), _gap(report)
        integral = np.clip(state.integral + self.ki * gap, least, 0.0)
        log_pace = np.clip(self.kp * gap + integral + self.kd * (gap - state.gap), least, 0.0)
        return PidState(integral, gap), always(self.shading * np.exp(log_pace))


@dataclass(frozen=True, slots=True)
class Throttling:
    """Bid value x shading in a share of the auctions: the share falls by `rate` when too much was spent.

    It rises by `rate` after a tick that spent less than an even plan; it stays in [least, 1]. Agarwal, Ghosh,
    Wei and You 2014, "Budget pacing for targeted online advertisements at LinkedIn"; why to throttle at all:
    Karande, Mehta and Srikant 2013, "Optimizing budget constrained spend in search advertising".
    """

    shading: float = 0.8
    rate: float = 0.1
    least: float = 0.02
    first: float = 1.0  # share before the first tick

    def __post_init__(self) -> None:
        require(self, positive=("shading", "rate", "least"), shares=("rate", "least", "first"))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[Bids, Bids]:
        bids = Bids(np.full_like(value, self.shading), np.full_like(value, self.first))
        return bids, bids

    def adjust(self, state: Bids, report: Report, u: FloatArray) -> tuple[Bids, Bids]:
        moved = state.participation * (1.0 + self.rate * np.sign(_gap(report)))
        bids = Bids(state.multiplier, np.clip(moved, self.least, 1.0))
        return bids, bids
