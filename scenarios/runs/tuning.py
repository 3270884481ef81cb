"""The fusion rule that is learnt from data: the most revenue at a bounded share of irrelevant ads.

Zhu, Wang, Yang, Wang, Yan and Chen 2009, "Revenue optimization with relevance constraint in sponsored
search", state the problem and learn from clicks; here every set of weights is simulated on the market itself,
so that prices, budgets and pacing answer to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scenarios.config.fusion_rules import LearntRule
from scenarios.config.load import override
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import market_of, thin
from simulator import random
from simulator.arrays import FloatArray
from simulator.clock.engine import simulate
from simulator.market import Market, with_rule
from simulator.measures.market_metrics import market_metrics


class Figures(NamedTuple):
    """What weights come to, on average over markets."""

    revenue_rpm: float  # currency per thousand queries
    irrelevant_share: float


_GROW, _SHRINK = 1.5, 1.5**-0.25
"""The step's factors after a success and a failure: it keeps its size at one success in five (Rechenberg)."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The rule found, as a scenario, and what it earns."""

    scenario: Scenario
    start: Figures  # of the weights that the search began with, where it searched
    found: Figures  # of the weights found, where it searched
    fresh_start: Figures  # of the weights that it began with, on as many seeds that it did not see
    fresh: Figures  # of the weights found, on those


def tune_fusion(
    prepared: Prepared,
    relevance: Relevance,
    *,
    max_irrelevant: float,
    evaluations: int = 150,
    n_markets: int = 4,
    n_queries: int = 10_000,
    progress: Progress | None = None,
) -> Tuned:
    """Choose the weights of the rule `learnt`; knots and first weights are the scenario's if it has them.

    A (1 + 1) evolution strategy with Rechenberg's step rule: one step at a time from the best weights so far,
    in a direction drawn from the scenario's seed. A point within the bound beats one beyond it, then more
    revenue beats less, then fewer irrelevant ads more (Deb 2000, "An efficient constraint handling method for
    genetic algorithms").

    Args:
        max_irrelevant: bound on the share of shown ads of grade 0.
        evaluations: sets of weights to simulate, the first included.
        n_markets: markets to simulate each on: the scenario's seed and those after it, each with bidders,
            traffic and clicks of its own. On one alone the weights would suit its bidders.
        n_queries: an even sample of each day's queries, budgets scaled down alike.

    Raises:
        ScenarioError: a bound or a number is out of range, or the mechanism does not fit the rule.
    """
    if not 0 <= max_irrelevant <= 1 or min(evaluations, n_markets, n_queries) < 1:
        raise ScenarioError(
            "tuning needs max_irrelevant from 0 to 1 and at least one evaluation, market and query, "
            f"got {max_irrelevant}, {evaluations}, {n_markets}, {n_queries}"
        )
    own, seed = prepared.scenario.fusion, prepared.scenario.seed
    best = first = own if isinstance(own, LearntRule) else LearntRule(rule="learnt")

    def draw_markets(first_seed: int) -> list[Market]:
        scenarios = (_with(prepared.scenario, best, seed=first_seed + i) for i in range(n_markets))
        return [thin(market_of(prepared, relevance, scenario), n_queries) for scenario in scenarios]

    markets = draw_markets(seed)
    reached = start = _figures(markets, best)
    step = 0.5
    draws = random.normals(seed, "tuning", 0, evaluations, _weights(best).size)
    for done in range(1, evaluations):
        if progress is not None:
            progress("tuning", done + 1, evaluations)
        candidate = _moved(best, step * draws[done])
        figures = _figures(markets, candidate)
        if _worth(figures, max_irrelevant) > _worth(reached, max_irrelevant):
            best, reached, step = candidate, figures, step * _GROW
        else:
            step *= _SHRINK
    unseen = draw_markets(seed + n_markets)
    return Tuned(
        _with(prepared.scenario, best), start, reached, _figures(unseen, first), _figures(unseen, best)
    )


def _figures(markets: list[Market], rule: LearntRule) -> Figures:
    found = []
    for market in markets:
        tried = with_rule(market, rule.build())
        metrics = market_metrics(simulate(tried), tried)
        found.append([metrics[name] for name in Figures._fields])
    return Figures(*np.mean(found, axis=0).tolist())


def _worth(figures: Figures, bound: float) -> tuple[float, float, float]:
    share = figures.irrelevant_share
    excess = max(share - bound, 0.0) if np.isfinite(share) else 1.0  # to show nothing is no way to keep it
    return -excess, figures.revenue_rpm, -share


def _weights(rule: LearntRule) -> FloatArray:
    return np.array([*rule.rel_weights, *rule.pctr_weights])


def _moved(rule: LearntRule, by: FloatArray) -> LearntRule:
    # Rounded, so that the scenario file shows the whole truth; at most 100, as the schema has it.
    weights = [min(round(float(w), 3), 100.0) for w in np.abs(_weights(rule) + by)]
    n = len(rule.rel_weights)
    return rule.model_copy(update={"rel_weights": tuple(weights[:n]), "pctr_weights": tuple(weights[n:])})


def _with(scenario: Scenario, rule: LearntRule, **settings: object) -> Scenario:
    return override(scenario, {"fusion": rule.model_dump(), "sweep": None, **settings})
