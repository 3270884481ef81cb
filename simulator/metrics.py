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
from simulator.log import SimulationLog
from simulator.market import Market
from simulator.serving import CACHED, FALLBACK

N_GRADES = 4


def market_metrics(log: SimulationLog, market: Market) -> dict[str, float]:
    """Figures of one run: money in currency units (`_rpm`: per thousand queries), shares in [0, 1].

    Shares and means over nothing (no ad shown, no click) are NaN.
    """
    n_queries, n_slots = log.arrival.size, market.n_slots
    n_shown, n_clicks = log.ad.size, int(log.clicked.sum())
    if market.users.click_model == "position":
        examined = np.asarray(market.users.examination)[log.slot]
    else:  # what is looked at depends on the ads above
        examined = log.examined.astype(np.float64)
    revenue = int(log.charged_micros.sum()) / MICROS
    worth = market.value[log.ad] * np.asarray(market.users.worth_of_click)[log.grade]
    surplus = float(worth[log.clicked].sum()) - revenue
    utility = float((examined * np.asarray(market.users.value_of_seeing)[log.grade]).sum())
    metrics = {
        "queries": float(n_queries),
        "impressions": float(n_shown),
        "clicks": float(n_clicks),
        "conversions": float(np.isfinite(log.conversion_s).sum()),
        "revenue": revenue,
        "revenue_rpm": _ratio(1000.0 * revenue, n_queries),
        "irrelevant_share": _ratio(float((log.grade == 0).sum()), n_shown),
        "irrelevant_share_weighted": _ratio(float(examined[log.grade == 0].sum()), float(examined.sum())),
        "ctr": _ratio(n_clicks, n_shown),
        "fill": _ratio(n_shown, n_queries * n_slots),
        "mean_price": _ratio(revenue, n_clicks),
        "advertiser_surplus": surplus,
        "user_utility": utility,
        "welfare": revenue + surplus + utility,
        "ran_out_share": _ratio(float(log.ran_out.sum()), log.ran_out.size),
        **serving_metrics(log),
    }
    for grade in range(N_GRADES):
        metrics[f"grade_{grade}_share"] = _ratio(float((log.grade == grade).sum()), n_shown)
    return metrics


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
