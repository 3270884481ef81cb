"""The clock: when batches are formed and answered, days begin and end, and bidders look at their reports.

The only file with simpy, which keeps the time of servers and ticks. A process per query would cost more than
all the rest, so arrivals are drawn beforehand and batches are cut out by binary search.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from math import ceil, inf
from typing import Any, Literal

import numpy as np
import simpy

from simulator import random, serving
from simulator.arrays import FloatArray, IntArray, keep_freed_memory
from simulator.clock.run import Progress, Run
from simulator.fusion import Product
from simulator.journey import Batch, some
from simulator.log import SimulationLog, Sink, forget
from simulator.market import Market, Past, ServingModel, warm_up_seed

CELLS_AT_ONCE = 2**16
"""Queries x candidates ranked in one go, or half as many again: half a megabyte an array, of which a cache
holds some."""


def simulate(
    market: Market,
    progress: Progress | None = None,
    sink: Sink | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> SimulationLog:
    """Run a market through its days; `progress(done, total)` counts queries.

    The log is returned whole. With a `sink` its shown ads are handed to that in parts (see log.Sink) and not
    kept, so that memory does not grow with them; the log that is returned then has no rows of shown ads.

    The days of the market's warm-up come first. Log, sink and progress know nothing of them.

    With no latency modelled every query is answered at its arrival, and the batch size changes nothing in the
    log. Otherwise a batch closes when it is full or its first query has waited for the window, but not before
    a server is free; its queries are answered, at the bids and budgets of that moment, when the server is
    done with it. A query that a cache answers does not wait. One that is not answered within the time-out is
    answered by the fallback then: if it still waits, no server takes it up; if it is in service, the work is
    lost.

    Service times come from the settings, or with `serving.clock: measured` from `clock` (seconds): those that
    scoring and ranking that very batch takes, divided by `speed`.
    """
    keep_freed_memory()
    market = with_past(market, clock=clock)
    run = Run(market, progress, sink, clock)
    for _ in ticks(market, run):
        pass
    return run.close()


def with_past(market: Market, *, clock: Callable[[], float] = time.perf_counter) -> Market:
    """The market with what has come of its warm-up, which is simulated unless that is known already."""
    if market.past is not None or market.warm_up is None:
        return market
    return replace(market, past=past_of(market, clock=clock))


def past_of(
    market: Market, *, reference: bool | None = None, clock: Callable[[], float] = time.perf_counter
) -> Past:
    """What comes of the warm-up of a market that has one.

    Args:
        reference: whether its pages are ranked by bid x pCTR, on arrival, whoever ranks the measured days;
            None: where the click prediction is shared.
    """
    come = market.warm_up
    assert come is not None
    before = replace(
        market, seed=warm_up_seed(market.seed), warm_up=None, days=come.days, arrival_s=come.arrival_s,
        query=come.query, user=come.user, arm=come.arm, ctr=replace(market.ctr, feedback="own"),
    )  # fmt: skip
    if market.ctr.shared if reference is None else reference:
        before = replace(
            before, rule=Product(), relevance=None, fallback_relevance=None, first_stage_relevance=None,
            serving=ServingModel(), arm=None, other_rules=(),
            ctr=replace(before.ctr, relevance=False),
        )  # fmt: skip
    run = Run(before, sink=forget, clock=clock)
    run.joins = np.where(market.joins > 0, before.days, 0)  # who joins later is not there yet
    for _ in ticks(before, run):
        pass
    return run.past()


def ticks(market: Market, run: Run) -> Iterator[float]:
    """Move a run through its days, pausing before each tick of the bidders; yields the time in seconds.

    At a pause all answers until then are in the accounts, and whoever drives the run may look at it and set
    bids; bids for the first stretch are set before the first pause is asked for. What is answered after the
    last day is booked on that day, what is answered after another one on the next.
    """
    desk: _OnArrival | _Servers = _OnArrival(run) if market.serving.instant else _Servers(run)
    tick_s, horizon_s = market.bidders.pacing_tick_s, market.horizon_s
    n_ticks = ceil(horizon_s / tick_s) - 1  # none at the end of the day itself: nothing comes after it
    for day in range(market.days):
        desk.open(run.start_day(day))
        for tick in range(1, n_ticks + 1):
            now = day * horizon_s + tick * tick_s
            desk.work_until(now)
            yield now
            run.tick(now, (horizon_s - tick * tick_s) / tick_s)
        desk.work_until((day + 1) * horizon_s if day + 1 < market.days else inf)
        run.end_day()


def _rows_at_once(market: Market) -> int:
    """Queries answered in one call; it changes speed only."""
    return max(1, CELLS_AT_ONCE // max(market.pairs.n_candidates, 1))


def _pairs_to_score(market: Market, rows: IntArray) -> IntArray:
    """Pairs that the scorer sees of arrivals I[Q]."""
    return serving.pairs_to_score(market.serving, market.pairs.count(market.query[rows]))


class _OnArrival:
    """Answers every query at its arrival."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._batch_size = min(run.market.serving.batch_size, _rows_at_once(run.market))

    def open(self, rows: IntArray) -> None:
        """Let the arrivals I[Q] of a day come."""
        self._rows, self._arrival_s = rows, self._run.market.arrival_s[rows]
        self._n_answered = 0

    def work_until(self, now: float) -> None:
        """Answer all that came before `now`."""
        market = self._run.market
        stop = int(np.searchsorted(self._arrival_s, now))
        while self._n_answered < stop:
            batch = slice(self._n_answered, min(stop, self._n_answered + self._batch_size))
            if 2 * (stop - batch.stop) < self._batch_size:  # so few would take as long in a call of their own
                batch = slice(batch.start, stop)
            rows = self._rows[batch]
            self._run.recorder.scored_pairs[rows] = _pairs_to_score(market, rows)
            self._run.answer(rows, self._arrival_s[batch])
            self._n_answered = batch.stop


