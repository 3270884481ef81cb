"""Station 7, ledger: who pays what, and who has run out. Whole micros, so that sums are exact.

The budget is a hard cap. An advertiser whose remaining budget is below the price of a slot that it would win
leaves for the rest of the day, and that query is auctioned without it, whether or not the slot would be
clicked.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from simulator.arrays import BoolArray, IntArray

UNLIMITED = 10**15  # micros: a billion units of currency; sums of many still fit in 64 bits


@dataclass(slots=True)
class Ledger:
    """The accounts of the advertisers for one day. Queries change nothing else."""

    budget: IntArray  # [N] micros
    spent: IntArray  # [N] micros
    active: BoolArray  # [N] has not run out

    @classmethod
    def open(cls, budget: IntArray) -> Self:
        """A new day with budgets I[N] in micros."""
        return cls(budget.copy(), np.zeros_like(budget), np.ones(budget.shape, dtype=np.bool_))

    @property
    def remaining(self) -> IntArray:
        """Budget not spent yet, I[N] micros; never negative."""
        return self.budget - self.spent

    def charge(self, advertiser: IntArray, charged: IntArray) -> None:
        """Book charges I[...] in micros to advertisers I[...] (-1: nobody); ValueError beyond a budget."""
        someone = advertiser >= 0
        np.add.at(self.spent, advertiser[someone], charged[someone])
        if bool((self.spent > self.budget).any()):
            raise ValueError(
                f"advertiser {int(np.argmax(self.spent - self.budget))} was charged beyond its budget"
            )


@dataclass(frozen=True, slots=True)
class Shortfall:
    """The first query of a batch at which somebody cannot pay, and who."""

    row: int
    advertisers: IntArray


def first_shortfall(
    advertiser: IntArray, price: IntArray, charged: IntArray, remaining: IntArray
) -> Shortfall | None:
    """Find the first row in which a shown advertiser's price exceeds its remaining budget by then.

    Rows are queries in their order: advertiser I[Q, S] (-1 empty), price per click and charge I[Q, S] in
    micros; `remaining` I[N] micros before the first row. An advertiser may take one slot per query.
    """
    shown = advertiser >= 0
    row = np.nonzero(shown)[0]
    who, price, charged = advertiser[shown], price[shown], charged[shown]
    # Hardly anybody is near the end of its budget in a given batch: leave the others out.
    total = np.zeros_like(remaining)
    np.add.at(total, who, charged)
    near = (total + price.max(initial=0) > remaining)[who]
    if not near.any():
        return None
    row, who, price, charged = row[near], who[near], price[near], charged[near]
    by_advertiser = np.argsort(who, kind="stable")
    row, who, price, charged = (x[by_advertiser] for x in (row, who, price, charged))
    before = np.cumsum(charged) - charged
    starts = np.concatenate(([True], who[1:] != who[:-1]))
    before -= before[starts][np.cumsum(starts) - 1]
    short = price > remaining[who] - before
    if not short.any():
        return None
    first = int(row[short].min())
    return Shortfall(first, who[short & (row == first)])
