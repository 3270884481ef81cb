"""What the relevance models of an experiment know of the ads that meet in its markets.

    python -m benchmarks.in_market scenarios/experiments/headline.yaml [--also bm25 hcmrm] [--out results]

A model that tells labelled pairs apart may know little of the ads that compete for a query. The first
table says how each arm, and each scorer of `--also`, orders two ads of a query, over worlds and trainings.
The second says what an order of ads can change in each world. Scores that the experiment has kept are used.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console
from rich.table import Table

from scenarios.config.scenario import Scenario
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import Simulation, prepare, simulate
from scenarios.studies.experiments.experiment import Plan, in_world, load_experiment
from scenarios.studies.experiments.random_effects import mean_interval
from simulator.arrays import BoolArray, FloatArray

SPLITS = ((2, "2 and 3 above 0 and 1"), (1, "1, 2 and 3 above 0"))
"""Least grade of the better ads."""


def order(score: FloatArray, better: BoolArray, worse: BoolArray, traffic: FloatArray) -> float:
    """Of a better and a worse ad that meet in a query, how often the better one has the higher score.

    A tie is half. Queries count by their traffic. NaN where no two such ads meet.

    Args:
        score: F[U, K] of K candidates of U queries.
        better: B[U, K].
        worse: B[U, K].
        traffic: F[U].
    """
    higher = (score[:, :, None] > score[:, None, :]) + 0.5 * (score[:, :, None] == score[:, None, :])
    met = (better[:, :, None] & worse[:, None, :]) * traffic[:, None, None]
    return float((met * higher).sum() / met.sum()) if met.any() else float("nan")


class Supply(NamedTuple):
    """What a market offers, ranked without relevance."""

    grades: FloatArray
    """Shares of the candidates by grade, F[4], by traffic."""
    irrelevant: float
    """Share of the shown ads that have grade 0."""
    alone: float
    """Share of those in auctions with no more eligible ads than slots, where every ad is shown."""


def supply_of(prepared: Prepared, day: Simulation) -> Supply:
    """What a day without relevance shows."""
    met = prepared.candidate >= 0
    weight = np.broadcast_to(prepared.popularity[:, None], met.shape)[met]
    grades = np.bincount(day.market.grade[met], weights=weight, minlength=4)
    eligible = day.log.n_eligible[day.log.query_index]
    irrelevant = day.log.grade == 0
    alone = eligible[irrelevant] <= day.market.n_slots
    return Supply(grades / grades.sum(), day.metrics["irrelevant_share"], float(alone.mean()))


def known_in(
    plan: Plan, world: int | None, also: Sequence[str], out: Path
) -> tuple[dict[str, FloatArray], Supply]:
    """How each arm orders ads with each of its trainings, F[training, split], and what the market offers.

    Args:
        also: further scorers, with the settings of the experiment's scenario.
        out: the results folder.
    """
    prepared = prepare(plan.scenario_of(plan.experiment.baseline, world), cache=out)
    day = simulate(prepared, Relevance("none", np.ones(prepared.candidate.shape)))
    met, grade = prepared.candidate >= 0, day.market.grade

    def orders(scenario: Scenario, scorer: str) -> list[float]:
        score = relevance_of(replace(prepared, scenario=scenario), scorer, cache=out).table
        return [
            order(score, met & (grade >= least), met & (grade < least), prepared.popularity)
            for least, _ in SPLITS
        ]

    own = in_world(plan.scenario, world)
    known = {name: np.array([orders(own, name)] * plan.n_trainings) for name in also}
    for arm, scenario in plan.arms.items():
        trainings = [plan.scenario_of(arm, world, training) for training in range(plan.n_trainings)]
        known[arm] = np.array([orders(one, scenario.scorer) for one in trainings])
    return known, supply_of(prepared, day)


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description="what an experiment's models know of the ads that meet")
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--also", nargs="*", default=["bm25"], help="further scorers")
    parser.add_argument("--out", type=Path, default=Path("results"), help="results folder of the experiment")
    arguments = parser.parse_args()
    plan = load_experiment(arguments.experiment)
    of_worlds = [known_in(plan, world, arguments.also, arguments.out) for world in plan.worlds]
    table = Table("arm", *(name for _, name in SPLITS), title="how often the better ad has the higher score")
    for arm in of_worlds[0][0]:
        known = np.stack([orders[arm] for orders, _ in of_worlds])  # [world, training, split]
        means = [mean_interval(known[:, :, split]) for split in range(len(SPLITS))]
        table.add_row(arm, *(f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]" for mean in means))
    supply = Table(
        "world",
        *(f"grade {grade}" for grade in range(4)),
        "irrelevant ads",
        "of those without a competitor",
        title="candidates by grade, and ads shown without relevance",
    )
    for world, (_, one) in zip(plan.worlds, of_worlds, strict=True):
        supply.add_row(str(world), *(f"{share:.1%}" for share in (*one.grades, one.irrelevant, one.alone)))
    mean = np.mean([[*one.grades, one.irrelevant, one.alone] for _, one in of_worlds], axis=0)
    supply.add_row("mean", *(f"{share:.1%}" for share in mean))
    Console().print(table, supply)


if __name__ == "__main__":
    main()
