"""Policies that never move: a fixed price, the value, a share of the value."""

from dataclasses import dataclass

import numpy as np

from simulator.arrays import FloatArray
from simulator.policies.policy import Bids, Report, always, require


class _Constant:
    """Keeps the bids that it starts with."""

    __slots__ = ()

    def adjust(self, state: Bids, report: Report, u: FloatArray) -> tuple[Bids, Bids]:
        return state, state


@dataclass(frozen=True, slots=True)
class Fixed(_Constant):
    """The same bid all day: `bid` (currency per click) on average over the own ads, whatever their value.

    What an advertiser does who sets a maximum price per click once.
    """

    bid: float = 0.8

    def __post_init__(self) -> None:
        require(self, positive=("bid",))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[Bids, Bids]:
        bids = always(np.divide(self.bid, value, out=np.zeros_like(value), where=value > 0))
        return bids, bids


@dataclass(frozen=True, slots=True)
class Truthful(_Constant):
    """Bid the value: dominant in VCG, not in GSP (Edelman, Ostrovsky and Schwarz 2007)."""

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[Bids, Bids]:
        bids = always(np.ones_like(value))
        return bids, bids


@dataclass(frozen=True, slots=True)
class Shading(_Constant):
    """Bid the value times `factor`, all day.

    With n bidders of uniform values (n - 1) / n is the equilibrium of a first-price auction (Vickrey 1961);
    in GSP shading pays too, since the next slot is cheaper.
    """

    factor: float = 0.8

    def __post_init__(self) -> None:
        require(self, positive=("factor",))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[Bids, Bids]:
        bids = always(np.full_like(value, self.factor))
        return bids, bids
