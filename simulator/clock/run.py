"""What changes in a run: accounts, bids, users and the log. The clock in `engine.py` drives it."""

import time
from collections.abc import Callable

import numpy as np

from simulator import bidders, journey, random, users
from simulator.arrays import MICROS, BoolArray, FloatArray, IntArray, to_micros
from simulator.clock.reports import Tally
from simulator.journey import Batch
from simulator.ledger import Ledger
from simulator.log import Recorder, SimulationLog, Sink
from simulator.market import Market, Past
from simulator.policies import N_UNIFORMS, Bids, Report, State, churn
from simulator.policies.match_types import MatchCounts
from simulator.serving import FULL

Progress = Callable[[int, int], None]


class Run:
    """The state of a market's run. Whoever drives it calls its methods in the order of time."""

    def __init__(
        self,
        market: Market,
        progress: Progress | None = None,
        sink: Sink | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Nothing has come yet; `clock` is read, in seconds, where service times are measured."""
        n, n_queries = market.budget_micros.size, market.query.size
        self.market = market
        self.progress = progress
        self.recorder = Recorder(
            n_queries, n_queries * market.n_slots, ordered=market.serving.instant, sink=sink
        )
        self.n_answered = 0
        self.clock = clock
        self.busy_s = np.zeros(market.serving.servers)
        # Accounts: of today, and of all days before
        self.day = 0
        self.accounts = Ledger.open(market.budget_micros)
        self.budget, self.spent = np.zeros_like(market.budget_micros), np.zeros_like(market.budget_micros)
        self.ran_out = np.zeros(n, dtype=np.bool_)
        self.left: BoolArray = np.zeros(n, dtype=np.bool_)  # advertisers who have left for good
        # Users
        self.satisfaction = np.zeros(0 if market.user is None else int(market.user.max(initial=-1)) + 1)
        self.loyal = market.user is not None and users.has_loyalty(market.users)
        self.gained = np.zeros(n_queries if self.loyal else 0)  # by each page, currency
        self.rows = np.arange(0)
        # Bids
        self.n_ticks = 0
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        self.bidding = Bids(np.ones(n), np.ones(n))
        self.tally = Tally(market) if market.policies or market.bidders.churn.on else None
        self.states: tuple[State, ...] = ()
        if self.tally is not None and market.policies:
            self.states, self.bidding = bidders.first_bids(
                market.policies, market.budget_micros / MICROS, self.tally.value
            )
        self.matches = MatchCounts(n) if market.bidders.match_bids.learn else None
        # Advertisers who come and go
        self.joins = market.joins
        self.returns = churn.Returns.none(n)
        self.earned = np.zeros(n)  # today, currency, as reported
        # The click prediction, and the impressions that it has not learnt from
        self.prediction = market.first_prediction() if market.ctr.learnt else None
        self.impressions: list[IntArray] = []
        if market.past is not None:
            self._inherit(market.past)
        self._bid()

    def start_day(self, day: int) -> IntArray:
        """Renew the budgets; the arrivals I[...] that come on this day (0 is the first), ascending."""
        market = self.market
        self._learn()
        self.day = day
        self.present = (self.joins <= day) & ~self.left
        self.accounts = Ledger.open(np.where(self.present, market.budget_micros, 0))
        self.accounts.active &= self.present
        self.spent_at_tick = np.zeros_like(market.budget_micros)
        self.earned = np.zeros_like(self.earned)
        start, stop = np.searchsorted(
            market.arrival_s, (day * market.horizon_s, (day + 1) * market.horizon_s)
        )
        self.rows = np.arange(start, stop)
        if market.user is not None and self.loyal:
            returns = users.return_probability(market.users, self.satisfaction)
            u = random.uniforms(market.seed, "returns", day, 1, returns.size)[0]
            self.rows = self.rows[(u < returns)[market.user[self.rows]]]
        return self.rows

    def answer(
        self, rows: IntArray, answered_s: FloatArray, served: int = FULL, known: Batch | None = None
    ) -> None:
        """Answer arrivals I[Q] at the bids and budgets of now; log them as answered at F[Q], which ascends.

        `served` says which scorer ranks them (see serving.py). What a server has scored may be `known`.
        """
        outcome = journey.answer(
            self.market,
            self.accounts,
            self.bid,
            rows,
            self.bidding.participation,
            served,
            self.prediction,
            known,
        )
        conversion_s = journey.conversions(self.market, rows, outcome, answered_s)
        journey.record(self.market, self.recorder, rows, outcome, answered_s, conversion_s)
        if self.prediction is not None and not self.market.ctr.shared:
            self.impressions.append(journey.impressions(self.market, self.prediction, rows, outcome))
        if self.loyal:
            self.gained[rows] = journey.satisfaction_gained(self.market, outcome)
        if self.tally is not None:
            self.tally.count(rows, outcome, conversion_s)
        if self.matches is not None:
            owner = outcome.advertiser[:, :-1]
            self.matches.count(owner, outcome.recall, outcome.clicked, conversion_s)
        self.n_answered += rows.size
        if self.progress is not None:
            self.progress(self.n_answered, self.market.query.size)

    def measure(self, rows: IntArray) -> tuple[float, Batch]:
        """Score and rank arrivals I[Q] as a server does: the seconds that it took, and what is known then.

        Nothing is shown or charged. The pages are back on the host when the clock stops.
        """
        batch = journey.gather(
            self.market, self.bid, rows, self.bidding.participation, prediction=self.prediction, reuse=False
        )
        start = self.clock()
        journey.rank_pages(self.market, batch, self.accounts.active)
        return self.clock() - start, batch

    def tick(self, now: float, ticks_left: float) -> None:
        """Let the bidders look at what is reported to them and move their bids."""
        market = self.market
        report = self._report(now, ticks_left)
        if report is not None and market.policies:
            n = self.accounts.spent.size
            u = random.uniforms(market.seed, "policy", self.n_ticks, 1, n * N_UNIFORMS)
            self.states, self.bidding = bidders.next_bids(
                market.policies, self.states, report, u.reshape(n, N_UNIFORMS)
            )
        else:
            self._pace(ticks_left)
        self.n_ticks += 1
        self._bid()

    def end_day(self) -> None:
        """Close the books of a day; what the users saw in it moves their satisfaction."""
        self.budget += self.accounts.budget
        self.spent += self.accounts.spent
        self.ran_out |= self.present & ~self.accounts.active
        market = self.market
        # What came after the last tick is not the next day's, whose budgets are new.
        end_s = (self.day + 1) * market.horizon_s
        self._report(end_s, 0.0)
        if self.matches is not None:
            self.matches.end_day(end_s)
            self._bid()
        if market.bidders.churn.on:
            spent = self.accounts.spent / MICROS
            self.returns = churn.remember(
                market.bidders.churn, self.returns, spent, self.earned, self.present
            )
            self.left |= churn.leaves(market.bidders.churn, self.returns)
        if market.user is not None and self.loyal:
            utility = np.bincount(
                market.user[self.rows], weights=self.gained[self.rows], minlength=self.satisfaction.size
            )
            self.satisfaction = users.update_stock(
                market.users, self.satisfaction, utility.astype(np.float64)
            )

    def past(self) -> Past:
        """What the days after the last one inherit."""
        self._learn()
        lasted_s = self.market.days * self.market.horizon_s
        return Past(
            prediction=self.prediction,
            bidding=self.bidding,
            states=self.states,
            satisfaction=self.satisfaction,
            returns=self.returns,
            left=self.left,
            matches=None if self.matches is None else self.matches.later(lasted_s),
        )

    def close(self) -> SimulationLog:
        """The log, when all is over."""
        return journey.close(self.market, self.recorder, self.budget, self.spent, self.ran_out, self.busy_s)

    def _learn(self) -> None:
        """The click prediction learns from the pages of the day before."""
        if self.prediction is not None and self.impressions:
            self.prediction, self.impressions = self.prediction.after(self.impressions), []

    def _inherit(self, past: Past) -> None:
        self.prediction = past.prediction
        if past.bidding is not None:
            self.bidding, self.states = past.bidding, past.states
        n = min(self.satisfaction.size, past.satisfaction.size)
        self.satisfaction[:n] = past.satisfaction[:n]  # users who come in both
        self.returns, self.left = past.returns, past.left.copy()
        if self.matches is not None and past.matches is not None:
            self.matches = past.matches.later(0.0)

    def _report(self, now: float, ticks_left: float) -> Report | None:
        if self.tally is None:
            return None
        report = self.tally.report(now, self.day, ticks_left, self.accounts)
        self.earned += report.conversion_value
        return report

    def _pace(self, ticks_left: float) -> None:
        spent = self.accounts.spent
        multiplier = bidders.pace(
            self.market.bidders,
            self.bidding.multiplier,
            self.market.paced,
            (spent - self.spent_at_tick) / MICROS,
            self.accounts.remaining / MICROS,
            ticks_left,
        )
        self.bidding = self.bidding._replace(multiplier=multiplier)
        self.spent_at_tick = spent.copy()

    def _bid(self) -> None:
        market, multiplier = self.market, self.bidding.multiplier
        if market.policies:
            micros = to_micros(market.value * multiplier[market.advertiser])
        else:
            micros = bidders.bids_micros(market.bidders, market.value, multiplier, market.advertiser)
        if self.matches is not None:
            of_group = self.matches.multipliers(market.bidders.match_bids)
            micros = to_micros(micros[:, None] / MICROS * of_group[market.advertiser])
        self.bid = micros / MICROS
