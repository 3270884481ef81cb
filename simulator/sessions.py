"""Sessions and users behind the arrivals: who comes, with which intent, and what else it asks for.

A session is one user's visit with one intent: a first query, then perhaps others for the same thing in other
words. All visits are computed before a run, from draws that are passed in, so that the arms of an experiment
share them. A run only removes visits, when dissatisfied users stay away (`users.return_probability`).

With the default model every query is a session and a user of its own.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Le

from relevance.ranges import Exponent, Seconds, check_ranges
from simulator.arrays import FloatArray, IntArray

MAX_POPULATION = 10_000_000


@dataclass(frozen=True, slots=True)
class SessionModel:
    """How many queries a visit has, and who makes it."""

    queries_per_session: Annotated[float, Ge(1), Le(1000)] = (
        1.0  # mean of a geometric number; 1: each query is a session of its own
    )
    think_time_s: Seconds = 40.0  # mean time between the queries of a session, exponential
    population: Annotated[int, Ge(0), Le(MAX_POPULATION)] = 0  # users; 0: each session has a user of its own
    activity_exponent: Exponent = (
        0.6  # the n-th most active user searches 1 / n^exponent as often as the first
    )

    def __post_init__(self) -> None:
        check_ranges(self, "sessions")


class Visits(NamedTuple):
    """Q arrivals in the order of time."""

    arrival_s: FloatArray  # [Q] ascending
    query: IntArray  # [Q] in 0 .. U-1
    session: IntArray  # [Q] in 0 .. N-1, numbered by the time of their start
    user: IntArray  # [Q] in 0 .. M-1 (N-1 without a population)


def session_lengths(model: SessionModel, u: FloatArray, total: int | None = None) -> IntArray:
    """Queries in each session, geometric with the model's mean: uniforms F[N] -> I[N].

    With `total`, only as many sessions as bring that many queries, the last one cut short: I[<= N]. As every
    session has a query, `total` uniforms always suffice.

    Raises:
        ValueError: the sessions do not bring `total` queries.
    """
    if model.queries_per_session == 1.0:
        length = np.ones(u.size, dtype=np.int64)
    else:
        # By inversion: P(length > n) = (1 - 1 / mean)^n.
        length = 1 + np.floor(np.log1p(-u) / np.log1p(-1.0 / model.queries_per_session)).astype(np.int64)
    if total is None:
        return length
    brought = np.cumsum(length)
    if brought.size == 0 or brought[-1] < total:
        raise ValueError(f"{u.size} sessions bring too few queries: {total} were asked for")
    n = int(np.searchsorted(brought, total)) + 1
    length = length[:n]
    length[-1] -= brought[n - 1] - total
    return length


def visits(
    model: SessionModel,
    start_s: FloatArray,
    length: IntArray,
    first_query: IntArray,
    intent: IntArray,
    popularity: FloatArray,
    day_s: float,
    follow_u: FloatArray,
    user_u: FloatArray,
) -> Visits:
    """The arrivals of N sessions that bring Q queries in all.

    The queries after the first are drawn from those with the first one's intent, by popularity, so that every
    query keeps its share of the traffic. A session that would run past midnight comes as much earlier.

    Args:
        start_s: F[N] ascending, `length` I[N] and `first_query` I[N] of the sessions.
        intent: of each distinct query, I[U]; `popularity` F[U] their shares of the traffic.
        day_s: length of a day.
        follow_u: uniforms F[Q, 2], one row per query: think time before it, and which query it is.
        user_u: uniforms F[N].
    """
    session = np.repeat(np.arange(start_s.size), length)
    first = np.cumsum(length) - length  # row of each session's first query
    is_first = np.zeros(session.size, dtype=np.bool_)
    is_first[first] = True

    # Time since the session's start: cumulative think times, less what had passed when it started.
    think = np.where(is_first, 0.0, -model.think_time_s * np.log1p(-follow_u[:, 0]))
    passed = np.cumsum(think)
    after_s = passed - passed[first][session]
    midnight = (np.floor(start_s / day_s) + 1.0) * day_s
    too_late = np.maximum(start_s + after_s[first + length - 1] - np.nextafter(midnight, 0.0), 0.0)
    arrival_s = np.maximum(start_s - too_late, midnight - day_s)[session] + after_s
    arrival_s = np.minimum(arrival_s, np.nextafter(midnight, 0.0)[session])

    query = first_query[session]
    query[~is_first] = _of_same_intent(query[~is_first], intent, popularity, follow_u[~is_first, 1])
    user = user_of(model, user_u)[session] if model.population else session

    order = np.argsort(arrival_s, kind="stable")
    return Visits(arrival_s[order], query[order], session[order], user[order])


def single_visits(model: SessionModel, start_s: FloatArray, query: IntArray, user_u: FloatArray) -> Visits:
    """The arrivals F[Q] of sessions of one query I[Q] each: what `visits` makes of them, in less memory.

    Args:
        user_u: uniforms F[Q]; none are read where each session has a user of its own.
    """
    session = np.arange(start_s.size)
    return Visits(start_s, query, session, session if model.population == 0 else user_of(model, user_u))


def user_of(model: SessionModel, u: FloatArray) -> IntArray:
    """The user I[N] of each session, from uniforms F[N]: by activity, a power of the user's rank."""
    if model.population == 0:
        return np.arange(u.size)
    cumulative = np.cumsum(np.arange(1.0, model.population + 1.0) ** -model.activity_exponent)
    drawn = np.searchsorted(cumulative / cumulative[-1], u, side="right")
    return np.minimum(drawn, model.population - 1).astype(np.int64)


def _of_same_intent(query: IntArray, intent: IntArray, popularity: FloatArray, u: FloatArray) -> IntArray:
    """Queries I[R] with the intents of queries I[R], by popularity, from uniforms F[R]."""
    order = np.argsort(intent, kind="stable")
    cumulative = np.cumsum(popularity[order])
    last = np.searchsorted(intent[order], intent[query], side="right") - 1
    first = np.searchsorted(intent[order], intent[query], side="left")
    before = np.where(first > 0, cumulative[first - 1], 0.0)
    drawn = np.searchsorted(cumulative, before + u * (cumulative[last] - before), side="right")
    drawn = np.clip(drawn, first, last)  # against rounding
    found: IntArray = order[drawn]
    return found
