"""The interface of a bid policy: the report that it gets, the bids that it returns, and its two methods."""

from dataclasses import dataclass, fields, replace
from math import inf
from numbers import Real
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np

from simulator.arrays import FloatArray, IntArray

State: TypeAlias = Any  # an array, or a NamedTuple of arrays, whose first axis is the advertisers
N_UNIFORMS = 4  # that an advertiser has at each tick


@dataclass(frozen=True, slots=True)
class Report:
    """What a platform reports to n advertisers at a tick: their own figures, and averages of the market."""

    time_s: float
    day: int
    ticks_left: float  # in the day after this one; a last, shorter one counts as a fraction
    budget: FloatArray  # [n] of the day, currency
    remaining: FloatArray  # [n]
    value: FloatArray  # [n] own mean value per click; what the advertiser itself knows
    # Of the last tick
    impressions: FloatArray  # [n]
    clicks: FloatArray  # [n]
    spent: FloatArray  # [n] currency
    conversions: FloatArray  # [n] that happened, whenever their clicks were
    conversion_value: FloatArray  # [n] currency
    slot_price: FloatArray  # [S] mean price per click over the market's ads in the slot, 0 where none was
    slot_clicks: FloatArray  # [S] clicks per query of the market

    def of(self, advertisers: IntArray) -> "Report":
        """The report to some of the advertisers I[m], in arrays of their own, which they may change."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        shared = ("time_s", "day", "ticks_left")
        slots = {name: own.pop(name).copy() for name in ("slot_price", "slot_clicks")}
        return replace(
            self, **slots, **{name: x[advertisers] for name, x in own.items() if name not in shared}
        )


class Bids(NamedTuple):
    """What a policy wants until the next tick."""

    multiplier: FloatArray  # [n] bid = value per click x multiplier
    participation: FloatArray  # [n] share of the auctions to take part in, in [0, 1]


@runtime_checkable
class BidPolicy(Protocol):
    """How some advertisers bid; pure functions of arrays, advertiser by advertiser."""

    def start(self, budget: FloatArray, value: FloatArray) -> tuple[State, Bids]:
        """Bids of the first tick, from daily budgets F[n] (currency) and mean values per click F[n]."""
        ...

    def adjust(self, state: State, report: Report, u: FloatArray) -> tuple[State, Bids]:
        """Bids of the next tick, from the state of the last, its report, and uniforms F[n, 4]."""
        ...


def always(multiplier: FloatArray) -> Bids:
    """Take part in every auction."""
    return Bids(multiplier, np.ones_like(multiplier))


def require(
    policy: Any,
    *,
    positive: tuple[str, ...] = (),
    not_negative: tuple[str, ...] = (),
    shares: tuple[str, ...] = (),
) -> None:
    """ValueError unless the settings named are numbers of their kind."""
    kind = type(policy).__name__
    for name in (*positive, *not_negative, *shares):
        if not isinstance(getattr(policy, name), Real):
            raise ValueError(f"{kind}: {name} must be a number, got {getattr(policy, name)!r}")
        if not 0 <= getattr(policy, name) < inf:
            raise ValueError(f"{kind}: {name} must not be negative, got {getattr(policy, name)}")
    for name in positive:
        if getattr(policy, name) == 0:
            raise ValueError(f"{kind}: {name} must be positive, got 0")
    for name in shares:
        if getattr(policy, name) > 1:
            raise ValueError(f"{kind}: {name} must be at most 1, got {getattr(policy, name)}")
