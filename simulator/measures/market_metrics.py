"""The metrics of a run for the platform, the advertisers and the users. `METRICS` defines each of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import nan
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from simulator.arrays import MICROS, BoolArray, FloatArray, GradeArray, IntArray
from simulator.log import Impressions, SimulationLog
from simulator.market import Market
from simulator.measures import health
from simulator.measures.health import Advertisers
from simulator.measures.prediction_quality import PredictionCounts
from simulator.policies.match_types import GROUPS, N_GROUPS, group_of
from simulator.policies.seats import DEVIATING, SEATED
from simulator.serving import CACHED, FALLBACK, ServingModel
from simulator.users import has_loyalty

N_GRADES = 4
HOUR_S = 3600.0

Unit: TypeAlias = Literal["count", "money", "share", "ratio", "seconds"]
"""Of a metric: money is in currency units, a share is in [0, 1], a ratio is any other number without unit."""


class Matches(NamedTuple):
    """Counts by match type and true grade, see `policies.match_types.GROUPS`."""

    shown: IntArray  # [4, 4]
    clicks: IntArray  # [4]
    charged: IntArray  # [4] micros


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
    end_s: float  # of the last day
    span_s: float  # from the start until the last answer, or until the last day is over
    busy_s: FloatArray  # [servers]
    serving: ServingModel
    advertisers: Advertisers
    n_expected: int  # queries that would have come if no user had stayed away; 0: none does
    price_sum: int  # micros, over clicks
    price_squares: int  # micros^2, sum over clicks of the squared price
    by_match: Matches
    prediction: PredictionCounts
    examination: FloatArray  # [S] as the platform believes it
    n_judged: int  # shown ads whose grade a person gave

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
    def expected_clicks(self) -> float:
        """By the click prediction."""
        return float(self.prediction.expected_clicks(self.examination).sum())

    @property
    def n_shown(self) -> int:
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


def _by_name(*metrics: Metric) -> Mapping[str, Metric]:
    return MappingProxyType({metric.name: metric for metric in metrics})


def _count(name: str, more_is_better: bool | None, definition: str, of: Callable[[Facts], float]) -> Metric:
    return Metric(name, "count", more_is_better, definition, lambda f: float(of(f)), total=True)


def _total(name: str, definition: str, of: Callable[[Facts], float]) -> Metric:
    """A sum of money that needs grades."""
    return Metric(name, "money", True, definition, of, total=True, needs_grades=True)


def _quotient(
    name: str,
    more_is_better: bool | None,
    definition: str,
    of: Callable[[Facts], tuple[float, float]],  # a part, and the whole
    unit: Unit = "share",
    needs_grades: bool = False,
) -> Metric:
    def quotient(facts: Facts) -> float:
        return _ratio(*of(facts))

    return Metric(name, unit, more_is_better, definition, quotient, needs_grades=needs_grades)


def _grade_share(grade: int) -> Metric:
    definition = f"shown ads of true grade {grade} / impressions"
    name = f"grade_{grade}_share"
    return _quotient(name, None, definition, lambda f: (int(f.shown[grade]), f.n_shown), needs_grades=True)


def _of_group(group: str, who: str, some: Callable[[Advertisers], BoolArray]) -> tuple[Metric, ...]:
    """Shares of impressions and of spend, and the return, of a group of advertisers."""

    def share(amount: str) -> Callable[[Facts], float]:
        return lambda f: health.share_of(some(f.advertisers), getattr(f.advertisers, amount))

    return (
        Metric(
            f"{group}_impression_share", "share", None, f"share of {who} in impressions", share("impressions")
        ),
        Metric(f"{group}_spend_share", "share", None, f"share of {who} in revenue", share("spent")),
        Metric(
            f"{group}_return",
            "ratio",
            True,
            f"worth of the clicks of {who} / their spend; worth as in advertiser_surplus",
            lambda f: health.return_of(some(f.advertisers), f.advertisers),
            needs_grades=True,
        ),
    )


def _of_match(group: int, name: str) -> tuple[Metric, ...]:
    """Shares, CTR and irrelevant share of the ads that are found by one kind of match."""
    who = f"ads found by {name} match" if name != "expanded" else "ads found by the platform's expansion"
    return (
        _quotient(f"{name}_impression_share", None, f"share of {who} in impressions",
                  lambda f: (int(f.by_match.shown[group].sum()), f.n_shown)),
        _quotient(f"{name}_ctr", None, f"clicks / impressions of {who}",
                  lambda f: (int(f.by_match.clicks[group]), int(f.by_match.shown[group].sum()))),
        _quotient(f"{name}_irrelevant_share", False, f"{who} of true grade 0 / impressions of those",
                  lambda f: (int(f.by_match.shown[group, 0]), int(f.by_match.shown[group].sum())),
                  needs_grades=True),
        _quotient(f"{name}_revenue_share", None, f"share of {who} in revenue",
                  lambda f: (int(f.by_match.charged[group]), int(f.by_match.charged.sum()))),
    )  # fmt: skip


def _latency_percentile(percent: int) -> Metric:
    def percentile(f: Facts) -> float:
        if not f.n_queries:
            return float("nan")
        return float(np.quantile(f.latency_s, percent / 100, method="inverted_cdf"))

    definition = f"the least latency that at least {percent}% of the queries did not exceed"
    return Metric(f"latency_p{percent}_s", "seconds", False, definition, percentile)


RUN_METRICS: Mapping[str, Metric] = _by_name(
    _count("queries", None, "queries that came", lambda f: f.n_queries),
    _count("impressions", None, "ads shown", lambda f: f.n_shown),
    _count("clicks", None, "clicks on ads", lambda f: f.n_clicks),
    _count("conversions", True, "clicks that led to a conversion", lambda f: f.n_conversions),
    Metric("revenue", "money", True, "what advertisers paid", lambda f: f.revenue, total=True),
    _quotient("revenue_rpm", True, "revenue per thousand queries",
              lambda f: (1000.0 * f.revenue, f.n_queries), "money"),
    _quotient("irrelevant_share", False, "shown ads of true grade 0 / impressions",
              lambda f: (int(f.shown[0]), f.n_shown), needs_grades=True),
    _quotient("negative_share", False, "shown ads of true grade 0 or 1 / impressions",
              lambda f: (int(f.shown[:2].sum()), f.n_shown), needs_grades=True),
    _quotient("irrelevant_share_weighted", False,
              "the same share of the ads that are looked at: each ad weighs its slot's examination "
              "probability; where looking depends on the ads above (cascade, dbn), the ads that were "
              "looked at count",
              lambda f: (float(f.examined[0]), float(f.examined.sum())), needs_grades=True),
    _quotient("ctr", True, "clicks / impressions", lambda f: (f.n_clicks, f.n_shown)),
    _quotient("fill", None, "impressions / (queries x slots)",
              lambda f: (f.n_shown, f.n_queries * f.n_slots)),
    _quotient("mean_price", None, "revenue / clicks", lambda f: (f.revenue, f.n_clicks), "money"),
    _total("advertiser_surplus",
           "sum over clicks of (value per click x worth_of_click[grade] - price): a click on an ad that "
           "does not answer the query converts less; negative where clicks cost more than they earn",
           lambda f: f.surplus),
    _total("user_utility",
           "sum over the ads that are looked at (as in irrelevant_share_weighted) of "
           "value_of_seeing[grade]: what looking at the ad gave or cost the user (Abrams and Schwarz "
           "2007 call the negative part the hidden cost)",
           lambda f: f.utility),
    _total("welfare", "revenue + advertiser surplus + user utility; what advertisers pay, the platform gets",
           lambda f: f.revenue + f.surplus + f.utility),
    _quotient("ran_out_share", None, "advertisers that left before the end of a day / advertisers",
              lambda f: (float(f.ran_out.sum()), f.ran_out.size)),
    Metric("mean_latency_s", "seconds", False, "mean time from arrival to answer",
           lambda f: float(f.latency_s.mean()) if f.n_queries else float("nan")),
    *map(_latency_percentile, (50, 95, 99)),
    _quotient("timeout_share", False, "queries answered by the fallback scorer or not at all / queries",
              lambda f: (float((f.served >= FALLBACK).sum()), f.n_queries)),
    _quotient("cache_hit_share", None, "queries answered from the cache / queries",
              lambda f: (float((f.served == CACHED).sum()), f.n_queries)),
    _count("scored_pairs", False, "pairs of a query and an ad that the scorer scored, in time or not",
           lambda f: f.n_scored_pairs),
    *map(_grade_share, range(N_GRADES)),
    Metric("spend_hhi", "ratio", None,
           "Herfindahl-Hirschman index of spend: sum over advertisers of (own spend / revenue)^2",
           lambda f: health.herfindahl(f.advertisers.spent)),
    Metric("spend_top10_share", "share", None, "share of the ten advertisers that spend most in revenue",
           lambda f: health.top_share(f.advertisers.spent)),
    Metric("impression_hhi", "ratio", None,
           "Herfindahl-Hirschman index of impressions: sum over advertisers of (own / all)^2",
           lambda f: health.herfindahl(f.advertisers.impressions)),
    Metric("impression_top10_share", "share", None,
           "share of the ten advertisers that are shown most in impressions",
           lambda f: health.top_share(f.advertisers.impressions)),
    *_of_group("small", "the lower half of the advertisers by daily budget", lambda who: who.small),
    *_of_group("large", "the top tenth of the advertisers by daily budget", lambda who: who.large),
    Metric("newcomer_impression_share", "share", None,
           "share of newcomers in impressions: advertisers who join after the first day (bidders.churn)",
           lambda f: health.share_of(f.advertisers.new, f.advertisers.impressions)),
    Metric("newcomer_first_click_s", "seconds", False,
           "mean time from a newcomer's joining to its first click; one without a click counts with its "
           "time until the end of the last day",
           lambda f: health.time_to_first_click(f.advertisers, f.end_s)),
    Metric("loss_share", "share", False,
           "advertisers who spent more than their clicks were worth / advertisers who spent; worth as in "
           "advertiser_surplus",
           lambda f: health.loss_share(f.advertisers), needs_grades=True),
    Metric("price_cv", "ratio", None,
           "coefficient of variation of the prices of clicked ads: standard deviation / mean",
           lambda f: health.variation(f.n_clicks, f.price_sum, f.price_squares)),
    _quotient("lost_visit_share", False,
              "queries that did not come because their user stayed away / queries that would have come; "
              "NaN where users do not remember (users.return_rate, users.return_elasticity)",
              lambda f: (f.n_expected - f.n_queries, f.n_expected)),
    *(metric for group, name in enumerate(GROUPS) for metric in _of_match(group, name)),
    _quotient("pctr_auc", True,
              "of a clicked ad and one in the same slot that was not clicked, how often the clicked one has "
              "the higher pCTR (a tie is half)",
              lambda f: f.prediction.click_order(), "ratio"),
    _quotient("pctr_calibration", None, "sum of examination[slot] x pCTR over the shown ads / clicks",
              lambda f: (f.expected_clicks, f.n_clicks), "ratio"),
    _quotient("pctr_calibration_error", False,
              "sum of |sum of examination[slot] x pCTR - clicks| over groups of shown ads / clicks; the "
              "pCTRs of a group differ by a factor of 1.5 at most",
              lambda f: (f.prediction.calibration_gap(f.examination), f.n_clicks)),
    _quotient("pctr_relevance_auc", None,
              "pCTR read as relevance: of a shown ad of true grade 2 or 3 and one of grade 0 or 1, how often "
              "the first has the higher pCTR (a tie is half)",
              lambda f: f.prediction.relevance_order(), "ratio", needs_grades=True),
)  # fmt: skip
"""The metrics of a run in the order in which results list them."""

MEASURED_METRICS: Mapping[str, Metric] = _by_name(
    _quotient("utilisation", None, "time that servers worked on batches / time of all servers",
              lambda f: (float(f.busy_s.sum()), f.busy_s.size * f.span_s)),
    _quotient("served_per_s", True, "queries answered by the scorer or from its cache, a second",
              lambda f: (f.n_served, f.span_s), "count"),
    _quotient("in_target_per_s", True,
              "those answered within serving.latency_target_s (else timeout_s), a second",
              lambda f: (f.n_in_target, f.span_s), "count"),
    _quotient("capacity_per_s", True,
              "queries answered by the scorer or from its cache, a second in which all servers work",
              lambda f: (f.n_served * f.busy_s.size, float(f.busy_s.sum())), "count"),
    _quotient("cost_per_million", False,
              "servers x serving.price_per_hour x hours, per million queries answered by the scorer or "
              "from its cache",
              lambda f: (f.cost * MICROS, f.n_served), "money"),
)  # fmt: skip
"""What a run with a measured clock says besides: what its servers served."""

JUDGED_METRICS: Mapping[str, Metric] = _by_name(
    _quotient("judged_share", True,
              "shown ads whose grade for the query a person gave / impressions; the others have a judge's",
              lambda f: (f.n_judged, f.n_shown)),
)  # fmt: skip
"""What a run says besides where some grades may not be a person's (`Market.judged`)."""


