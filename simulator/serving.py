"""Serving: batches, servers, time-outs, a cache and a first stage between a query and the scorer.

These functions are what the engine's servers compute, without their clock: how long a batch takes, which
queries wait, which of them a cache answers, and which candidates a first stage keeps.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

import numpy as np
from annotated_types import Ge, Gt, Le, MaxLen

from relevance.ranges import Money, Seconds, Share, check_ranges
from simulator.arrays import BoolArray, FloatArray, IntArray

FULL, CACHED, FALLBACK, SKIPPED = 0, 1, 2, 3
"""What answered a query: the scorer, its cached scores, the fallback scorer, or nobody (no ads)."""

SKIP = "skip"
"""The fallback that shows no ads."""

Point: TypeAlias = tuple[Annotated[float, Gt(0), Le(1e9)], Annotated[float, Gt(0), Le(1e7)]]
"""(pairs in a batch, seconds)."""


@dataclass(frozen=True, slots=True)
class ServingModel:
    """A micro-batcher in front of servers. With all times 0, queries are answered on arrival."""

    batch_size: Annotated[int, Ge(1), Le(10**6)] = (
        1024  # most queries in a micro-batch; at zero latency it changes speed only
    )
    window_s: Seconds = 0.0  # longest that the first query of a batch waits for company
    servers: Annotated[int, Ge(1), Le(10_000)] = 1
    service_s: Seconds = 0.0  # time that a server takes for a batch ...
    service_per_query_s: Seconds = 0.0  # ... plus this for each query in it ...
    service_per_pair_s: Seconds = 0.0  # ... plus this for each pair scored ...
    profile: Annotated[
        tuple[Point, ...], MaxLen(1000)
    ] = ()  # ... plus what was measured: (pairs in a batch, seconds)
    speed: Annotated[float, Ge(1e-3), Le(1e6)] = 1.0  # divides the whole of it: another machine
    service_distribution: str = "constant"  # or "exponential", with that mean
    timeout_s: Annotated[float, Gt(0), Le(1e7)] | None = (
        None  # a query not answered this long after its arrival gets the fallback
    )
    fallback: str = SKIP  # a cheap scorer that ranks then, or "skip": no ads are shown
    cache_queries: Annotated[int, Ge(0), Le(10**9)] = (
        0  # queries whose scores are kept, the least recently used leaves first
    )
    cache_hit_rate: Share = 0.0  # or this share of queries is taken to be in a cache
    scoring: str = "table"  # all pairs are scored before the run; or "live": when their batch is ranked
    clock: str = "profile"  # the times above; or "measured": those that scoring and ranking the batch takes
    latency_target_s: Annotated[float, Gt(0), Le(1e7)] | None = (
        None  # for the metrics of a measured clock; None: the time-out
    )
    price_per_hour: Money | None = None  # of a server, for those metrics; any currency
    first_stage: str = "none"  # a cheap scorer that ranks first ...
    first_stage_keep: Annotated[int, Ge(0), Le(1000)] = (
        0  # ... and keeps this many candidates for the scorer; 0: all, in one stage
    )

    def __post_init__(self) -> None:
        check_ranges(self, "serving")
        times = (self.service_s, self.service_per_query_s, self.service_per_pair_s)
        if self.service_distribution not in ("constant", "exponential"):
            raise ValueError(
                "serving.service_distribution must be 'constant' or 'exponential', "
                f"got '{self.service_distribution}'"
            )
        if self.timeout_s is not None and not self.timeout_s > self.window_s:
            raise ValueError(
                f"serving.timeout_s must be longer than window_s, got {self.timeout_s} and {self.window_s}"
            )
        if self.cache_queries and self.cache_hit_rate:
            raise ValueError("serving takes cache_queries or cache_hit_rate, not both; set one of them to 0")
        if self.scoring not in ("table", "live") or self.clock not in ("profile", "measured"):
            raise ValueError(
                "serving.scoring must be 'table' or 'live' and serving.clock 'profile' or 'measured', "
                f"got '{self.scoring}' and '{self.clock}'"
            )
        if self.clock == "measured" and (
            self.scoring == "table" or self.profile or any(times) or self.service_distribution != "constant"
        ):
            raise ValueError(
                "serving.clock measured needs scoring live, and no service times, profile or distribution"
            )
        check_profile(self.profile)

    @property
    def instant(self) -> bool:
        """No latency is modelled, and no cache, so that nobody has to wait and nothing to be kept."""
        return not (
            self.window_s or self.service_s or self.service_per_query_s or self.service_per_pair_s
            or self.profile or self.cache_queries or self.cache_hit_rate or self.clock == "measured"
        )  # fmt: skip

    @property
    def cheap_scorers(self) -> tuple[str, ...]:
        """Names of the scorers, beside the main one, whose relevance is asked for."""
        return tuple({name: None for name in (self.fallback, self.first_stage) if name not in (SKIP, "none")})

    def batch_s(self, queries: int, pairs: int) -> float:
        """Mean time in seconds that a server takes for a batch of so many queries and pairs."""
        measured = _interpolate(self.profile, pairs) if self.profile and pairs else 0.0
        given = self.service_s + queries * self.service_per_query_s + pairs * self.service_per_pair_s
        return (given + measured) / self.speed


def check_profile(points: tuple[tuple[float, float], ...]) -> None:
    """Check the points of a service profile; ValueError says what is wrong."""
    if not points:
        return
    pairs, seconds = (np.asarray(column, dtype=np.float64) for column in zip(*points, strict=True))
    if pairs.size < 2:
        raise ValueError("serving.profile needs at least two points [pairs, seconds], got one")
    if pairs[0] <= 0 or bool((np.diff(pairs) <= 0).any()):
        raise ValueError("serving.profile: the pairs must be positive and rise from point to point")
    if seconds[0] <= 0 or bool((np.diff(seconds) < 0).any()):
        raise ValueError("serving.profile: the seconds must be positive and never fall from point to point")


def _interpolate(points: tuple[tuple[float, float], ...], pairs: float) -> float:
    """Seconds for a batch: linear between points, and beyond the last two on their line.

    Below the first point as long as there: a scorer has a least time per call.
    """
    sizes, seconds = zip(*points, strict=True)
    if pairs <= sizes[-1]:
        return float(np.interp(pairs, sizes, seconds))
    slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
    return float(seconds[-1] + slope * (pairs - sizes[-1]))


def pairs_to_score(model: ServingModel, n_candidates: IntArray) -> IntArray:
    """Pairs that the scorer sees of queries I[Q], from how many candidates each has I[Q]."""
    return np.minimum(n_candidates, model.first_stage_keep) if model.first_stage_keep else n_candidates


def shortlist(score: FloatArray, present: BoolArray, tie_break: FloatArray, keep: int) -> BoolArray:
    """The first of two stages: which `keep` candidates of each query the scorer sees, B[Q, K].

    `score` F[Q, K] is fused with the cheap relevance, -inf where the rule shuts an ad out on that evidence;
    such ads come last, but fill the list where it is not full. Ties are broken by `tie_break` F[Q, K], larger
    first. Cheap models that rank by expected revenue before the costly one are common in advertising: Wang,
    Zhao, Jiang, Zhou, Zhu and Gai 2020, "COLD: Towards the next generation of pre-ranking system".
    """
    if keep >= present.shape[1]:
        return present
    best = np.lexsort((-tie_break, -score, ~present), axis=-1)[:, :keep]
    kept = np.zeros(present.shape, dtype=np.bool_)
    np.put_along_axis(kept, best, True, axis=1)
    return kept & present


class Cache(Protocol):
    """Which queries need no scoring. It changes at `keep` only, whatever has been looked up."""

    def holds(self, rows: IntArray, query: IntArray) -> BoolArray:
        """Which arrivals, by row I[Q] and query I[Q], are answered from the cache, B[Q]; changes nothing."""
        ...

    def use(self, query: IntArray) -> None:
        """Note that queries I[Q], which it holds, were asked for in this order."""
        ...

    def keep(self, query: IntArray) -> None:
        """Take in the scores of queries I[Q]."""
        ...


class LruCache:
    """The scores of the `capacity` queries that were used last, of queries 0 .. n_queries - 1."""

    def __init__(self, capacity: int, n_queries: int) -> None:
        self._capacity = capacity
        self._held = np.zeros(n_queries, dtype=np.bool_)
        self._order: OrderedDict[int, None] = OrderedDict()  # least recently used first

    def holds(self, rows: IntArray, query: IntArray) -> BoolArray:
        return self._held[query]

    def use(self, query: IntArray) -> None:
        for which in query.tolist():
            self._order.move_to_end(which)

    def keep(self, query: IntArray) -> None:
        for which in query.tolist():
            self._order[which] = None
            self._order.move_to_end(which)
            self._held[which] = True
            if len(self._order) > self._capacity:
                self._held[self._order.popitem(last=False)[0]] = False


class GivenHits:
    """A cache of which only the hits B[Q] of the arrivals are known."""

    def __init__(self, hit: BoolArray) -> None:
        self._hit = hit

    def holds(self, rows: IntArray, query: IntArray) -> BoolArray:
        return self._hit[rows]

    def use(self, query: IntArray) -> None:
        pass

    def keep(self, query: IntArray) -> None:
        pass
