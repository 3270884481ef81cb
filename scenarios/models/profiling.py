"""Measure how long a scorer takes for a batch, on this machine, for `serving.profile`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from relevance.pretrained import pretrained_of
from relevance.protocol import RelevanceScorer
from scenarios.config.scenario import Scenario
from scenarios.config.service_profile import ProfileFile
from scenarios.errors import ScenarioError
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared
from scenarios.markets.scoring import check_scorers, load_scorer
from scenarios.markets.simulation import prepare
from scenarios.storage.machine import processor, threads
from simulator.arrays import IntArray

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Pairs in a batch."""


def measure_profile(
    scenario: Scenario,
    *,
    repeats: int = 7,
    sizes: tuple[int, ...] = SIZES,
    cache: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
) -> ProfileFile:
    """Time a scenario's scorer on batches of its own traffic.

    A batch holds all candidates of queries that are drawn by their popularity. Results that are kept for
    each ad (those of its frames) are computed before. If noise makes a larger batch faster than a smaller
    one, it gets the seconds of the smaller.

    Args:
        repeats: batches timed of each size, each of other queries.
        clock: a time in seconds.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
        ScenarioError: the scorer takes no time.
    """
    name = scenario.scorer
    if name in ("none", "oracle"):
        raise ScenarioError(f"{scenario.name}, scorer: '{name}' takes no time; profile one that reads texts")
    check_scorers(scenario, [name])
    prepared = prepare(scenario, cache=cache, progress=progress)
    scorer, machine = _scorer(prepared, name, cache)
    rng = np.random.default_rng(0)
    ads = np.unique(prepared.candidate[prepared.candidate >= 0])
    scorer.score(np.zeros_like(ads), ads)
    seconds = np.empty((len(sizes), repeats))
    for at, size in enumerate(sizes):
        scorer.score(*_batch(prepared, size, rng))  # the first call with new shapes may be slow
        for repeat in range(repeats):
            query, ad = _batch(prepared, size, rng)
            start = clock()
            scorer.score(query, ad)
            seconds[at, repeat] = clock() - start
        if progress is not None:
            progress(f"timing {name}", at + 1, len(sizes))
    spread = np.quantile(seconds, (0.25, 0.5, 0.75), axis=1)
    low, median, high = np.maximum.accumulate(spread, axis=1).tolist()
    return ProfileFile(
        kind="service profile",
        schema=1,
        scorer=name,
        scenario=scenario.name,
        machine=machine,
        repeats=repeats,
        points=tuple(zip(map(float, sizes), median, strict=True)),
        quartiles=tuple(zip(low, high, strict=True)),
    )


def _batch(prepared: Prepared, size: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """The first `size` candidate pairs of queries that are drawn by popularity."""
    popularity = prepared.popularity
    brought = (prepared.candidate >= 0).sum(axis=1)
    n, rows = 0, []
    while n < size:
        rows.append(int(rng.choice(popularity.size, p=popularity / popularity.sum())))
        n += int(brought[rows[-1]])
    which, column = np.nonzero(prepared.candidate[rows] >= 0)
    query = np.asarray(rows)[which]
    return query[:size], prepared.candidate[query, column][:size]


def _scorer(prepared: Prepared, name: str, cache: Path | None) -> tuple[RelevanceScorer, dict[str, str]]:
    """A scorer, ready to be timed, and the machine that it runs on."""
    settings, scorer = prepared.scenario.hcmrm, load_scorer(prepared, name, cache=cache)
    machine = {"processor": processor(), "cores": str(os.cpu_count()), "python": platform.python_version()}
    if name == "hcmrm":
        from relevance.hcmrm.device import device_name

        machine |= {
            "device": device_name(settings.device),
            "precision": settings.precision,
            "threads": str(threads()),
            "torch": version("torch"),
        }
    elif pretrained_of(name):
        from relevance.hcmrm.device import device_name

        machine |= {"device": device_name(settings.device)}
        machine |= {package: version(package) for package in ("torch", "sentence-transformers")}
    else:
        machine["numpy"] = version("numpy")
    return scorer, machine
