"""Autobidding towards a target: cost per conversion, or return on spend."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from simulator.arrays import FloatArray
from simulator.policies.policy import Bids, Report, always, require


class TargetState(NamedTuple):
    """Where the multiplier is, and sums since the start."""

    multiplier: FloatArray  # [n]
    ticks: FloatArray  # [n]
    spent: FloatArray  # [n]
    conversions: FloatArray  # [n]
    conversion_value: FloatArray  # [n]

    @classmethod
    def before(cls, multiplier: FloatArray) -> Self:
        """The state at the start."""
        zero = np.zeros_like(multiplier)
        return cls(multiplier, zero, zero, zero, zero)

    def after(self, report: Report) -> Self:
        """The state after a tick, the multiplier not moved yet."""
        return self._replace(
            ticks=self.ticks + 1.0,
            spent=self.spent + report.spent,
            conversions=self.conversions + report.conversions,
            conversion_value=self.conversion_value + report.conversion_value,
        )


@dataclass(frozen=True, slots=True)
class _Target:
    """What both targets share: bid = value x m, with m before the first tick, its step and its range."""

    target: float
    first: float = 0.8  # m before the first tick
    step: float = 0.1
    floor: float = 0.05
    ceiling: float = 2.0

    def __post_init__(self) -> None:
        require(self, positive=("target", "first", "step", "floor", "ceiling"))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[TargetState, Bids]:
        first = np.full_like(value, self.first)
        return TargetState.before(first), always(first)

    def _steered(self, state: TargetState, gap: FloatArray, of_one: FloatArray) -> tuple[TargetState, Bids]:
        """Log multiplier += step x gap / scale, for a gap F[n] between what conversions allow and the spend.

        The scale is the larger of a tick's mean spend and what one conversion allows F[n], so that a single
        conversion moves the bid by a step. The gaps are not clipped: they add up to the whole run's.
        """
        scale = np.maximum(state.spent / np.maximum(state.ticks, 1.0), of_one)
        relative = np.divide(gap, scale, out=np.zeros_like(gap), where=scale > 0)
        moved = np.clip(state.multiplier * np.exp(self.step * relative), self.floor, self.ceiling)
        return state._replace(multiplier=moved), always(moved)


@dataclass(frozen=True, slots=True)
class TargetCpa(_Target):
    """Spend `target` (currency) per conversion, no more and no less: bid = value x m.

    log m += step (target x conversions - spent) / scale, in [floor, ceiling]: what conversions allowed
    against what was spent, over the larger of a tick's mean spend and one conversion's target. Dual descent
    on the constraint: Feng, Padmanabhan and Wang 2023, "Online bidding algorithms for return-on-spend
    constrained advertisers"; Aggarwal, Badanidiyuru and Mehta 2019, "Autobidding with constraints".
    """

    target: float = 20.0

    def adjust(self, state: TargetState, report: Report, u: FloatArray) -> tuple[TargetState, Bids]:
        gap = self.target * report.conversions - report.spent
        return self._steered(state.after(report), gap, np.full_like(gap, self.target))


@dataclass(frozen=True, slots=True)
class TargetRoas(_Target):
    """Earn `target` (currency) of conversions with each unit of spend: bid = value x m.

    log m += step (conversion value / target - spent) / scale, in [floor, ceiling]; scale and sources as for
    `TargetCpa`. What one conversion allows is learnt; until the first one it is all that was spent.
    """

    target: float = 1.2

    def adjust(self, state: TargetState, report: Report, u: FloatArray) -> tuple[TargetState, Bids]:
        state = state.after(report)
        gap = report.conversion_value / self.target - report.spent
        mean = state.conversion_value / np.maximum(state.conversions, 1.0) / self.target
        return self._steered(state, gap, np.where(state.conversions > 0, mean, state.spent))
