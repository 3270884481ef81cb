"""The clock: when batches are formed and answered, and when bidders look at their spend.

The only file with simpy, which keeps the time of coarse things only: servers and ticks. A process per query
would cost more than all the rest, so arrivals are drawn beforehand and batches cut out by binary search.
"""

from collections.abc import Generator

import numpy as np
import simpy

from simulator.arrays import IntArray
from simulator.log import SimulationLog
from simulator.market import Market
from simulator.run import Progress, Run

def simulate(market: Market, progress: Progress | None = None) -> SimulationLog:
    """Run a market through its days; `progress(done, total)` counts queries.

    With no latency modelled every query is answered at its arrival, and the batch size changes nothing in the
    log. Otherwise a batch closes when it is full or its first query has waited for the window, but not before
    a server is free; its queries are answered, at the bids and budgets of that moment, when the server is
    done with it.
    """
    run = Run(market, progress)
    queue = _Queue(run, run.start_day(0))
    env = simpy.Environment()
    env.process(_clock(env, queue))
    if not market.serving.instant:
        batcher = simpy.Resource(env)
        for _ in range(market.serving.servers):
            env.process(_server(env, queue, batcher))
    env.run()
    if market.serving.instant:
        queue.answer_on_arrival(queue.rows.size)
    run.end_day()
    return run.close()


class _Queue:
    """The arrivals of a day, and how many of them a batch has taken up."""

    def __init__(self, run: Run, rows: IntArray) -> None:
        self.run = run
        self.rows = rows
        self.arrival_s = run.market.arrival_s[rows]
        self.batch_size = run.market.serving.batch_size
        self.n_taken = 0

    def take(self, stop: int) -> slice:
        """Take the waiting queries up to `stop` (not included), one batch at most."""
        start = self.n_taken
        self.n_taken = min(stop, start + self.batch_size)
        return slice(start, self.n_taken)

    def answer_on_arrival(self, stop: int) -> None:
        """Answer the queries up to `stop` (not included) at their arrivals."""
        while self.n_taken < stop:
            batch = self.take(stop)
            self.run.answer(self.rows[batch], self.arrival_s[batch])


def _clock(env: simpy.Environment, queue: _Queue) -> Generator[simpy.Event, None, None]:
    run, market = queue.run, queue.run.market
    tick_s, horizon_s = market.bidders.pacing_tick_s, market.horizon_s
    n_ticks = int(np.ceil(horizon_s / tick_s)) - 1  # none at the horizon itself: nothing comes after it
    for tick in range(1, n_ticks + 1):
        yield env.timeout(tick * tick_s - env.now)
        if market.serving.instant:
            queue.answer_on_arrival(int(np.searchsorted(queue.arrival_s, tick * tick_s)))
        run.tick((horizon_s - tick * tick_s) / tick_s)


def _server(
    env: simpy.Environment, queue: _Queue, batcher: simpy.Resource
) -> Generator[simpy.Event, None, None]:
    arrival_s, serving = queue.arrival_s, queue.run.market.serving
    while True:
        with batcher.request() as turn:  # one batch is formed at a time
            yield turn
            first = queue.n_taken
            if first == arrival_s.size:
                return
            last = first + serving.batch_size - 1
            full_s = arrival_s[last] if last < arrival_s.size else np.inf
            yield env.timeout(max(0.0, min(arrival_s[first] + serving.window_s, full_s) - env.now))
            # At least the first: adding up times may end a rounding error short of its arrival.
            batch = queue.take(max(first + 1, int(np.searchsorted(arrival_s, env.now, side="right"))))
        rows = queue.rows[batch]
        yield env.timeout(serving.service_s + rows.size * serving.service_per_query_s)
        queue.run.answer(rows, np.full(rows.size, env.now))
