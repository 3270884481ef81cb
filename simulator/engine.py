"""The clock: when batches are formed and answered, and when bidders look at their spend.

The only file with simpy, which keeps the time of coarse things only: servers and ticks. A process per query
would cost more than all the rest, so arrivals are drawn beforehand and batches cut out by binary search.
"""

from collections.abc import Callable, Generator

import numpy as np
import simpy

from simulator import bidders, journey
from simulator.arrays import MICROS
from simulator.ledger import Ledger
from simulator.log import Recorder, SimulationLog
from simulator.market import Market

Progress = Callable[[int, int], None]


def simulate(market: Market, progress: Progress | None = None) -> SimulationLog:
    """Run a market for its day; `progress(done, total)` counts queries.

    With no latency modelled every query is answered at its arrival, and the batch size changes nothing in the
    log. Otherwise a batch closes when it is full or its first query has waited for the window, but not before
    a server is free; its queries are answered, at the bids and budgets of that moment, when the server is
    done with it.
    """
    run = _Run(market, progress)
    env = simpy.Environment()
    env.process(_clock(env, run))
    if not market.serving.instant:
        batcher = simpy.Resource(env)
        for _ in range(market.serving.servers):
            env.process(_server(env, run, batcher))
    env.run()
    if market.serving.instant:
        run.answer_on_arrival(market.query.size)
    return journey.close(market, run.recorder, run.accounts)


class _Run:
    """What changes in the course of a run."""

    def __init__(self, market: Market, progress: Progress | None) -> None:
        self.market = market
        self.progress = progress
        self.accounts = Ledger.open(market.budget_micros)
        self.recorder = Recorder(market.query.size, market.n_slots)
        self.multiplier = np.ones(market.budget_micros.size)
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        self.n_taken = 0  # queries that a batch has taken up
        self.n_answered = 0
        self._bid()

    def take(self, stop: int) -> tuple[int, int]:
        """Take the waiting queries up to `stop` (not included), one batch at most; the range taken."""
        start = self.n_taken
        self.n_taken = min(stop, start + self.market.serving.batch_size)
        return start, self.n_taken

    def answer(self, start: int, stop: int, now: float | None) -> None:
        """Answer a batch now, or (None) each of its queries at its arrival."""
        outcome = journey.answer(self.market, self.accounts, self.bid, start, stop)
        arrived_s = self.market.arrival_s[start:stop]
        answered_s = arrived_s if now is None else np.full_like(arrived_s, now)
        journey.record(self.recorder, start, outcome, answered_s)
        self.n_answered += stop - start
        if self.progress is not None:
            self.progress(self.n_answered, self.market.query.size)

    def answer_on_arrival(self, stop: int) -> None:
        """Answer the queries up to `stop` (not included) at their arrivals."""
        while self.n_taken < stop:
            self.answer(*self.take(stop), None)

    def pace(self, ticks_left: float) -> None:
        """Let the bidders look at their own spend and move their bids."""
        spent = self.accounts.spent
        self.multiplier = bidders.pace(
            self.market.bidders,
            self.multiplier,
            self.market.paced,
            (spent - self.spent_at_tick) / MICROS,
            self.accounts.remaining / MICROS,
            ticks_left,
        )
        self.spent_at_tick = spent.copy()
        self._bid()

    def _bid(self) -> None:
        market = self.market
        micros = bidders.bids_micros(market.bidders, market.value, self.multiplier, market.advertiser)
        self.bid = micros / MICROS


def _clock(env: simpy.Environment, run: _Run) -> Generator[simpy.Event, None, None]:
    market = run.market
    tick_s, horizon_s = market.bidders.pacing_tick_s, market.horizon_s
    n_ticks = int(np.ceil(horizon_s / tick_s)) - 1  # none at the horizon itself: nothing comes after it
    for tick in range(1, n_ticks + 1):
        yield env.timeout(tick * tick_s - env.now)
        if market.serving.instant:
            run.answer_on_arrival(int(np.searchsorted(market.arrival_s, tick * tick_s)))
        run.pace((horizon_s - tick * tick_s) / tick_s)


def _server(env: simpy.Environment, run: _Run, batcher: simpy.Resource) -> Generator[simpy.Event, None, None]:
    arrival_s, serving = run.market.arrival_s, run.market.serving
    while True:
        with batcher.request() as turn:  # one batch is formed at a time
            yield turn
            first = run.n_taken
            if first == arrival_s.size:
                return
            last = first + serving.batch_size - 1
            full_s = arrival_s[last] if last < arrival_s.size else np.inf
            yield env.timeout(max(0.0, min(arrival_s[first] + serving.window_s, full_s) - env.now))
            # At least the first: adding up times may end a rounding error short of its arrival.
            start, stop = run.take(max(first + 1, int(np.searchsorted(arrival_s, env.now, side="right"))))
        yield env.timeout(serving.service_s + (stop - start) * serving.service_per_query_s)
        run.answer(start, stop, env.now)
