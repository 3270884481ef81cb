"""Searches that choose later points by the metrics of earlier ones, by Optuna.

nsga2  Deb, Pratap, Agarwal and Meyarivan 2002, "A fast and elitist multiobjective genetic algorithm:
       NSGA-II", with its simulated binary crossover and polynomial mutation, and its constrained dominance
tpe    Ozaki, Tanigaki, Watanabe and Onishi 2020, "Multiobjective tree-structured Parzen estimator for
       computationally expensive optimization problems"

Points are asked for in generations. Their metrics are told in the order in which the points were asked for,
so nothing depends on which of them is simulated first. Each generation has random draws of its own. The first
one is a Latin hypercube.

A knob of the search is the place of a value in the list of a field's values: whole numbers, so that reading
and writing a point changes nothing. Distributions are cut into a thousand steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from relevance.extras import require
from scenarios.errors import StoreError
from scenarios.runs.optuna_tools import quiet_optuna, sampler_seed
from scenarios.studies.sweeps.asked import Generation, Settings
from scenarios.studies.sweeps.axes import unit_points
from scenarios.studies.sweeps.sweep import is_ordered, searched_values
from scenarios.studies.sweeps.sweep_file import GENERATION, SweepFile

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial

WITHOUT_FIGURES = 1e9
"""Excess of a point that failed, or of which an objective is not known: worse than any constraint broken."""


def check_installed(file: SweepFile) -> None:
    """Whether the method of a sweep can be had.

    Raises:
        MissingExtraError: Optuna is not installed.
    """
    require("optuna", extra="search", needed_by=f"{file.name}: the method {file.method}")


class Search:
    """A search, one generation after the other."""

    def __init__(self, file: SweepFile) -> None:
        """Begin one.

        Raises:
            MissingExtraError: Optuna is not installed.
        """
        check_installed(file)
        from optuna.study import create_study

        self._file = file
        self._knobs = {field: _Knob(values) for field, values in searched_values(file).items()}
        with quiet_optuna():
            self._study = create_study(
                directions=["maximize" if sign > 0 else "minimize" for sign in file.directions.values()]
            )
        self._generations = 0
        self._open: list[Trial] = []

    def ask(self, n: int, asked_before: Generation | None = None) -> list[Settings]:
        """The next n points to try; those of an earlier run where it has asked for them.

        Raises:
            StoreError: what was asked for are no values of this sweep.
        """
        wanted: Sequence[Settings | None] = [None] * n
        if asked_before is not None:
            wanted = asked_before
        elif self._generations == 0:
            wanted = self._spread(n)
        with quiet_optuna():
            self._study.sampler = _sampler(self._file, self._generations)
            self._open = [self._ask(settings) for settings in wanted]
        self._generations += 1
        return [
            {field: knob.values[trial.params[field]] for field, knob in self._knobs.items()}
            for trial in self._open
        ]

    def tell(self, figures: Sequence[Mapping[str, float] | None]) -> None:
        """Learn the metrics of the points that were asked for last, in their order; None: it has none."""
        for trial, found in zip(self._open, figures, strict=True):
            values = [math.nan if found is None else found[name] for name in self._file.directions]
            if found is None or not np.isfinite(values).all():
                # Told as a point of the worst kind, since a genetic algorithm counts the finished ones.
                trial.set_constraint("figures", WITHOUT_FIGURES)
                values = [0.0] * len(values)
            else:
                for one in self._file.bounds:
                    excess = one.excess(found[one.name])
                    trial.set_constraint(str(one), WITHOUT_FIGURES if math.isnan(excess) else excess)
            self._study.tell(trial, values)
        self._open = []

    def _spread(self, n: int) -> list[Settings]:
        """The first generation."""
        cube = unit_points("latin_hypercube", len(self._knobs), n, self._file.design_seed)
        return [
            {
                field: knob.values[int(u * len(knob.values))]
                for (field, knob), u in zip(self._knobs.items(), row, strict=True)
            }
            for row in cube
        ]

    def _ask(self, settings: Settings | None) -> Trial:
        from optuna.samplers import NSGAIISampler

        if settings is not None:
            try:
                places = {
                    field: knob.place[json.dumps(settings[field])] for field, knob in self._knobs.items()
                }
            except KeyError:
                held = f"asked.json in its folder holds {json.dumps(settings)}"
                reason = f"{held}, which are no values of this sweep"
                raise StoreError(reason, file=self._file.name, remedy="remove the file") from None
            self._study.enqueue_trial(places)
        trial = self._study.ask({field: knob.distribution for field, knob in self._knobs.items()})
        if isinstance(sampler := self._study.sampler, NSGAIISampler):
            # Where all values are given, the sampler is not asked for any, and would not count the trial.
            sampler.get_trial_generation(self._study, self._study.get_trials(deepcopy=False)[trial.number])
        return trial


class _Knob:
    """A field by the place of its value in the list of its values."""

    def __init__(self, values: tuple[JsonValue, ...]) -> None:
        from optuna.distributions import CategoricalDistribution, IntDistribution

        ordered = is_ordered(values)
        self.values = tuple(sorted(values)) if ordered else values  # type: ignore[type-var]
        self.distribution: BaseDistribution = (
            IntDistribution(0, len(values) - 1) if ordered else CategoricalDistribution(range(len(values)))
        )
        self.place = {json.dumps(value): place for place, value in enumerate(self.values)}


def _sampler(file: SweepFile, generation: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler, TPESampler
    from optuna.samplers.nsgaii import PolynomialMutation, SBXCrossover

    seed = sampler_seed(file.design_seed, generation)
    size = file.generation or GENERATION
    if file.method == "tpe":
        return TPESampler(seed=seed, n_startup_trials=size, multivariate=True, constant_liar=True)
    return NSGAIISampler(
        population_size=size, crossover=SBXCrossover(), mutation=PolynomialMutation(), seed=seed
    )