def _of_seats(
    name: str, what: str, of: Callable[[BoolArray, Advertisers], float], least: int = SEATED
) -> Metric:
    """A figure of those who have a seat, or of those who can deviate."""

    def figure(f: Facts) -> float:
        assert f.advertisers.seat is not None
        return of(f.advertisers.seat >= least, f.advertisers)

    return Metric(name, "ratio", True, what, figure, needs_grades=of is not health.used_of)


SEAT_METRICS: Mapping[str, Metric] = _by_name(
    _of_seats("seat_surplus", "(worth of the clicks - spend) / budget, of advertisers with a seat "
              "(bidders.seats); worth as in advertiser_surplus", health.surplus_of),
    _of_seats("seat_return", "worth of the clicks / spend, of these", health.return_of),
    _of_seats("seat_budget_used", "spend / budget, of these", health.used_of),
    _of_seats("deviant_surplus", "seat_surplus of those of them who can deviate (bidders.seats.deviate)",
              health.surplus_of, DEVIATING),
)  # fmt: skip
"""What a run says besides where policies are compared (`Market.seat`)."""

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
    metric = METRICS.get(name) or MEASURED_METRICS.get(name) or JUDGED_METRICS.get(name)
    return metric is not None and metric.unit == "share"


def market_metrics(log: SimulationLog, market: Market) -> dict[str, float]:
    """The figures of one run by name; shares and means of nothing are NaN.

    See RUN_METRICS, MEASURED_METRICS for a run with a measured clock, JUDGED_METRICS and SEAT_METRICS.
    """
    totals = Totals(market)
    totals.add(log)
    return totals.metrics(log)


