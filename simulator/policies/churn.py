"""Advertisers who come and go: newcomers join on later days, and some leave when their return is poor."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import numpy as np
from annotated_types import Ge, Le

from relevance.ranges import Share, check_ranges
from simulator.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class ChurnModel:
    """Who joins and who leaves, day by day; by default nobody does."""

    newcomer_share: Share = 0.0  # of the advertisers: join on a later day than the first
    least_return: Annotated[float, Ge(0), Le(1e6)] = (
        0.0  # conversion value per unit of spend that keeps an advertiser; 0: nobody leaves
    )
    patience_days: Annotated[float, Ge(1), Le(1e6)] = (
        7.0  # memory of the returns, and least number of days before leaving
    )

    def __post_init__(self) -> None:
        check_ranges(self, "bidders.churn")

    @property
    def on(self) -> bool:
        """Whether anybody may join or leave."""
        return self.newcomer_share > 0 or self.least_return > 0


class Returns(NamedTuple):
    """What advertisers remember of their days, each day weighing (1 - 1 / patience) times the next."""

    days: IntArray  # [N] in the market
    spent: FloatArray  # [N] currency
    earned: FloatArray  # [N] currency, value of conversions as reported

    @classmethod
    def none(cls, n: int) -> Self:
        """Of `n` advertisers before their first day."""
        return cls(np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n))


def joining_day(model: ChurnModel, u: FloatArray, n_days: int) -> IntArray:
    """The day I[N] on which each advertiser comes, from uniforms F[N]: 0 for those who are there at first.

    Newcomers come evenly over the days 1 .. n_days - 1; those of a run of one day on day 1, so never.
    """
    later = max(n_days - 1, 1)
    new = u < model.newcomer_share
    position = np.divide(u, model.newcomer_share, out=np.zeros_like(u), where=new)  # uniform again
    return np.where(new, 1 + (position * later).astype(np.int64), 0)


def remember(
    model: ChurnModel, returns: Returns, spent: FloatArray, earned: FloatArray, present: BoolArray
) -> Returns:
    """The returns after a day of spend F[N] and conversion value F[N]; those not `present` B[N] rest."""
    keep = 1.0 - 1.0 / model.patience_days
    return Returns(
        returns.days + present,
        np.where(present, keep * returns.spent + spent, returns.spent),
        np.where(present, keep * returns.earned + earned, returns.earned),
    )


def leaves(model: ChurnModel, returns: Returns) -> BoolArray:
    """Who leaves for good B[N]: after the days of its patience, its return on the spend is too low."""
    tired = returns.days >= model.patience_days
    return tired & (returns.spent > 0) & (returns.earned < model.least_return * returns.spent)
