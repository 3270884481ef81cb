"""The fusion rule that is learnt from data: the most revenue at a bounded share of irrelevant ads.

Zhu, Wang, Yang, Wang, Yan and Chen 2009, "Revenue optimization with relevance constraint in sponsored
search", state the problem and learn from clicks. Here every set of weights is simulated on the market itself,
so that prices, budgets and pacing answer to it, and Optuna searches the sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from relevance.extras import require
from scenarios.config.constraints import Constraint
from scenarios.config.fusion_rules import LearntRule, RuleSettings
from scenarios.config.load import override
from scenarios.config.scenario import Scenario
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.simulation import market_of, thin
from scenarios.runs.optuna_tools import quiet_optuna, sampler_seed
from simulator.clock.engine import simulate
from simulator.market import Market, with_rule
from simulator.measures.market_metrics import market_metrics, with_rates

LEAST_WEIGHT, LARGEST_WEIGHT = 0.02, 4.0
"""The search is between these, on a logarithmic scale, or up to twice the first weight if that is more."""
UNKNOWN = 100.0
"""Excess of a metric that is not known: worse than any bound broken."""
PARTS = ("rel_weights", "pctr_weights")


class Figures(NamedTuple):
    """What weights earn, on average over markets."""

    revenue_rpm: float  # currency per thousand queries
    irrelevant_share: float
    excess: float = 0.0  # over the further bounds: the sum of how far each is broken, in parts of it


@dataclass(frozen=True, slots=True)
class Tuned:
    """The rule found, as a scenario, and what it earns."""

    scenario: Scenario
    start: Figures  # of the first weights, on the markets searched
    found: Figures  # of the weights found, on the markets searched
    fresh_start: Figures  # of the first weights, on as many markets of other seeds
    fresh: Figures  # of the weights found, on those


def tune_fusion(
    prepared: Prepared,
    relevance: Relevance,
    *,
    max_irrelevant: float,
    keep: Sequence[Constraint] = (),
    evaluations: int = 150,
    n_markets: int = 4,
    n_queries: int = 10_000,
    progress: Progress | None = None,
) -> Tuned:
    """Choose the weights of the rule `learnt`; knots and first weights are the scenario's if it has them.

    The search is a tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl 2011, "Algorithms
    for hyper-parameter optimization"), seeded by the scenario's seed, with the bound as a constraint. A set
    of weights within the bound beats one beyond it, then more revenue beats less, then fewer irrelevant ads
    more (Deb 2000, "An efficient constraint handling method for genetic algorithms").

    Args:
        max_irrelevant: bound on the share of shown ads of grade 0.
        keep: further bounds on metrics, in their means over the markets.
        evaluations: sets of weights to simulate, the first included.
        n_markets: markets to simulate each on: the scenario's seed and those after it, each with bidders,
            traffic and clicks of its own. On one alone the weights would suit its bidders.
        n_queries: an even sample of each day's queries, budgets scaled down alike.

    Raises:
        ScenarioError: a bound or a number is out of range, or the mechanism does not fit the rule.
        MissingExtraError: Optuna is not installed.
    """
    if not 0 <= max_irrelevant <= 1 or min(evaluations, n_markets, n_queries) < 1:
        raise ScenarioError(
            "tuning needs max_irrelevant from 0 to 1 and at least one evaluation, market and query, "
            f"got {max_irrelevant}, {evaluations}, {n_markets}, {n_queries}"
        )
    require("optuna", extra="search", needed_by="tuning")
    from optuna.distributions import BaseDistribution, FloatDistribution
    from optuna.samplers import TPESampler
    from optuna.study import create_study

    own, seed = prepared.scenario.fusion, prepared.scenario.seed
    first = own if isinstance(own, LearntRule) else LearntRule(rule="learnt")

    def draw_markets(first_seed: int) -> list[Market]:
        scenarios = (_with(prepared.scenario, first, seed=first_seed + i) for i in range(n_markets))
        return [thin(market_of(prepared, relevance, scenario), n_queries) for scenario in scenarios]

    markets = draw_markets(seed)
    start = _weights(first)
    space: dict[str, BaseDistribution] = {  # the schema takes weights up to 100
        name: FloatDistribution(LEAST_WEIGHT, max(LARGEST_WEIGHT, min(2 * weight, 100.0)), log=True)
        for name, weight in start.items()
    }
    tried: list[tuple[RuleSettings, Figures]] = []
    with quiet_optuna():
        study = create_study(
            direction="maximize", sampler=TPESampler(seed=sampler_seed(seed), multivariate=True)
        )
        study.enqueue_trial({name: max(weight, LEAST_WEIGHT) for name, weight in start.items()})
        for done in range(1, evaluations + 1):
            trial = study.ask(space)
            rule = first if done == 1 else _weighted(first, trial.params)
            figures = _figures(markets, rule, keep)
            tried.append((rule, figures))
            trial.set_constraint("irrelevant_share", _share(figures) - max_irrelevant)
            trial.set_constraint("keep", figures.excess)
            study.tell(trial, figures.revenue_rpm)
            if progress is not None:
                progress("tuning", done, evaluations)
    best, reached = max(tried, key=lambda one: _worth(one[1], max_irrelevant))
    unseen = draw_markets(seed + n_markets)
    return Tuned(
        scenario=_with(prepared.scenario, best),
        start=tried[0][1],
        found=reached,
        fresh_start=_figures(unseen, first, keep),
        fresh=_figures(unseen, best, keep),
    )


def _figures(markets: list[Market], rule: RuleSettings, keep: Sequence[Constraint]) -> Figures:
    names = ("revenue_rpm", "irrelevant_share", *(one.name for one in keep))
    found = []
    for market in markets:
        tried = with_rule(market, rule.build())
        metrics = with_rates(market_metrics(simulate(tried), tried))
        found.append([metrics[name] for name in names])
    revenue, share, *kept = np.mean(found, axis=0).tolist()
    excess = (one.excess(value) for one, value in zip(keep, kept, strict=True))
    return Figures(revenue, share, sum(UNKNOWN if math.isnan(part) else max(part, 0.0) for part in excess))


def _share(figures: Figures) -> float:
    """The share that the bound is for; 1 where a market shows no ad, which would keep every bound."""
    return figures.irrelevant_share if np.isfinite(figures.irrelevant_share) else 1.0


def _worth(figures: Figures, bound: float) -> tuple[float, float, float]:
    """Sorts figures, the best last."""
    share = _share(figures)
    return -max(share - bound, 0.0) - figures.excess, figures.revenue_rpm, -share


def _weights(rule: RuleSettings) -> dict[str, float]:
    """The weights of a rule by `part.number`."""
    return {f"{part}.{n}": weight for part in PARTS for n, weight in enumerate(getattr(rule, part))}


def _weighted(rule: RuleSettings, weights: Mapping[str, float]) -> RuleSettings:
    """A rule with other weights, by `part.number`; rounded, so that a scenario file shows all digits."""
    changes = {
        part: tuple(round(weights[f"{part}.{n}"], 3) for n in range(len(getattr(rule, part))))
        for part in PARTS
    }
    return rule.model_copy(update=changes)


def _with(scenario: Scenario, rule: RuleSettings, **settings: object) -> Scenario:
    return override(scenario, {"fusion": rule.model_dump(), "sweep": None, **settings})