def with_rates(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics with their totals per thousand queries (`_rpm`) before them."""
    per_thousand = _ratio(1000.0, metrics["queries"])
    return {f"{name}_rpm": metrics[name] * per_thousand for name in TOTALS[1:]} | dict(metrics)


def without_rates(metrics: Mapping[str, float]) -> dict[str, float]:
    """The reverse of `with_rates`, without the figures of measured servers, which are never kept."""
    every = (*RUN_METRICS, *JUDGED_METRICS, *SEAT_METRICS)
    return {name: metrics[name] for name in every if name in metrics}


class Totals:
    """Counts of shown ads, from which the metrics follow; a log may come in parts, and is not kept.

    All are whole numbers, so that it does not matter how the log is cut.
    """

    def __init__(self, market: Market) -> None:
        self._market = market
        self._shown = np.zeros((N_GRADES, market.n_slots), dtype=np.int64)
        self._looked_at = np.zeros(N_GRADES, dtype=np.int64)
        self._clicked = np.zeros((market.value.size, N_GRADES), dtype=np.int64)
        self._conversions = self._price_sum = self._price_squares = self._judged = 0
        n = market.budget_micros.size
        self._impressions, self._spent = np.zeros((2, n), dtype=np.int64)
        self._first_click_s = np.full(n, np.inf)
        self._shown_by_match = np.zeros((N_GROUPS, N_GRADES), dtype=np.int64)
        self._clicks_by_match, self._charged_by_match = np.zeros((2, N_GROUPS), dtype=np.int64)
        self._prediction = PredictionCounts.none(market.n_slots)

    def add(self, part: Impressions) -> None:
        """Count shown ads."""
        by_slot = part.grade * np.int64(self._market.n_slots) + part.slot
        self._shown += np.bincount(by_slot, minlength=self._shown.size).reshape(self._shown.shape)
        self._looked_at += np.bincount(part.grade[part.examined], minlength=N_GRADES)
        clicked = np.flatnonzero(part.clicked)
        np.add.at(self._clicked, (part.ad[clicked], part.grade[clicked]), 1)
        self._conversions += int(np.isfinite(part.conversion_s).sum())
        self._impressions += np.bincount(part.advertiser, minlength=self._impressions.size)
        np.add.at(self._spent, part.advertiser, part.charged_micros)
        np.minimum.at(self._first_click_s, part.advertiser[clicked], part.time_s[clicked])
        prices = part.price_micros[clicked].tolist()  # squares of many would not fit into 64 bits
        self._price_sum += sum(prices)
        self._price_squares += sum(price * price for price in prices)
        group = group_of(part.recall)
        by_group = np.bincount(group * np.int64(N_GRADES) + part.grade, minlength=self._shown_by_match.size)
        self._shown_by_match += by_group.reshape(self._shown_by_match.shape)
        self._clicks_by_match += np.bincount(group[clicked], minlength=N_GROUPS)
        np.add.at(self._charged_by_match, group, part.charged_micros)
        self._prediction.add(part)
        if self._market.judged is not None:
            self._judged += int(self._market.judged(part.query, part.ad).sum())

    def metrics(self, log: SimulationLog) -> dict[str, float]:
        """The metrics, see `market_metrics`, with what the log says of queries and accounts."""
        facts = self.facts(log)
        measured = MEASURED_METRICS if facts.serving.clock == "measured" else {}
        judged = {} if self._market.judged is None else JUDGED_METRICS
        seats = {} if self._market.seat is None else SEAT_METRICS
        every = (*RUN_METRICS.items(), *measured.items(), *judged.items(), *seats.items())
        return {name: metric.of(facts) for name, metric in every}

    def facts(self, log: SimulationLog) -> Facts:
        """What the metrics are computed from, with what the log says of queries and accounts."""
        market, model = self._market, self._market.users
        if model.click_model == "position":
            examined = (self._shown * np.asarray(model.examination)).sum(axis=1)
        else:  # what is looked at depends on the ads above
            examined = self._looked_at.astype(np.float64)
        worth = (market.value[:, None] * np.asarray(model.worth_of_click) * self._clicked).sum(axis=1)
        return Facts(
            n_queries=log.arrival.size,
            n_slots=market.n_slots,
            shown=self._shown.sum(axis=1),
            examined=examined,
            n_clicks=int(self._clicked.sum()),
            n_conversions=self._conversions,
            revenue=int(self._spent.sum()) / MICROS,
            worth_of_clicks=float(worth.sum()),
            value_of_seeing=np.asarray(model.value_of_seeing),
            ran_out=log.ran_out.astype(np.int64),
            latency_s=log.answered_s - log.arrival_s,
            served=log.served,
            n_scored_pairs=int(log.scored_pairs.sum()),
            end_s=market.days * market.horizon_s,
            span_s=float(log.answered_s.max(initial=market.days * market.horizon_s)),
            busy_s=log.busy_s,
            serving=market.serving,
            advertisers=Advertisers(
                budget=market.budget_micros,
                impressions=self._impressions,
                spent=self._spent,
                worth=np.bincount(market.advertiser, worth, self._spent.size).astype(np.float64),
                new=market.joins > 0,
                joined_s=(market.joins * market.horizon_s).astype(np.float64),
                first_click_s=self._first_click_s,
                days=market.days,
                seat=market.seat,
            ),
            n_expected=market.query.size if market.user is not None and has_loyalty(model) else 0,
            price_sum=self._price_sum,
            price_squares=self._price_squares,
            by_match=Matches(self._shown_by_match, self._clicks_by_match, self._charged_by_match),
            prediction=self._prediction,
            examination=np.asarray(model.examination),
            n_judged=self._judged,
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else nan  # one object, so that figures of equal runs are equal
