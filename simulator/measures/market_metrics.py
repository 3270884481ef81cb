"""The metrics of a run for the platform, the advertisers and the users. `METRICS` defines each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from simulator.arrays import MICROS, FloatArray, GradeArray, IntArray
from simulator.log import Impressions, SimulationLog
from simulator.market import Market
from simulator.serving import CACHED, FALLBACK, ServingModel

N_GRADES = 4
HOUR_S = 3600.0

Unit: TypeAlias = Literal["count", "money", "share", "seconds"]
"""Of a metric: money is in currency units, a share is in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the metrics of a run are computed from."""

    n_queries: int
    n_slots: int
    shown: IntArray  # [4] ads by true grade
    examined: FloatArray  # [4] ads that were looked at, by true grade; expected ones of the position model
    n_clicks: int
    n_conversions: int
    revenue: float  # currency
    worth_of_clicks: float  # currency: sum over clicks of value per click x worth_of_click[grade]
    value_of_seeing: FloatArray  # [4] currency, by true grade
    ran_out: IntArray  # [N] 1 for an advertiser that ran out
    latency_s: FloatArray  # [Q]
    served: GradeArray  # [Q] see serving.py
    n_scored_pairs: int
    span_s: float  # from the start until the last answer, or until the last day is over
    busy_s: FloatArray  # [servers]
    serving: ServingModel

    @property
    def n_served(self) -> int:
        """Queries answered by the scorer, or from its cache."""
        return int((self.served < FALLBACK).sum())

    @property
    def n_in_target(self) -> float:
        """Those answered within the latency target; NaN without a target."""
        model = self.serving
        target_s = model.timeout_s if model.latency_target_s is None else model.latency_target_s
        if target_s is None:
            return float("nan")
        return float(((self.served < FALLBACK) & (self.latency_s <= target_s)).sum())

    @property
    def cost(self) -> float:
        """What the servers cost, currency; NaN without a price."""
        price = self.serving.price_per_hour
        return float("nan") if price is None else price * self.busy_s.size * self.span_s / HOUR_S

    @property
    def n_shown(self) -> int:
        """Ads shown."""
        return int(self.shown.sum())

    @property
    def surplus(self) -> float:
        """Of the advertisers, currency."""
        return self.worth_of_clicks - self.revenue

    @property
    def utility(self) -> float:
        """Of the users, currency."""
        return float((self.examined * self.value_of_seeing).sum())


class Metric(NamedTuple):
    """One figure of a run."""

    name: str
    unit: Unit
    more_is_better: bool | None  # None: neither is better by itself
    definition: str
    of: Callable[[Facts], float]  # NaN for a share or mean of nothing
    total: bool = False  # a sum over the run; also given per thousand queries (`_rpm`)
    needs_grades: bool = False  # unknown where the ads' true grades are


def _grade_share(grade: int) -> Metric:
    return Metric(
        f"grade_{grade}_share",
        "share",
        None,
        f"shown ads of true grade {grade} / impressions",
        lambda facts: _ratio(int(facts.shown[grade]), facts.n_shown),
        needs_grades=True,
    )


def _latency_percentile(percent: int) -> Metric:
    return Metric(
        f"latency_p{percent}_s",
        "seconds",
        False,
        f"the least latency that at least {percent}% of the queries did not exceed",
        lambda facts: (
            float(np.quantile(facts.latency_s, percent / 100, method="inverted_cdf"))
            if facts.n_queries
            else float("nan")
        ),
    )


RUN_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("queries", "count", None, "queries that came", lambda f: float(f.n_queries), total=True),
            Metric("impressions", "count", None, "ads shown", lambda f: float(f.n_shown), total=True),
            Metric("clicks", "count", None, "clicks on ads", lambda f: float(f.n_clicks), total=True),
            Metric(
                "conversions",
                "count",
                True,
                "clicks that led to a conversion",
                lambda f: float(f.n_conversions),
                total=True,
            ),
            Metric("revenue", "money", True, "what advertisers paid", lambda f: f.revenue, total=True),
            Metric(
                "revenue_rpm",
                "money",
                True,
                "revenue per thousand queries",
                lambda f: _ratio(1000.0 * f.revenue, f.n_queries),
            ),
            Metric(
                "irrelevant_share",
                "share",
                False,
                "shown ads of true grade 0 / impressions",
                lambda f: _ratio(int(f.shown[0]), f.n_shown),
                needs_grades=True,
            ),
            Metric(
                "irrelevant_share_weighted",
                "share",
                False,
                "the same share of the ads that are looked at: each ad weighs its slot's examination "
                "probability; where looking depends on the ads above (cascade, dbn), the ads that were "
                "looked at count",
                lambda f: _ratio(float(f.examined[0]), float(f.examined.sum())),
                needs_grades=True,
            ),
            Metric("ctr", "share", True, "clicks / impressions", lambda f: _ratio(f.n_clicks, f.n_shown)),
            Metric(
                "fill",
                "share",
                None,
                "impressions / (queries x slots)",
                lambda f: _ratio(f.n_shown, f.n_queries * f.n_slots),
            ),
            Metric("mean_price", "money", None, "revenue / clicks", lambda f: _ratio(f.revenue, f.n_clicks)),
            Metric(
                "advertiser_surplus",
                "money",
                True,
                "sum over clicks of (value per click x worth_of_click[grade] - price): a click on an ad that "
                "does not answer the query converts less; negative where clicks cost more than they earn",
                lambda f: f.surplus,
                total=True,
                needs_grades=True,
            ),
            Metric(
                "user_utility",
                "money",
                True,
                "sum over the ads that are looked at (as in irrelevant_share_weighted) of "
                "value_of_seeing[grade]: what looking at the ad gave or cost the user (Abrams and Schwarz "
                "2007 call the negative part the hidden cost)",
                lambda f: f.utility,
                total=True,
                needs_grades=True,
            ),
            Metric(
                "welfare",
                "money",
                True,
                "revenue + advertiser surplus + user utility; what advertisers pay, the platform gets",
                lambda f: f.revenue + f.surplus + f.utility,
                total=True,
                needs_grades=True,
            ),
            Metric(
                "ran_out_share",
                "share",
                None,
                "advertisers that left before the end of a day / advertisers",
                lambda f: _ratio(float(f.ran_out.sum()), f.ran_out.size),
            ),
            Metric(
                "mean_latency_s",
                "seconds",
                False,
                "mean time from arrival to answer",
                lambda f: float(f.latency_s.mean()) if f.n_queries else float("nan"),
            ),
            *map(_latency_percentile, (50, 95, 99)),
            Metric(
                "timeout_share",
                "share",
                False,
                "queries answered by the fallback scorer or not at all / queries",
                lambda f: _ratio(float((f.served >= FALLBACK).sum()), f.n_queries),
            ),
            Metric(
                "cache_hit_share",
                "share",
                None,
                "queries answered from the cache / queries",
                lambda f: _ratio(float((f.served == CACHED).sum()), f.n_queries),
            ),
            Metric(
                "scored_pairs",
                "count",
                False,
                "pairs of a query and an ad that the scorer scored, in time or not",
                lambda f: float(f.n_scored_pairs),
                total=True,
            ),
            *map(_grade_share, range(N_GRADES)),
        )
    }
)
"""The metrics of a run in the order in which results list them."""

MEASURED_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric(
                "utilisation",
                "share",
                None,
                "time that servers worked on batches / time of all servers",
                lambda f: _ratio(float(f.busy_s.sum()), f.busy_s.size * f.span_s),
            ),
            Metric(
                "served_per_s",
                "count",
                True,
                "queries answered by the scorer or from its cache, a second",
                lambda f: _ratio(f.n_served, f.span_s),
            ),
            Metric(
                "in_target_per_s",
                "count",
                True,
                "those answered within serving.latency_target_s (else timeout_s), a second",
                lambda f: _ratio(f.n_in_target, f.span_s),
            ),
            Metric(
                "capacity_per_s",
                "count",
                True,
                "queries answered by the scorer or from its cache, a second in which all servers work",
                lambda f: _ratio(f.n_served * f.busy_s.size, float(f.busy_s.sum())),
            ),
            Metric(
                "cost_per_million",
                "money",
                False,
                "servers x serving.price_per_hour x hours, per million queries answered by the scorer or "
                "from its cache",
                lambda f: _ratio(f.cost * MICROS, f.n_served),
            ),
        )
    }
)
"""What a run with a measured clock says besides: what its servers served."""

TOTALS: tuple[str, ...] = tuple(metric.name for metric in RUN_METRICS.values() if metric.total)
"""Sums over a run; all but the first, the queries, are also given per thousand of these."""


def _per_thousand(total: Metric) -> Metric:
    return total._replace(
        name=f"{total.name}_rpm",
        definition=f"{total.name} per thousand queries",
        of=lambda facts: total.of(facts) * _ratio(1000.0, facts.n_queries),
        total=False,
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {f"{name}_rpm": _per_thousand(RUN_METRICS[name]) for name in TOTALS[1:]} | dict(RUN_METRICS)
)
"""The metrics of a run and its totals per thousand queries, in the order of `with_rates`."""


def is_share(name: str) -> bool:
    """Whether a metric is a share of something; False for a name that is no metric."""
    metric = METRICS.get(name) or MEASURED_METRICS.get(name)
    return metric is not None and metric.unit == "share"


def market_metrics(log: SimulationLog, market: Market) -> dict[str, float]:
    """The figures of one run by name; shares and means of nothing are NaN.

    See RUN_METRICS, and MEASURED_METRICS for a run with a measured clock.
    """
    totals = Totals(market)
    totals.add(log)
    return totals.metrics(log)


def with_rates(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics with their totals per thousand queries (`_rpm`) before them."""
    per_thousand = _ratio(1000.0, metrics["queries"])
    return {f"{name}_rpm": metrics[name] * per_thousand for name in TOTALS[1:]} | dict(metrics)


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
        facts = self.facts(log)
        measured = MEASURED_METRICS if facts.serving.clock == "measured" else {}
        return {name: metric.of(facts) for name, metric in (*RUN_METRICS.items(), *measured.items())}

    def facts(self, log: SimulationLog) -> Facts:
        """What the metrics are computed from, with what the log says of queries and accounts."""
        model = self._market.users
        if model.click_model == "position":
            examined = (self._shown * np.asarray(model.examination)).sum(axis=1)
        else:  # what is looked at depends on the ads above
            examined = self._looked_at.astype(np.float64)
        worth = self._market.value[:, None] * np.asarray(model.worth_of_click) * self._clicked
        return Facts(
            n_queries=log.arrival.size,
            n_slots=self._market.n_slots,
            shown=self._shown.sum(axis=1),
            examined=examined,
            n_clicks=int(self._clicked.sum()),
            n_conversions=self._conversions,
            revenue=self._charged_micros / MICROS,
            worth_of_clicks=float(worth.sum()),
            value_of_seeing=np.asarray(model.value_of_seeing),
            ran_out=log.ran_out.astype(np.int64),
            latency_s=log.answered_s - log.arrival_s,
            served=log.served,
            n_scored_pairs=int(log.scored_pairs.sum()),
            span_s=float(log.answered_s.max(initial=self._market.days * self._market.horizon_s)),
            busy_s=log.busy_s,
            serving=self._market.serving,
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
