"""What changes in the course of a run: accounts, bids and the log, moved on by the clock of `engine.py`."""

from collections.abc import Callable

import numpy as np

from simulator import bidders, journey
from simulator.arrays import MICROS, FloatArray, IntArray
from simulator.ledger import Ledger
from simulator.log import Recorder, SimulationLog
from simulator.market import Market

Progress = Callable[[int, int], None]


class Run:
    """One market on its way through its days. Whoever drives it calls its methods in the order of time."""

    def __init__(self, market: Market, progress: Progress | None = None) -> None:
        self.market = market
        self.progress = progress
        self.accounts = Ledger.open(market.budget_micros)
        self.recorder = Recorder(market.query.size, market.n_slots)
        self.multiplier = np.ones(market.budget_micros.size)
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        self.n_answered = 0
        self._bid()

    def start_day(self, day: int) -> IntArray:
        """The arrivals I[...] that come on a day (0 is the first), ascending."""
        horizon_s = self.market.horizon_s
        start, stop = np.searchsorted(self.market.arrival_s, (day * horizon_s, (day + 1) * horizon_s))
        return np.arange(start, stop)

    def answer(self, rows: IntArray, answered_s: FloatArray, served: IntArray | None = None) -> None:
        """Answer arrivals I[Q] (ascending) at the bids and budgets of now; log them as answered at F[Q].

        `served` I[Q] says by what (see serving.py); None: all in full.
        """
        outcome = journey.answer(self.market, self.accounts, self.bid, rows)
        journey.record(self.recorder, rows, outcome, answered_s)
        self.n_answered += rows.size
        if self.progress is not None:
            self.progress(self.n_answered, self.market.query.size)

    def tick(self, ticks_left: float) -> None:
        """Let the bidders look at what was reported to them and move their bids."""
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

    def end_day(self) -> None:
        """Close the books of a day."""

    def close(self) -> SimulationLog:
        """The log, when all is over."""
        return journey.close(self.market, self.recorder, self.accounts)

    def _bid(self) -> None:
        market = self.market
        micros = bidders.bids_micros(market.bidders, market.value, self.multiplier, market.advertiser)
        self.bid = micros / MICROS
