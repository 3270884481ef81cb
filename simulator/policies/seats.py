"""Seats: advertisers who follow another policy than the market's, on another budget, to compare policies.

The same advertisers are seated whatever the policy, so two policies meet the same values, ads and queries.
"""

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from relevance.ranges import check_ranges
from simulator.arrays import FloatArray, IntArray
from simulator.policies.registry import refuse_unfit

SEATED, DEVIATING = 1, 2
"""What `seat_of` says of an advertiser who has a seat; 0: it has none."""
CAN_DEVIATE = 0.5
"""Share of the seats whose advertisers can deviate."""


@dataclass(frozen=True, slots=True)
class Seats:
    """Who is seated, and what they do; by default nobody is."""

    policy: str = ""  # a name in policies.POLICIES, or your own as "module:attr"; none: no seats
    settings: dict[str, Annotated[float, Ge(-1e9), Le(1e9)]] = field(default_factory=dict, hash=False)
    share: Annotated[float, Gt(0), Le(1)] = 0.1  # of the advertisers
    budget: Annotated[float, Gt(0), Le(1e6)] = (
        0.05  # times the advertiser's own: so small that it has to be spent with care
    )
    deviate: Annotated[float, Ge(0), Le(100)] = (
        0.0  # half of the seats bid this times their value instead, all day; 0: none does
    )

    def __post_init__(self) -> None:
        check_ranges(self, "bidders.seats")
        if self.policy:
            refuse_unfit(self.policy, self.settings)


def seat_of(seats: Seats, u: FloatArray) -> IntArray:
    """Who has a seat, I[N]: 0, SEATED or DEVIATING, from uniforms F[N], one per advertiser.

    Who is DEVIATING is the same whether they deviate or not.
    """
    if not seats.policy:
        return np.zeros(u.size, dtype=np.int64)
    return np.where(u < CAN_DEVIATE * seats.share, DEVIATING, np.where(u < seats.share, SEATED, 0))
