"""A bandit that learns its multiplier from what each one earned."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simulator.arrays import FloatArray, IntArray
from simulator.policies.policy import Bids, Report, always, require


class BanditState(NamedTuple):
    """What each multiplier has earned, forgetting; M multipliers."""

    arm: IntArray  # [n] the one in use
    pulls: FloatArray  # [n, M]
    earned: FloatArray  # [n, M] currency
    largest: FloatArray  # [n] reward of a tick so far, in absolute value


@dataclass(frozen=True, slots=True)
class Bandit:
    """Learn which of `arms` multipliers from `lowest` to `highest` earns most: clicks x value - spent a tick.

    Discounted UCB: the next multiplier has the largest mean reward + width x (largest reward so far) x
    sqrt(ln(ticks) / times tried), where all that was seen counts `memory` times what it did a tick before;
    those not tried come first, in a random order. A tick without the budget for a click tells nothing.
    Auer, Cesa-Bianchi and Fischer 2002, "Finite-time analysis of the multiarmed bandit problem"; Garivier and
    Moulines 2011, "On upper-confidence bound policies for switching bandit problems".
    """

    arms: float = 6
    lowest: float = 0.4
    highest: float = 1.0
    width: float = 0.1
    memory: float = 1.0

    def __post_init__(self) -> None:
        require(self, positive=("lowest", "highest", "memory"), not_negative=("width",), shares=("memory",))
        if not 2 <= self.arms <= 100 or self.arms != int(self.arms):
            raise ValueError(f"bandit: arms must be a whole number from 2 to 100, got {self.arms}")
        if not self.lowest < self.highest:
            raise ValueError(f"bandit: lowest must be below highest, got {self.lowest} and {self.highest}")

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[BanditState, Bids]:
        nothing = np.zeros((value.size, int(self.arms)))
        arm = np.full(value.size, int(self.arms) // 2)
        return BanditState(arm, nothing, nothing, np.zeros_like(value)), self._bids(arm)

    def adjust(self, state: BanditState, report: Report, u: FloatArray) -> tuple[BanditState, Bids]:
        multiplier = self._bids(state.arm).multiplier
        told = (report.impressions > 0) | (report.remaining >= multiplier * report.value)
        reward = report.value * report.clicks - report.spent
        used = np.arange(int(self.arms)) == state.arm[:, None]
        pulls = self.memory * state.pulls + used
        earned = self.memory * state.earned + used * reward[:, None]
        largest = np.maximum(state.largest, np.abs(reward))
        tried = np.maximum(pulls, 1e-300)
        bonus = np.sqrt(np.log(np.maximum(pulls.sum(axis=1, keepdims=True), 1.0)) / tried)
        index = np.where(pulls > 0, earned / tried + self.width * largest[:, None] * bonus, np.inf)
        learnt = BanditState(_largest_at_random(index, u[:, 0]), pulls, earned, largest)
        state = BanditState(
            *(
                np.where(told if new.ndim == 1 else told[:, None], new, old)
                for new, old in zip(learnt, state, strict=True)
            )
        )
        return state, self._bids(state.arm)

    def _bids(self, arm: IntArray) -> Bids:
        return always(np.linspace(self.lowest, self.highest, int(self.arms))[arm])


def _largest_at_random(index: FloatArray, u: FloatArray) -> IntArray:
    """Column I[n] of the largest of each row of F[n, M]; of equals, the first from a random one on."""
    n, m = index.shape
    order = (np.arange(m) + (u * m).astype(np.int64)[:, None]) % m
    best = np.argmax(np.take_along_axis(index, order, axis=1), axis=1)
    found: IntArray = order[np.arange(n), best]
    return found
