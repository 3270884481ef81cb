"""What a run was good for: to the platform, the advertisers and the users.

Definitions, over the shown ads i in slots s(i) with true grades g(i):

- advertiser surplus = sum over clicks of (value per click x worth_of_click[g] - price): a click on an ad
  that does not answer the query converts less. Negative where clicks cost more than they are worth.
- user utility = sum over shown ads of examination[s] x value_of_seeing[g], in currency: what looking at the
  ad gave or cost the user (Abrams and Schwarz 2007 call the negative part the hidden cost). Where looking
  depends on the ads above (cascade, dbn), the ads that were looked at count instead.
- welfare = revenue + advertiser surplus + user utility; what advertisers pay, the platform gets.
"""

import numpy as np

from simulator.arrays import MICROS
from simulator.log import Impressions, SimulationLog
from simulator.market import Market
from simulator.serving import CACHED, FALLBACK

N_GRADES = 4


def market_metrics(log: SimulationLog, market: Market) -> dict[str, float]:
    """Figures of one run: money in currency units (`_rpm`: per thousand queries), shares in [0, 1].

    Shares and means over nothing (no ad shown, no click) are NaN.
    """
    totals = Totals(market)
    totals.add(log)
    return totals.metrics(log)


class Totals:
    """Counts of shown ads, from which the metrics follow; a log may come in parts, and is not kept.

    All are whole numbers, so that it does not matter how the log is cut.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._shown = np.zeros((N_GRADES, market.n_slots), dtype=np.int64)
        self._looked_at = np.zeros(N_GRADES, dtype=np.int64)
        self._clicked = np.zeros((market.value.size, N_GRADES), dtype=np.int64)
        self._conversions = self._charged_micros = 0

    def add(self, part: Impressions) -> None:
        """Count shown ads."""
        by_slot = part.grade * np.int64(self._market.n_slots) + part.slot
        self._shown += np.bincount(by_slot, minlength=self._shown.size).reshape(self._shown.shape)
        self._looked_at += np.bincount(part.grade[part.examined], minlength=N_GRADES)
        clicked = np.flatnonzero(part.clicked)
        np.add.at(self._clicked, (part.ad[clicked], part.grade[clicked]), 1)
        self._conversions += int(np.isfinite(part.conversion_s).sum())
        self._charged_micros += int(part.charged_micros.sum())

    def metrics(self, log: SimulationLog) -> dict[str, float]:
        """The metrics, see `market_metrics`, with what the log says of queries and accounts."""
        model, n_queries = self._market.users, log.arrival.size
        by_grade = self._shown.sum(axis=1)
        n_shown, n_clicks = int(by_grade.sum()), int(self._clicked.sum())
        if model.click_model == "position":
            examined = (self._shown * np.asarray(model.examination)).sum(axis=1)
        else:  # what is looked at depends on the ads above
            examined = self._looked_at.astype(np.float64)
        revenue = self._charged_micros / MICROS
        worth = self._market.value[:, None] * np.asarray(model.worth_of_click) * self._clicked
        surplus = float(worth.sum()) - revenue
        utility = float((examined * np.asarray(model.value_of_seeing)).sum())
        return {
            "queries": float(n_queries),
            "impressions": float(n_shown),
            "clicks": float(n_clicks),
            "conversions": float(self._conversions),
            "revenue": revenue,
            "revenue_rpm": _ratio(1000.0 * revenue, n_queries),
            "irrelevant_share": _ratio(int(by_grade[0]), n_shown),
            "irrelevant_share_weighted": _ratio(float(examined[0]), float(examined.sum())),
            "ctr": _ratio(n_clicks, n_shown),
            "fill": _ratio(n_shown, n_queries * self._market.n_slots),
            "mean_price": _ratio(revenue, n_clicks),
            "advertiser_surplus": surplus,
            "user_utility": utility,
            "welfare": revenue + surplus + utility,
            "ran_out_share": _ratio(float(log.ran_out.sum()), log.ran_out.size),
            **serving_metrics(log),
            **{f"grade_{grade}_share": _ratio(int(n), n_shown) for grade, n in enumerate(by_grade)},
        }


def serving_metrics(log: SimulationLog) -> dict[str, float]:
    """How long queries waited for their answers, and by what they were answered.

    A percentile is the least latency that at least so many queries did not exceed.
    """
    latency_s, n = log.answered_s - log.arrival_s, log.arrival.size
    p50, p95, p99 = (
        np.quantile(latency_s, (0.5, 0.95, 0.99), method="inverted_cdf") if n else (float("nan"),) * 3
    )
    return {
        "mean_latency_s": float(latency_s.mean()) if n else float("nan"),
        "latency_p50_s": float(p50),
        "latency_p95_s": float(p95),
        "latency_p99_s": float(p99),
        "timeout_share": _ratio(float((log.served >= FALLBACK).sum()), n),
        "cache_hit_share": _ratio(float((log.served == CACHED).sum()), n),
        "scored_pairs": float(log.scored_pairs.sum()),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
