"""Who gains and who loses in a market: concentration, small against large advertisers, newcomers, losses.

Pure functions of counts; `market_metrics.METRICS` gives them names. All are NaN where nobody is concerned.
"""

from dataclasses import dataclass
from math import nan

import numpy as np

from simulator.arrays import MICROS, BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Advertisers:
    """What a run gave each of N advertisers."""

    budget: IntArray  # [N] micros a day
    impressions: IntArray  # [N]
    spent: IntArray  # [N] micros
    worth: FloatArray  # [N] currency: what its clicks were worth, see Facts.worth_of_clicks
    new: BoolArray  # [N] newcomers
    joined_s: FloatArray  # [N]
    first_click_s: FloatArray  # [N] infinite without a click
    days: int
    seat: IntArray | None = None  # [N] see policies.seats.seat_of; None: there are no seats

    @property
    def small(self) -> BoolArray:
        """The lower half by budget, B[N]; whoever has no budget takes no part, and does not count."""
        some = self.budget > 0
        return some & (self.budget < np.median(self.budget[some])) if some.any() else some

    @property
    def large(self) -> BoolArray:
        """The top tenth by budget, B[N], of those that have one."""
        some = self.budget > 0
        return some & (self.budget > np.quantile(self.budget[some], 0.9)) if some.any() else some


def herfindahl(amount: IntArray) -> float:
    """Sum of squared shares of amounts I[N]: 1 / N if all are equal, 1 if one has all.

    Herfindahl-Hirschman index, here of shares of 1, not of percents.
    """
    whole = int(amount.sum())
    return float(((amount / whole) ** 2).sum()) if whole else nan


def top_share(amount: IntArray, n: int = 10) -> float:
    """Share of the `n` largest in the sum of amounts I[N]."""
    whole = int(amount.sum())
    return int(np.sort(amount)[::-1][:n].sum()) / whole if whole else nan


def share_of(some: BoolArray, amount: IntArray) -> float:
    """Share of some B[N] in the sum of amounts I[N]."""
    whole = int(amount.sum())
    return int(amount[some].sum()) / whole if whole and some.any() else nan


def return_of(some: BoolArray, who: Advertisers) -> float:
    """What the clicks of some B[N] were worth, per unit of what they paid."""
    spent = int(who.spent[some].sum())
    return float(who.worth[some].sum()) / (spent / MICROS) if spent else nan


def surplus_of(some: BoolArray, who: Advertisers) -> float:
    """Worth of the clicks of some B[N] less what they paid, per unit of their budgets of all days."""
    budget = who.days * int(who.budget[some].sum())
    gained = float(who.worth[some].sum()) - int(who.spent[some].sum()) / MICROS
    return gained / (budget / MICROS) if budget else nan


def used_of(some: BoolArray, who: Advertisers) -> float:
    """What some B[N] paid, per unit of their budgets of all days."""
    budget = who.days * int(who.budget[some].sum())
    return int(who.spent[some].sum()) / budget if budget else nan


def loss_share(who: Advertisers) -> float:
    """Share of those who paid more than their clicks were worth, among those who paid."""
    paid = who.spent > 0
    lost = who.worth < who.spent / MICROS
    return float((paid & lost).sum()) / int(paid.sum()) if paid.any() else nan


def time_to_first_click(who: Advertisers, end_s: float) -> float:
    """Mean time from joining to the first click over newcomers who joined before the end.

    One without a click counts with its time until the end: leaving it out would make a market look quick in
    which only a few get any click.
    """
    come = who.new & (who.joined_s < end_s)
    waited_s = np.minimum(who.first_click_s, end_s)[come] - who.joined_s[come]
    return float(waited_s.mean()) if come.any() else nan


def variation(n: int, total: int, squares: int) -> float:
    """Coefficient of variation, standard deviation / mean, of n numbers with a sum and a sum of squares."""
    return float((n * squares - total**2) ** 0.5 / total) if total else nan