class _Servers:
    """Servers that take batches from a line of queries."""

    def __init__(self, run: Run) -> None:
        self._line = _Line(run)
        self._env = simpy.Environment()
        self._batcher = simpy.Resource(self._env)
        self._news = self._env.event()  # something that changes when the next batch closes
        for server in range(run.market.serving.servers):
            self._env.process(self._serve(server))
        self._busy_s = run.busy_s

    def open(self, rows: IntArray) -> None:
        """Let the arrivals I[Q] of a day come."""
        self._line.open(rows)
        self._tell()

    def work_until(self, now: float) -> None:
        """Let the servers work, and answer all queries that are due before `now`."""
        self._env.run(until=None if now == inf else now)
        self._line.decide(now)
        self._line.answer()

    def _serve(self, server: int) -> Generator[simpy.Event, Any, None]:
        env, line = self._env, self._line
        while True:
            with self._batcher.request() as turn:  # one batch is formed at a time
                yield turn
                # Once more where adding up times has ended a rounding error short.
                while (closes_s := line.batch_closes_s(env.now)) > env.now:
                    news = self._news
                    yield news if closes_s == inf else env.timeout(closes_s - env.now) | news
                batch = line.take(env.now)
            service_s = line.service_s(batch)
            yield env.timeout(service_s)
            self._busy_s[server] += service_s
            line.finish(batch, env.now)
            if line.cache is not None:
                self._tell()

    def _tell(self) -> None:
        self._news.succeed()
        self._news = self._env.event()


