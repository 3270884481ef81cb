"""HCMRM's checkpoints: where they lie, and what can be said of one without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import relevance
from relevance.corpus import Corpus
from relevance.errors import CheckpointError
from relevance.files import check_file, read_json
from relevance.keywords import extractor_from
from scenarios.config.scenario import HcmrmSettings, Scenario
from scenarios.errors import did_you_mean, quoted
from scenarios.storage.cache import hash_of
from simulator.world.world_config import READ_BY_MODELS, WorldConfig

SHIPPED_CHECKPOINT = Path(str(relevance.__file__)).parent / "hcmrm" / "checkpoint"
SHIPPED = "shipped"
"""The package's checkpoint in scenario files."""
KEPT = ("evidence", "loss", "pqvm")
"""Names of the shipped ablations, each of which keeps its checkpoints in a folder of this name."""


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """What a checkpoint was trained on, as the record of its training says.

    `worlds` are the seeds of embedded worlds, `settings` those worlds' other settings. `fold` is the fold of
    the catalogue that no label named; None: there is none, or nothing is known.
    """

    worlds: tuple[int, ...] = ()
    fold: int | None = None
    settings: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why figures of a checkpoint in a world may not be what they seem.

    kind: `unknown`: the checkpoint does not say what it was trained on; `seed`: it was trained on this world;
    `fold`: it had labels of the products that are held out here; `setting`: `field` of the world was
    `trained` in its training and is `here` now.
    """

    kind: Literal["unknown", "seed", "fold", "setting"]
    checkpoint: str
    field: str = "world.seed"
    trained: str = ""
    here: str = ""

    def __str__(self) -> str:
        if self.kind == "unknown":
            return f"{self.checkpoint}: does not say which worlds it was trained on; it may know this one"
        if self.kind == "seed":
            return (
                f"{self.checkpoint}: was trained on {self.field} {self.trained}, so it knows {self.here}; "
                "take another seed to see what it does in a new world"
            )
        if self.kind == "fold":
            return (
                f"{self.checkpoint}: had labels of the products of fold {self.here}, which are held out here"
            )
        return f"{self.checkpoint}: was trained with {self.field} {self.trained}, and here it is {self.here}"


def trained_on(folder: Path) -> TrainedOn:
    """What the record of a checkpoint's training says; nothing where there is no record."""
    try:
        record = read_json(folder / "training.json", dict, CheckpointError)
        corpora = record["corpora"]
        folds = {one["fold"] for one in corpora}
        seeds = tuple(sorted({seed for one in corpora for seed in one["worlds"]}))
        return TrainedOn(seeds, folds.pop() if len(folds) == 1 else None, corpora[-1]["world"])
    except (OSError, ValueError, LookupError, TypeError):
        return TrainedOn()


def fold_of(folder: Path) -> int:
    """The fold of the catalogue that a checkpoint's training gave no labels.

    Raises:
        CheckpointError: there is none, so it has no split `held_out`.
    """
    fold = trained_on(folder).fold
    if fold is None:
        raise CheckpointError(
            "has no split 'held_out': its training left no fold of the catalogue without labels, or does "
            "not say so",
            file=folder,
            remedy="train one with 'relbid train --fold 0'",
        )
    return fold


def doubts(
    folder: Path, seeds: Sequence[int], config: WorldConfig, held_out: int | None = None
) -> list[Doubt]:
    """Why figures of a checkpoint in the worlds of `config` with some seeds may not be what they seem.

    Args:
        held_out: the fold whose products the figures are of, if they are of one.
    """
    known, name = trained_on(folder), str(SHIPPED if folder == SHIPPED_CHECKPOINT else folder)
    if known.settings is None:
        return [Doubt("unknown", name)]
    both = [seed for seed in seeds if seed in known.worlds]
    found = [Doubt("seed", name, trained=_list(known.worlds), here=_list(both))] if both else []
    if held_out is not None and known.fold != held_out:
        found.append(Doubt("fold", name, "fold", str(known.fold), str(held_out)))
    here, usual = asdict(config), asdict(WorldConfig())
    for field in READ_BY_MODELS:
        trained = known.settings.get(field, usual[field])  # a record may be older than the field
        if trained != here[field]:
            found.append(Doubt("setting", name, f"world.{field}", _short(trained), _short(here[field])))
    return found


def _short(value: float | str) -> str:
    return value or "none" if isinstance(value, str) else f"{value:g}"


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def checkpoint_folder(scenario: Scenario) -> Path:
    """Where a scenario's HCMRM checkpoint lies."""
    return named_checkpoint(scenario.hcmrm.checkpoint)


def named_checkpoint(name: Path | str | None) -> Path:
    """The folder of a checkpoint as files and commands name it; `shipped` or nothing is the package's own."""
    return Path(name) if name and str(name) != SHIPPED else SHIPPED_CHECKPOINT


def check_checkpoint(scenario: Scenario) -> None:
    """Find out before the work whether a scenario's checkpoint is there.

    Raises:
        CheckpointError: it is not; the message names the field.
    """
    try:
        checkpoint_hash(checkpoint_folder(scenario))
    except CheckpointError as error:
        name = scenario.hcmrm.checkpoint or SHIPPED
        field = f"hcmrm.checkpoint {quoted(name)}{did_you_mean(name, (SHIPPED,))}"
        raise CheckpointError(error, file=scenario.place, field=field) from error


def command_for(folder: Path) -> str:
    """The command that makes the checkpoint of a folder."""
    name = folder.parent.name
    made_by = f"ablate scenarios/ablations/{name}.yaml" if name in KEPT else f"train --out {folder}"
    return f"relbid {made_by}"


def checkpoint_hash(folder: Path) -> str:
    """Hash of a checkpoint's files, without the record of its training.

    Raises:
        CheckpointError: the folder holds no checkpoint.
    """
    if folder.exists() and not folder.is_dir():
        remedy = f"name its folder{f', {folder.parent}' * (folder.suffix == '.safetensors')}"
        raise CheckpointError("a checkpoint is a folder, this is none", file=folder, remedy=remedy)
    files = sorted(path for path in folder.glob("*.*") if path.suffix in (".json", ".safetensors"))
    if not any(path.suffix == ".safetensors" for path in files):
        raise CheckpointError(
            "not found",
            file=folder / "model.safetensors",
            remedy=f"make it with '{command_for(folder)}'",
        )
    decisive = [path for path in files if not path.name.startswith("training")]
    for path in decisive:
        check_file(path, CheckpointError)
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
    parts += [settings.score] if settings.score != usual.score else []
    return "-".join(parts)


def keywords_of(scenario: Scenario, corpus: Corpus, ads: Sequence[int]) -> list[str | None]:
    """The words that HCMRM reads of each ad, as the scenario's checkpoint says; null without a checkpoint."""
    try:
        words = read_json(checkpoint_folder(scenario) / "keywords.json", dict, CheckpointError)
        extract = extractor_from(words)
    except (OSError, ValueError, TypeError):
        return [None] * len(ads)
    return [" ".join(extract(corpus.ad_text(ad))) for ad in ads]
