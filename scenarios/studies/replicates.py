"""Simulated markets that are kept on disk by a hash of all that decides their metrics.

Experiments and sweeps simulate many markets on few worlds. What no one of them changes is prepared once; the
metrics of each lie in a file of their own, written whole as soon as they are there, so that what was stopped
goes on where it was.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relevance.protocol import load_object
from scenarios.config.scenario import Scenario
from scenarios.markets.kind import Progress
from scenarios.markets.prepared import Prepared, Relevance
from scenarios.markets.scoring import relevance_of
from scenarios.markets.simulation import prepare
from scenarios.storage import cache as disk

PLUG_IN = re.compile(r'"([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)"')
"""module:attr as a text in JSON."""

MARKET_CODE = ("simulator", "scenarios.config", "scenarios.markets", "scenarios.studies")
"""Packages that take part when a market is simulated and measured."""

ModelKey = tuple[str, str]


def prepare_for(
    scenario: Scenario,
    others: Iterable[Scenario],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Prepare a scenario for others that share its world.

    That is what none of them changes, and the relevance by the cheap scorers that any one's servers use.

    Raises:
        PluginError, ScenarioError, StoreError, TableError: see `scenarios.prepare`.
    """
    prepared = prepare(scenario, cache=cache, progress=progress)
    names = {name for other in others for name in other.serving.cheap_scorers}
    cheap = {
        name: relevance_of(prepared, name, cache=cache, progress=progress).score
        for name in sorted(names - set(prepared.cheap))
    }
    return replace(prepared, cheap={**prepared.cheap, **cheap})


def model_of(scenario: Scenario) -> ModelKey:
    """What decides the relevance of a scenario's pairs, beside the pairs."""
    return scenario.scorer, scenario.hcmrm.model_dump_json() if scenario.scorer == "hcmrm" else ""


def relevances_for(
    prepared: Prepared,
    scenarios: Iterable[Scenario],
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[ModelKey, Relevance]:
    """Relevance by `model_of`, each computed once.

    Raises:
        CheckpointError, PluginError, ScorerError, StoreError: see `scenarios.relevance_of`.
    """
    found: dict[ModelKey, Relevance] = {}
    for scenario in scenarios:
        if (key := model_of(scenario)) not in found:
            own = replace(prepared, scenario=scenario)
            found[key] = relevance_of(own, scenario.scorer, cache=cache, progress=progress)
    return found


def replicates_folder(cache: Path) -> Path:
    """Where metrics are kept under the results folder."""
    return cache / disk.FOLDER / "replicates"


def plug_ins(scenario: Scenario) -> tuple[str, ...]:
    """The module:attr of one's own code that a scenario names."""
    return tuple(PLUG_IN.findall(scenario.model_dump_json()))


def code_of(plug_in: str) -> str:
    """Hash of the source file that holds one's own code; what that imports in turn is not looked at.

    Raises:
        PluginError: it cannot be loaded.
    """
    found = load_object(plug_in, "code")
    module = inspect.getmodule(found) or inspect.getmodule(type(found))
    try:
        source = inspect.getsource(module) if module is not None else ""
    except (OSError, TypeError):  # no source: a module of compiled code
        source = ""
    return hashlib.blake2b(source.encode(), digest_size=12).hexdigest()


def digest_of(prepared: Prepared) -> str:
    """What the markets of a prepared world have in common: the code, and what was read or scored before."""
    parts = [*(disk.code_hash(sys.modules[name]) for name in MARKET_CODE), *sorted(prepared.cheap)]
    arrays = [prepared.candidate, *(prepared.cheap[name] for name in sorted(prepared.cheap))]
    if (ctr := prepared.ctr) is not None:
        parts.append(str(ctr.coefficients))
        arrays += [getattr(ctr.features, field.name) for field in fields(ctr.features)]
    return "|".join([*parts, *map(_digest, arrays)])


def digest_of_scores(relevance: Relevance) -> str:
    """Hash of a scorer's relevance."""
    return _digest(relevance.score)


def decides(scenario: Scenario, *digests: str) -> str:
    """All that decides the metrics of a scenario's market but its seed.

    Args:
        digests: of what was prepared (`digest_of`) and of the scores (`digest_of_scores`).
    """
    bare = scenario.model_copy(update={"name": "replicate", "seed": 0, "compare": (), "sweep": None})
    return "|".join((bare.model_dump_json(), *digests))


def replicate_key(kind: str, seed: int, *decided_by: str) -> str:
    """Names the file of what was simulated at once: the whole market of one arm ("full"), or a split one."""
    return hashlib.blake2b("|".join((kind, str(seed), *decided_by)).encode(), digest_size=12).hexdigest()


def read_replicate(path: Path, n_arms: int = 1) -> list[dict[str, float]] | None:
    """Metrics that were kept, by arm; None if there are none, or they are damaged."""
    try:
        found: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
        return [dict(metrics) for metrics in found] if len(found) == n_arms else None
    except (OSError, ValueError, TypeError):
        return None


def _digest(array: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=12).hexdigest()
