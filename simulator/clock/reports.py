"""The counts that the platform keeps between two ticks and reports to its advertisers."""

import numpy as np

from simulator import users
from simulator.arrays import MICROS, FloatArray, IntArray
from simulator.bidders import mean_value
from simulator.journey import Outcome
from simulator.ledger import Ledger
from simulator.market import Market
from simulator.policies import Report


class Tally:
    """Counts since the last tick, of N advertisers and S slots. Conversions wait until they have happened."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.value = mean_value(market.value, market.advertiser, market.budget_micros.size)
        self._pending: list[tuple[FloatArray, IntArray, FloatArray]] = []  # (when, advertiser, value) of each
        self._clear()

    def count(self, rows: IntArray, outcome: Outcome, conversion_s: FloatArray) -> None:
        """Count the pages of arrivals I[Q]."""
        owner = outcome.advertiser[:, :-1]
        shown, clicked, n = owner >= 0, outcome.clicked, self.spent.size
        self.queries += rows.size
        self.impressions += np.bincount(owner[shown], minlength=n)
        self.clicks += np.bincount(owner[clicked], minlength=n)
        self.spent += np.bincount(owner[shown], weights=outcome.charged_micros[shown] / MICROS, minlength=n)
        self.slot_impressions += shown.sum(axis=0)
        self.slot_clicks += clicked.sum(axis=0)
        self.slot_price += outcome.price_micros.sum(axis=0) / MICROS
        row, slot = np.nonzero(np.isfinite(conversion_s))
        if row.size:
            value = self.market.value[outcome.ad[row, slot]]
            worth = users.conversion_value(self.market.users, value)
            self._pending.append((conversion_s[row, slot], owner[row, slot], worth))

    def report(self, now: float, day: int, ticks_left: float, accounts: Ledger) -> Report:
        """The report of a tick; the counts start again from zero."""
        report = self.look(now, day, ticks_left, accounts)
        if self._pending:
            when, owner, worth = self._pending[0]
            self._pending = [(when[when > now], owner[when > now], worth[when > now])]
        self._clear()
        return report

    def look(self, now: float, day: int, ticks_left: float, accounts: Ledger) -> Report:
        """What the report would say; counting continues."""
        n = self.spent.size
        conversions, conversion_value = np.zeros(n), np.zeros(n)
        if self._pending:
            # Put together, so that sums do not depend on how the queries were batched.
            when, owner, worth = (np.concatenate(part) for part in zip(*self._pending, strict=True))
            self._pending = [(when, owner, worth)]
            happened = when <= now
            conversions += np.bincount(owner[happened], minlength=n)
            conversion_value += np.bincount(owner[happened], weights=worth[happened], minlength=n)
        # What is paid by the impression is told per click too: what the clicks have come to cost.
        paid_by_click = self.market.auction.payment == "click"
        times = self.slot_impressions if paid_by_click else self.slot_clicks
        price = np.divide(self.slot_price, times, out=np.zeros_like(self.slot_price), where=times > 0)
        return Report(
            time_s=now,
            day=day,
            ticks_left=ticks_left,
            budget=accounts.budget / MICROS,
            remaining=accounts.remaining / MICROS,
            value=self.value,
            impressions=self.impressions,
            clicks=self.clicks,
            spent=self.spent,
            conversions=conversions,
            conversion_value=conversion_value,
            slot_price=price,
            slot_clicks=self.slot_clicks / max(self.queries, 1),
        )

    def _clear(self) -> None:
        n, n_slots = self.market.budget_micros.size, self.market.n_slots
        self.queries = 0
        self.impressions, self.clicks, self.spent = np.zeros(n), np.zeros(n), np.zeros(n)
        self.slot_impressions, self.slot_clicks, self.slot_price = np.zeros((3, n_slots))
