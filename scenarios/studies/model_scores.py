"""The scores of several models in a world, each by a process of its own.

One model's work hardly fills two cores, since batches are put together by one thread. So several models are
scored beside one another. Their scores go to the cache, where `relevance_of` finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import psutil

from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress, stage_of
from scenarios.markets.prepared import Prepared
from scenarios.markets.scoring import relevance_of, scores_kept
from scenarios.markets.simulation import prepare
from scenarios.storage.command_progress import Stage
from scenarios.storage.machine import cores
from scenarios.studies.pool import work_through

BYTES = 3 * 2**30
"""Of memory for a process: 2.2 GB were measured in a world of the registered experiments."""


class Scoring(NamedTuple):
    """A model that is to score the pairs of a world."""

    world: Scenario
    scenario: Scenario
    cache: Path


def keep_scores(
    prepared: Prepared, scenarios: Sequence[Scenario], cache: Path, progress: Progress | None = None
) -> None:
    """Score a world by several HCMRMs at once, where their scores are missing in the cache.

    One alone is left to `relevance_of`, and so is a model whose process fails; it then raises that error.

    Args:
        scenarios: one of each model.
        cache: the results folder.

    Raises:
        CheckpointError: a checkpoint is missing.
        UserError: processes cannot be started.
    """
    missing = [
        one
        for one in scenarios
        if one.scorer == "hcmrm"
        and one.hcmrm.device == "cpu"
        and not scores_kept(replace(prepared, scenario=one), one.scorer, cache)
    ]
    workers = min(cores(), len(missing), psutil.virtual_memory().available // BYTES)
    if workers < 2:
        return
    stage = stage_of(progress, Stage("scoring", "hcmrm"))
    tasks = [Scoring(prepared.scenario, one, cache) for one in missing]
    for done, _ in enumerate(work_through(f"{__name__}:worker", [tasks], workers), start=1):
        if stage is not None:
            stage(done, len(missing))


def worker() -> Callable[[Scoring], None]:
    """What a process does, see `scenarios.studies.pool.work_through`; all its tasks are of one world."""
    prepared: Prepared | None = None

    def score(task: Scoring) -> None:
        nonlocal prepared
        prepared = prepared or prepare(task.world, cache=task.cache)
        relevance_of(replace(prepared, scenario=task.scenario), task.scenario.scorer, cache=task.cache)

    return score
