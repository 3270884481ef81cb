"""The comparison of a scenario over several days of its own world, as the experiment that it is.

Its arms are the scorers that the scenario compares, the first of them the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.storage.machine import cores
from scenarios.studies.experiments.experiment import Experiment, Plan
from scenarios.studies.experiments.experiment_run import ExperimentResult, run_experiment
from scenarios.studies.kept_points import SMALL
from scenarios.studies.replicates import share_scored


def days_plan(scenario: Scenario) -> Plan | None:
    """The experiment over the seeds that follow the scenario's own; None where there are no such days.

    Arms are called 1, 2, ... in the order of the scenario's comparison.
    """
    scorers = dict.fromkeys((*scenario.compare, scenario.scorer))
    last = scenario.seed + scenario.days_compared
    plain = scenario.serving.scoring == "table" and scenario.serving.clock != "measured"
    if not plain or min(len(scorers), scenario.days_compared) < 2 or last >= 2**62:
        return None
    bare = scenario.model_copy(update={"compare": (), "sweep": None})
    arms = {
        str(number): bare.model_copy(update={"scorer": scorer}) for number, scorer in enumerate(scorers, 1)
    }
    experiment = Experiment.model_validate(
        {
            "schema": 1,
            "name": scenario.name,
            "baseline": "1",
            "arms": {arm: {"scorer": own.scorer} for arm, own in arms.items()},
            "seeds": list(range(scenario.seed, last)),
        }
    )
    return Plan(experiment, bare, arms)


def compare_days(
    prepared: Prepared,
    relevances: Mapping[str, Relevance],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> ExperimentResult | None:
    """Compare a scenario's scorers over days; None where it has no other days.

    Args:
        relevances: by scorer.
        cache: the results folder, under which finished days are kept; None keeps nothing.

    Raises:
        StoreError, StudyError: see `run_experiment`.
    """
    source, plan = prepared.source, days_plan(prepared.scenario)
    if plan is None or not (source.has_texts and source.has_other_days):
        return None
    shared = share_scored(prepared, relevances, plan.arms.values())
    small = source.n_queries(prepared.scenario) * len(plan.arms) * len(plan.seeds) < SMALL
    return run_experiment(
        plan, cache=cache, progress=progress, shared=shared, workers=1 if small else cores()
    )
