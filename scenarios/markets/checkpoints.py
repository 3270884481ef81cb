"""HCMRM's checkpoints: those of the package by name, and what can be said of one without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import relevance
from relevance.corpus import Corpus
from relevance.errors import CheckpointError
from relevance.keywords import extractor_from
from scenarios.config.scenario import HcmrmSettings, Scenario
from scenarios.errors import did_you_mean, quoted
from scenarios.storage.cache import hash_of

SHIPPED_CHECKPOINT = Path(str(relevance.__file__)).parent / "hcmrm" / "checkpoint"
SHIPPED_CHECKPOINTS: Mapping[str, Path] = {
    "shipped": SHIPPED_CHECKPOINT,
    "graded": SHIPPED_CHECKPOINT.with_name("checkpoint-graded"),
    "pqvm": SHIPPED_CHECKPOINT.with_name("checkpoint-pqvm"),
    "bce": SHIPPED_CHECKPOINT.with_name("checkpoint-bce"),
}
"""Checkpoints of the package by their names in scenario files.

The last three were trained without soft markers, with equal steps, data and seed: `graded` on graded labels,
`pqvm` on the same after pre-training with pseudo-queries, and `bce`, the previous kind of model, on binary
labels and without pseudo-queries.
"""


def checkpoint_folder(scenario: Scenario) -> Path:
    """Where a scenario's HCMRM checkpoint lies: a name in SHIPPED_CHECKPOINTS, or a folder."""
    name = scenario.hcmrm.checkpoint or "shipped"
    return SHIPPED_CHECKPOINTS.get(name, Path(name))


def check_checkpoint(scenario: Scenario) -> None:
    """Find out before the work whether a scenario's checkpoint is there.

    Raises:
        CheckpointError: it is not; the message names the field.
    """
    try:
        checkpoint_hash(checkpoint_folder(scenario))
    except CheckpointError as error:
        name = scenario.hcmrm.checkpoint or "shipped"
        hint = did_you_mean(name, SHIPPED_CHECKPOINTS)
        field = f"hcmrm.checkpoint {quoted(name)}{hint}"
        raise CheckpointError(error, file=scenario.name, field=field) from error


def checkpoint_hash(folder: Path) -> str:
    """Hash of a checkpoint's files, without the record of its training.

    Raises:
        CheckpointError: the folder holds no checkpoint.
    """
    files = sorted(path for path in folder.glob("*.*") if path.suffix in (".json", ".safetensors"))
    if not any(path.suffix == ".safetensors" for path in files):
        raise CheckpointError(
            "not found",
            file=folder / "model.safetensors",
            remedy=f"make it with 'relbid train --out {folder}'",
        )
    decisive = [path for path in files if not path.name.startswith("training")]
    return hash_of(*(hashlib.blake2b(path.read_bytes()).hexdigest() for path in decisive))


def model_key(scenario: Scenario) -> str:
    """What decides the scores that a scenario's checkpoint gives.

    Raises:
        CheckpointError: see `checkpoint_hash`.
    """
    settings, usual = scenario.hcmrm, HcmrmSettings()
    parts = [checkpoint_hash(checkpoint_folder(scenario))]
    parts += [settings.calibration] if settings.calibration != usual.calibration else []
    parts += [settings.precision] if settings.precision != usual.precision else []
    return "-".join(parts)


def keywords_of(scenario: Scenario, corpus: Corpus, ads: Sequence[int]) -> list[str | None]:
    """The words that HCMRM reads of each ad, as the scenario's checkpoint says; null without a checkpoint."""
    try:
        words = json.loads((checkpoint_folder(scenario) / "keywords.json").read_text(encoding="utf-8"))
        extract = extractor_from(words)
    except (OSError, ValueError, TypeError):
        return [None] * len(ads)
    return [" ".join(extract(corpus.ad_text(ad))) for ad in ads]
