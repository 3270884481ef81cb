"""Balanced bidding: the best response that leads to prices nobody envies."""

from dataclasses import dataclass

import numpy as np

from simulator.arrays import FloatArray
from simulator.policies.policy import Bids, Report, always, require


@dataclass(frozen=True, slots=True)
class Balanced:
    """Aim at the slot that pays best, and bid as high as losing it to the slot above would not hurt.

    With clicks a_s and prices p_s by slot as reported, and value v: s maximises a_s (v - p_s) among the slots
    that the present bid reaches, p_s < bid, and the next bid b solves a_s (v - p_s) = a_{s-1} (v - b); in the
    top slot b = (v + p_1) / 2; where no slot pays, b = v. Restricted balanced bidding of Cary, Das, Edelman,
    Giotis, Heimerl, Karlin, Mathieu and Schwarz 2007, "Greedy bidding strategies for keyword auctions": its
    one fixed point gives VCG's payments, and it is reached even if all move at once. Each looks again with
    probability `revise` at a tick.
    """

    revise: float = 1.0

    def __post_init__(self) -> None:
        require(self, shares=("revise",))

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[Bids, Bids]:
        bids = always(np.ones_like(value))
        return bids, bids

    def adjust(self, state: Bids, report: Report, u: FloatArray) -> tuple[Bids, Bids]:
        value = report.value
        bid = balanced_bid(value, value * state.multiplier, report.slot_price, report.slot_clicks)
        wanted = np.divide(bid, value, out=np.ones_like(bid), where=value > 0)
        bids = always(np.where(u[:, 0] < self.revise, wanted, state.multiplier))
        return bids, bids


def balanced_bid(
    value: FloatArray, bid: FloatArray, slot_price: FloatArray, slot_clicks: FloatArray
) -> FloatArray:
    """Next bids F[n] for values and present bids F[n], at prices and clicks F[S] by slot: see `Balanced`."""
    # Reported clicks are noisy; a slot is worth at least what the slots below it are.
    clicks = np.maximum.accumulate(slot_clicks[::-1])[::-1]
    # The price of the slot above is the own bid: rounding to micros must not put it within reach.
    reached = slot_price < bid[:, None] * (1.0 - 1e-5)
    profit = np.where(reached, clicks * (value[:, None] - slot_price), 0.0)
    slot = np.argmax(profit, axis=1)
    above = clicks[np.maximum(slot - 1, 0)]
    # The slot above the top one counts for twice its clicks, as in the paper.
    ratio = np.where(slot == 0, 0.5, clicks[slot] / np.where(above > 0, above, 1.0))
    pays = profit[np.arange(value.size), slot] > 0
    return np.where(pays, value - ratio * (value - slot_price[slot]), value)
