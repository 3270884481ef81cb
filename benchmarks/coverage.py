"""How often the intervals of experiments hold what is true, on simulated replicates with known variances.

    python -m benchmarks.coverage [--experiments 20000]

First the random-effects interval: W worlds, T trainings, D days, and a mixture of effects, all normal. Then
Stein's rule for a relative change: how often its interval holds the truth and keeps the wanted width.
"""

import argparse
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from scenarios.studies.experiments.random_effects import mean_interval, units_of
from scenarios.studies.experiments.statistics import compare, linearised_change, seeds_for_half_width
from simulator.arrays import FloatArray


class Spread(NamedTuple):
    """Standard deviations of the effects, see `random_effects`."""

    world: float = 0.0
    training: float = 0.0
    both: float = 0.0
    day: float = 0.0
    rest: float = 0.0


MIXTURES: Mapping[str, tuple[tuple[int, int, int], Spread]] = {
    "few worlds that differ much": ((3, 1, 5), Spread(world=1, day=0.3)),
    "worlds differ much": ((8, 1, 5), Spread(world=1, day=0.3)),
    "worlds differ a little": ((8, 1, 5), Spread(world=0.3, day=1)),
    "worlds do not differ": ((8, 1, 5), Spread(day=1)),
    "one world": ((1, 1, 5), Spread(day=1)),
    "all differ": ((8, 3, 5), Spread(0.5, 0.3, 0.2, 1, 0.5)),
    "worlds differ, trainings do not": ((8, 3, 5), Spread(world=1, day=0.3, rest=0.3)),
    "trainings differ much": ((8, 3, 5), Spread(0.2, 1, 0.2, 0.5, 0.3)),
    "five trainings differ much": ((8, 5, 5), Spread(0.2, 1, 0.2, 0.5, 0.3)),
    "one world, trainings differ": ((1, 3, 10), Spread(training=0.5, day=1, rest=0.3)),
    "few worlds, all differ": ((4, 3, 5), Spread(0.5, 0.3, 0.2, 1, 0.5)),
    "nothing but noise": ((8, 3, 5), Spread(rest=1)),
}
"""(worlds, trainings, days) and what differs, by name."""


def replicates(rng: np.random.Generator, shape: tuple[int, int, int], spread: Spread) -> FloatArray:
    """Replicates F[W, T, D] with mean 0."""
    worlds, trainings, days = shape
    return (
        spread.world * rng.normal(size=(worlds, 1, 1))
        + spread.training * rng.normal(size=(1, trainings, 1))
        + spread.both * rng.normal(size=(worlds, trainings, 1))
        + spread.day * rng.normal(size=(worlds, 1, days))
        + spread.rest * rng.normal(size=(worlds, trainings, days))
    )


def coverage(name: str, experiments: int, seed: int = 0) -> float:
    """How often the interval of a mixture holds the mean."""
    rng, held = np.random.default_rng(seed), 0
    for _ in range(experiments):
        found = mean_interval(units_of(replicates(rng, *MIXTURES[name])))
        held += found.low <= 0.0 <= found.high
    return held / experiments


def stein_of_a_change(experiments: int, half_width: float = 0.02, seed: int = 0) -> tuple[float, float]:
    """How often Stein's interval of a relative change holds it, and keeps the wanted half-width.

    Arms of mean 1 and 0.97 that vary by 10% and 10.4% between days, with a correlation of 0.92, and a pilot
    of 5 days.
    """
    rng, pilot, held, kept = np.random.default_rng(seed), 5, 0, 0
    mix = np.linalg.cholesky([[0.1**2, 0.0096], [0.0096, 0.104**2]])
    for _ in range(experiments):
        first = rng.normal(size=(pilot, 2)) @ mix.T + (1.0, 0.97)
        n = seeds_for_half_width(linearised_change(*first.T)[0], half_width)
        more = rng.normal(size=(n - pilot, 2)) @ mix.T + (1.0, 0.97)
        found = compare(*np.concatenate([first, more]).T, pilot=pilot).change
        held += found.t_low <= -0.03 <= found.t_high
        kept += (found.t_high - found.t_low) / 2 <= half_width * (1 + 1e-9)
    return held / experiments, kept / experiments


def main() -> None:
    """Print coverage by mixture, and what Stein's rule achieves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=20_000)
    n = parser.parse_args().experiments
    print(f"{n:,} experiments each; intervals of 95%")
    print(f"{'mixture':34}{'worlds x trainings x days':>26}{'held':>8}")
    for name, (shape, _) in MIXTURES.items():
        print(f"{name:34}{' x '.join(map(str, shape)):>26}{100 * coverage(name, n):>7.1f}%", flush=True)
    held, kept = stein_of_a_change(n)
    print(f"Stein's rule for a relative change: held {100 * held:.1f}%, width kept {100 * kept:.1f}%")
    print(f"standard error of a share: {100 * math.sqrt(0.05 * 0.95 / n):.2f}%")


if __name__ == "__main__":
    main()
