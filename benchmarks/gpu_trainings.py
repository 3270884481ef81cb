"""The trainings of an ablation whose checkpoints are missing, many at once on one GPU.

    python -m benchmarks.gpu_trainings --bundle gpu-bundle --out gpu-results/checkpoints

The bundle is that of `make gpu-bundle`, made where `models/` is: it names the trainings that are missing
there. Each checkpoint is written as soon as it is there; copied to `models/<ablation>/`, `relbid ablate`
measures it and trains no more than what is still missing. A model as small as these leaves a GPU idle most of
the time, so a process for each pre-training shares it. The frames of the worlds are drawn first, since they
are too large to travel.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu import read
from relevance.corpus import LabelledCorpus
from relevance.hcmrm.training.pretrained import finetune, pretrain
from relevance.hcmrm.training.train import training_record
from relevance.hcmrm.training.train_config import TrainConfig
from simulator.world import LabelledWorlds, labelled_corpus
from simulator.world.labels import FramesOf, draw_frames

TRAININGS = "trainings.xz"
"""Name of the file in the bundle."""


class MissingTraining(NamedTuple):
    """A training whose checkpoint is not there."""

    checkpoint: str
    weights: str
    """Names the pre-trained weights that it starts from."""
    pretraining: TrainConfig
    """Makes those weights: equal for all trainings that start from them."""
    config: TrainConfig


def missing_trainings(file: Path, models: Path) -> tuple[LabelledWorlds, list[MissingTraining]]:
    """What an ablation trains on, and those of its trainings of which `models` has no checkpoint.

    Raises:
        ValueError: its seeds leave out different folds, so that there is more than one corpus.
    """
    from scenarios.studies.ablations.ablation import load_ablation
    from scenarios.studies.ablations.cells import cells_of, checkpoint_names

    ablation = load_ablation(file)
    if ablation.file.fold == "seed":
        raise ValueError(f"{file}: one corpus travels to a GPU, and every seed here has its own")
    names = checkpoint_names(ablation)
    found = [
        MissingTraining(names[cell.id], cell.pretraining_key("corpus"), cell.pretraining_config, cell.config)
        for cell in cells_of(ablation)
    ]
    worlds = LabelledWorlds(ablation.train_worlds, ablation.file.fold, ablation.scenario.world)
    return worlds, [one for one in found if not (models / one.checkpoint / "model.safetensors").is_file()]


def draw(worlds: LabelledWorlds, processes: int) -> LabelledCorpus:
    """The corpus of the worlds, its frames drawn by several processes."""

    def frames(parts: Sequence[FramesOf]) -> Any:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            return np.concatenate(list(pool.map(draw_frames, [[part] for part in parts])))

    return labelled_corpus(worlds, draw=frames)


def train_group(
    group: Sequence[MissingTraining], corpus: Path, out: Path, device: str, ends: float
) -> list[str]:
    """One pre-training and the fine-tunings that start from it; returns the checkpoints that are there.

    Args:
        ends: time of the clock on the wall after which no further fine-tuning begins.
    """
    import torch

    torch.set_num_threads(1)
    data = LabelledCorpus.load(corpus)
    weights, done = out / f"{group[0].weights}.safetensors", []
    if not weights.is_file():
        pretrain(group[0].pretraining, data, weights, device)
    for one in group:
        if time.time() > ends:
            break
        began = time.process_time()
        tuned, before = finetune(one.config, data, weights, device)
        seconds = before + time.process_time() - began
        record = training_record(one.config, data, device, tuned.step, seconds, [])
        tuned.checkpoint(record).save(out / one.checkpoint)
        done.append(one.checkpoint)
    return done


def groups_of(missing: Sequence[MissingTraining]) -> list[list[MissingTraining]]:
    """The trainings that share a pre-training, wherever they stand in the list."""
    groups: dict[str, list[MissingTraining]] = {}
    for one in missing:
        groups.setdefault(one.weights, []).append(one)
    return list(groups.values())


def train_missing(bundle: Path, out: Path, device: str, processes: int, seconds: float) -> list[str]:
    """Train what the bundle names; returns the checkpoints that are there when the time is over."""
    ends = time.time() + seconds
    worlds, missing = read(bundle / TRAININGS)
    out.mkdir(parents=True, exist_ok=True)
    corpus = out / "corpus"
    if not corpus.is_dir():
        draw(worlds, processes).save(corpus)
    work = partial(train_group, corpus=corpus, out=out, device=device, ends=ends)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return [name for found in pool.map(work, groups_of(missing)) for name in found]


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path("gpu-bundle"))
    parser.add_argument("--out", type=Path, default=Path("gpu-results/checkpoints"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=480.0, help="no fine-tuning begins later than this")
    arguments = parser.parse_args()
    done = train_missing(
        arguments.bundle, arguments.out, arguments.device, arguments.processes, arguments.seconds
    )
    print(f"{len(done)} checkpoints: {', '.join(done)}")


if __name__ == "__main__":
    main()