class _Line:
    """Queries on their way from arrival to answer.

    They come, wait and are taken in the order of arrival, so each state is a range: of `coming`, those before
    `n_seen` have come; of the places in the line (those that no cache has answered), those before `head` have
    been taken or given up, and those before `n_due` have been answered.
    """

    def __init__(self, run: Run) -> None:
        market, model = run.market, run.market.serving
        n = market.query.size
        self._run, self._market, self._model = run, market, model
        self._rows_at_once = _rows_at_once(market)
        self._late = serving.SKIPPED if model.fallback == serving.SKIP else serving.FALLBACK
        self._patience_s = inf if model.timeout_s is None else model.timeout_s
        self._effort = None
        if model.service_distribution == "exponential":
            self._effort = -np.log1p(-random.uniforms(market.seed, "service time", 0, n, 1)[:, 0])
        self.cache: serving.Cache | None = None
        if model.cache_queries:
            self.cache = serving.LruCache(model.cache_queries, market.pairs.n_queries)
        elif model.cache_hit_rate:
            drawn = random.uniforms(market.seed, "cache hit", 0, n, 1)[:, 0]
            self.cache = serving.GivenHits(drawn < model.cache_hit_rate)

        self._coming, self._coming_s = np.empty(0, dtype=np.int64), np.empty(0)
        self._n_seen = 0
        self._row, self._arrival_s, self._deadline_s = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
        self._answered = np.zeros(n, dtype=np.bool_)
        self._n_due = self._head = self._tail = 0
        self._measured: dict[int, Batch] = {}  # what servers have scored, by the first place of a batch
        self._decided: list[tuple[IntArray, FloatArray, int]] = []  # rows, when and by what; in order of time

    def open(self, rows: IntArray) -> None:
        """Let the arrivals I[Q] of a day come; those of the day before have."""
        self._coming, self._coming_s = rows, self._market.arrival_s[rows]
        self._n_seen = 0

    def decide(self, now: float, arrivals: Literal["left", "right"] = "left") -> None:
        """Decide what is due before `now`: cached queries at arrival, and those that have timed out.

        Args:
            arrivals: "right" includes what arrives at `now`.
        """
        stop = int(self._coming_s.searchsorted(now, side=arrivals))
        if stop > self._n_seen:
            self._join(self._coming[self._n_seen : stop], self._coming_s[self._n_seen : stop])
            self._n_seen = stop
        due = slice(self._n_due, self._first_after(now, self._n_due, "left"))
        if due.stop > due.start:
            self._n_due = due.stop
            late = due.start + np.flatnonzero(~self._answered[due])
            self._answered[late] = True
            self._decided.append((self._row[late], self._deadline_s[late], self._late))

    def _join(self, new: IntArray, new_s: FloatArray) -> None:
        """Let arrivals I[Q], at F[Q] seconds, join the line, except for those that the cache answers."""
        if self.cache is not None:
            query = self._market.query[new]
            hit = self.cache.holds(new, query)
            self.cache.use(query[hit])
            self._decided.append((new[hit], new_s[hit], serving.CACHED))
            new, new_s = new[~hit], new_s[~hit]
        places = slice(self._tail, self._tail + new.size)
        self._row[places], self._arrival_s[places] = new, new_s
        self._deadline_s[places] = new_s + self._patience_s
        self._tail = places.stop

    def batch_closes_s(self, now: float) -> float:
        """When the next batch closes, as far as is known at `now`: not before `now`; inf if nobody comes."""
        self.decide(now, "right")
        self._head = self._first_after(now, self._head, "right")
        waiting = self._tail - self._head
        if waiting >= self._model.batch_size:
            return now
        first_s = self._arrival_s[self._head] if waiting else self._nth_coming_s(1, inf)
        closes_s = first_s + self._model.window_s
        full_s = self._nth_coming_s(self._model.batch_size - waiting, closes_s)
        return max(now, float(min(closes_s, full_s)))

    def take(self, now: float) -> slice:
        """Take those who wait out of the line, one batch at most; their places."""
        batch = slice(self._head, min(self._tail, self._head + self._model.batch_size))
        self._head = batch.stop
        rows = self._row[batch]
        self._run.recorder.scored_pairs[rows] = _pairs_to_score(self._market, rows)
        return batch

    def service_s(self, batch: slice) -> float:
        """How long a server takes for a batch."""
        rows = self._row[batch]
        scored_pairs = self._run.recorder.scored_pairs
        if self._model.clock == "measured":
            seconds, measured = self._run.measure(rows)
            self._measured[batch.start] = measured
            if measured.scores.known is not None:
                scored_pairs[rows] = np.count_nonzero(measured.scores.known, axis=1)
            return seconds / self._model.speed
        mean_s = self._model.batch_s(rows.size, int(scored_pairs[rows].sum()))
        return mean_s if self._effort is None else mean_s * float(self._effort[rows[0]])

    def finish(self, batch: slice, now: float) -> None:
        """The scorer answers those of a batch that have not timed out; the cache keeps the scores of all."""
        self.decide(now)
        rows, in_time = self._row[batch], ~self._answered[batch]
        self._answered[batch] = True
        if self.cache is not None:
            self.cache.keep(self._market.query[rows])
        answered_s = np.full(np.count_nonzero(in_time), now)
        if (known := self._measured.pop(batch.start, None)) is not None:
            self.answer()
            if in_time.any():
                self._run.answer(rows[in_time], answered_s, known=some(known, in_time))
            return
        self._decided.append((rows[in_time], answered_s, serving.FULL))
        if len(self._decided) >= self._rows_at_once:
            self.answer()

    def answer(self) -> None:
        """Answer all decided queries in the order of time, together those that the same scorer ranks.

        This may wait until the next tick, as bids do not change before: few large calls give what many small
        ones would.
        """
        if not self._decided:
            return
        rows, answered_s = (np.concatenate(part) for part in list(zip(*self._decided, strict=True))[:2])
        served = np.repeat([by for _, _, by in self._decided], [part.size for part, _, _ in self._decided])
        self._decided.clear()
        order = np.argsort(answered_s, kind="stable")
        rows, answered_s, served = rows[order], answered_s[order], served[order]
        self._run.recorder.served[rows] = served
        ranked_by = np.where(served == serving.CACHED, serving.FULL, served)
        cuts = (np.flatnonzero(np.diff(ranked_by)) + 1).tolist()
        for start, stop in zip([0, *cuts], [*cuts, rows.size], strict=True):
            for first in range(start, stop, self._rows_at_once):
                part = slice(first, min(stop, first + self._rows_at_once))
                self._run.answer(rows[part], answered_s[part], int(ranked_by[start]))

    def _first_after(self, now: float, place: int, side: Literal["left", "right"]) -> int:
        """The first place from `place` on that is not given up before ("left"), or by ("right"), `now`."""
        if place == self._tail or self._deadline_s[place] > now:
            return place
        return place + int(self._deadline_s[place : self._tail].searchsorted(now, side=side))

    def _nth_coming_s(self, n: int, until_s: float) -> float:
        """When the n-th query from now on joins the line (1 is the next); inf if that is after `until_s`."""
        if self.cache is None:
            nth = self._n_seen + n - 1
            when_s = self._coming_s[nth] if nth < self._coming.size else inf
            return float(when_s) if when_s <= until_s else inf
        start, step = self._n_seen, max(64, 2 * n)
        while start < self._coming.size and self._coming_s[start] <= until_s:
            rows = self._coming[start : start + step]
            missed = start + np.flatnonzero(~self.cache.holds(rows, self._market.query[rows]))
            if missed.size >= n:
                when_s = float(self._coming_s[missed[n - 1]])
                return when_s if when_s <= until_s else inf
            n -= missed.size
            start += rows.size
        return inf
