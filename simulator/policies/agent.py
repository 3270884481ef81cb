"""Agents that see numbers and answer with a bid, as policies: what was trained outside bids in any market.

`simulator.clock.pettingzoo.MarketEnv` shows its agents the same numbers and reads the same action, so an
agent that was trained there can be seated in a scenario, vectorised over all who follow it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from relevance.ranges import check_within
from simulator.arrays import FloatArray
from simulator.policies.policy import Bids, Report, always

Single = NDArray[np.float32]

OWN = ("value", "budget", "remaining", "impressions", "clicks", "spent", "conversions", "conversion_value")
"""What an agent is told of itself (see `Report`), after the time; the slots' figures come last."""

LOWEST, HIGHEST = -4.0, 2.0
"""Bounds of the action, a log multiplier."""


def observations(report: Report, day_s: float) -> Single:
    """What agents see of a report to n of them, F[n, 2 + 8 + 2S].

    The share of the day that is over, the ticks left in it, the figures OWN, then price per click and clicks
    per query of the S slots.

    Args:
        day_s: length of a day.
    """
    n = report.value.size
    time = np.tile(((report.time_s - report.day * day_s) / day_s, report.ticks_left), (n, 1))
    own = np.stack([getattr(report, name) for name in OWN], axis=1)
    shared = np.tile(np.concatenate([report.slot_price, report.slot_clicks]), (n, 1))
    return np.concatenate([time, own, shared], axis=1).astype(np.float32)


def multiplier_of(action: Single | FloatArray, n: int) -> FloatArray:
    """The multiplier F[n] of n actions F[n, 1] or F[n]: exp of the action, clipped to [LOWEST, HIGHEST].

    Raises:
        ValueError: they are no such numbers.
    """
    log = np.asarray(action)
    if log.dtype.kind not in "fiub":
        raise ValueError(f"actions must be numbers, log multipliers; they are of the kind {log.dtype}")
    if log.shape not in ((n,), (n, 1)):
        raise ValueError(f"actions must be of shape ({n}, 1) or ({n},), one for each agent, got {log.shape}")
    numbers: FloatArray = log.reshape(n).astype(np.float64)
    if np.isnan(numbers).any():
        raise ValueError("actions must be numbers, log multipliers, got NaN")
    return np.exp(np.clip(numbers, LOWEST, HIGHEST))


class Agent:
    """A policy that bids what a function of the observations says.

    Before the first tick nobody has seen anything, and it bids `first` times the value.
    """

    def __init__(
        self, act: Callable[[Single], Single], *, first: float = 0.8, day_s: float = 86_400.0
    ) -> None:
        """Wrap a function.

        Args:
            act: observations F[n, width] -> log multipliers F[n, 1] or F[n]; each row on its own.
            first: multiplier until the first tick.
            day_s: length of the market's day, `traffic.horizon_s`.
        """
        if not callable(act):
            raise ValueError(f"act must be a function of the observations, got {act!r}")
        check_within("first", first, 0, 1e6)
        check_within("day_s", day_s, 1e-3, 1e7)
        self.act, self.first, self.day_s = act, first, day_s

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[FloatArray, Bids]:
        bids = always(np.full_like(value, self.first))
        return bids.multiplier, bids

    def adjust(self, state: FloatArray, report: Report, u: FloatArray) -> tuple[FloatArray, Bids]:
        if not report.value.size:
            return state, always(state)
        bids = always(multiplier_of(self.act(observations(report, self.day_s)), report.value.size))
        return bids.multiplier, bids
