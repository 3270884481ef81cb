"""What changes in a run: accounts, bids, users and the log, moved on by the clock of `engine.py`."""

from collections.abc import Callable

import numpy as np

from simulator import bidders, journey, random, users
from simulator.arrays import MICROS, BoolArray, FloatArray, IntArray, to_micros
from simulator.ledger import Ledger
from simulator.log import Recorder, SimulationLog
from simulator.market import Market
from simulator.policies import N_UNIFORMS, Bids, State
from simulator.reports import Tally

Progress = Callable[[int, int], None]


class Run:
    """One market on its way through its days. Whoever drives it calls its methods in the order of time."""

    def __init__(self, market: Market, progress: Progress | None = None) -> None:
        n = market.budget_micros.size
        self.market = market
        self.progress = progress
        self.recorder = Recorder(market.query.size, market.n_slots)
        self.n_answered = 0
        # Accounts: of today, and of all days before
        self.day = 0
        self.accounts = Ledger.open(market.budget_micros)
        self.budget, self.spent = np.zeros_like(market.budget_micros), np.zeros_like(market.budget_micros)
        self.ran_out = np.zeros(n, dtype=np.bool_)
        self.enrolled: BoolArray = np.ones(n, dtype=np.bool_)  # advertisers who are there today
        # Users
        self.satisfaction = np.zeros(0 if market.user is None else int(market.user.max(initial=-1)) + 1)
        self.rows = np.arange(0)
        # Bids
        self.n_ticks = 0
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        self.tally = Tally(market) if market.policies else None
        self.multiplier, self.participation = np.ones(n), np.ones(n)
        self.states: list[State] = []
        for policy, members in market.policies:
            state, bids = policy.start(market.budget_micros[members] / MICROS, Tally(market).value[members])
            self.states.append(state)
            self._take(members, bids)
        self._bid()

    def start_day(self, day: int) -> IntArray:
        """Renew the budgets; the arrivals I[...] that come on this day (0 is the first), ascending."""
        market = self.market
        self.day = day
        self.accounts = Ledger.open(np.where(self.enrolled, market.budget_micros, 0))
        self.accounts.active &= self.enrolled
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        start, stop = np.searchsorted(
            market.arrival_s, (day * market.horizon_s, (day + 1) * market.horizon_s)
        )
        self.rows = np.arange(start, stop)
        if market.user is not None and market.users.return_elasticity > 0:
            returns = users.return_probability(market.users, self.satisfaction)
            u = random.uniforms(market.seed, "returns", day, 1, returns.size)[0]
            self.rows = self.rows[(u < returns)[market.user[self.rows]]]
        return self.rows

    def answer(self, rows: IntArray, answered_s: FloatArray, served: IntArray | None = None) -> None:
        """Answer arrivals I[Q] (ascending) at the bids and budgets of now; log them as answered at F[Q].

        `served` I[Q] says by what (see serving.py); None: all in full.
        """
        outcome = journey.answer(self.market, self.accounts, self.bid, rows, self.participation)
        conversion_s = journey.conversions(self.market, rows, outcome, answered_s)
        journey.record(self.recorder, rows, outcome, answered_s, conversion_s)
        if self.tally is not None:
            self.tally.count(rows, outcome, conversion_s)
        self.n_answered += rows.size
        if self.progress is not None:
            self.progress(self.n_answered, self.market.query.size)

    def tick(self, now: float, ticks_left: float) -> None:
        """Let the bidders look at what is reported to them and move their bids."""
        if self.tally is None:
            self._pace(ticks_left)
        else:
            report = self.tally.report(now, self.day, ticks_left, self.accounts)
            n = self.multiplier.size
            u = random.uniforms(self.market.seed, "policy", self.n_ticks, 1, n * N_UNIFORMS)
            u = u.reshape(n, N_UNIFORMS)
            for group, (policy, members) in enumerate(self.market.policies):
                self.states[group], bids = policy.adjust(self.states[group], report.of(members), u[members])
                self._take(members, bids)
        self.n_ticks += 1
        self._bid()

    def end_day(self) -> None:
        """Close the books of a day; what the users saw in it moves their satisfaction."""
        self.budget += self.accounts.budget
        self.spent += self.accounts.spent
        self.ran_out |= self.enrolled & ~self.accounts.active
        market = self.market
        if market.user is not None and market.users.return_elasticity > 0:
            column = self.recorder.column[self.rows]
            grade = np.take_along_axis(market.grade[market.query[self.rows]], column, axis=1)
            gained = users.satisfaction_gained(
                market.users, grade, self.recorder.examined[self.rows], self.recorder.satisfied[self.rows]
            )
            utility = np.bincount(market.user[self.rows], weights=gained, minlength=self.satisfaction.size)
            self.satisfaction = users.update_stock(market.users, self.satisfaction, utility)

    def close(self) -> SimulationLog:
        """The log, when all is over."""
        return journey.close(self.market, self.recorder, self.budget, self.spent, self.ran_out)

    def _pace(self, ticks_left: float) -> None:
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

    def _take(self, members: IntArray, bids: Bids) -> None:
        self.multiplier[members], self.participation[members] = bids

    def _bid(self) -> None:
        market = self.market
        if self.tally is None:
            micros = bidders.bids_micros(market.bidders, market.value, self.multiplier, market.advertiser)
        else:
            micros = to_micros(market.value * self.multiplier[market.advertiser])
        self.bid = micros / MICROS
