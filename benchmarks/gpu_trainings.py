"""The trainings of ablations whose checkpoints are missing, many at once on one GPU.

    python -m benchmarks.gpu_trainings --bundle gpu-bundle --out gpu-results/checkpoints

The bundle is that of `make gpu-bundle`, made where `models/` is: it names the trainings that are missing
there, those that matter most first. Each checkpoint is written to `<ablation>/<name>` as soon as it is there;
copied to `models/`, `relbid ablate` measures it and trains no more than what is still missing. A model as
small as these leaves a GPU idle most of the time, so many processes share it, at best through NVIDIA's
Multi-Process Service (CUDA_MPS_PIPE_DIRECTORY says where it runs). The frames of the worlds are drawn first,
since they are too large to travel.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gpu_files import read, write_figures
from relevance.arrays import FrameArray
from relevance.corpus import LabelledCorpus
from relevance.hcmrm.device import use_device
from relevance.hcmrm.training.pretrained import finetune, pretrain
from relevance.hcmrm.training.pretraining import TrainingTexts
from relevance.hcmrm.training.train import training_record
from relevance.hcmrm.training.train_config import TrainConfig
from relevance.hcmrm.training.trainer import texts_of
from simulator.world.labels import FramesOf, draw_frames

TRAININGS = "trainings.xz"
"""Name of the file in the bundle, a `Trainings`."""


READ_BY_TEXTS = ("seed", "unlabelled", "text", "pqvm_common", "vocab_size")
"""Settings that decide how a training reads the texts of its corpus."""


class MissingTraining(NamedTuple):
    """A training whose checkpoint is not there."""

    checkpoint: str
    """Its folder below `models/`, such as `evidence/bce-1`."""
    weights: str
    """Names the pre-trained weights that it starts from."""
    pretraining: TrainConfig
    """Makes those weights: equal for all trainings that start from them."""
    config: TrainConfig
    corpus: int
    """Its place in `Trainings.corpora`."""


class Trainings(NamedTuple):
    """What is to be trained on what."""

    corpora: list[tuple[LabelledCorpus, Sequence[FramesOf]]]
    """Each without its frames, and whose frames those are."""
    missing: list[MissingTraining]
    """Those that matter most first."""


class Done(NamedTuple):
    """A finished part of the work."""

    what: str
    kind: str
    """`pretraining` or `finetuning`."""
    steps: int
    seconds: float
    """Of the clock on the wall."""


def drawn(trainings: Trainings, processes: int) -> list[LabelledCorpus]:
    """The corpora with their frames; each split of a world is drawn once, the largest first."""
    parts = {(part.config, part.split): part for _, frames in trainings.corpora for part in frames}
    order = sorted(parts, key=lambda key: -key[0].advertisers(key[1]))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        every = dict(zip(order, pool.map(_whole_split, [parts[key] for key in order]), strict=True))
    found = []
    for data, of in trainings.corpora:
        frames = np.concatenate([every[part.config, part.split][part.ads] for part in of])
        found.append(replace(data, corpus=replace(data.corpus, frames=frames)))
    return found


def _whole_split(part: FramesOf) -> FrameArray:
    n_ads = part.config.advertisers(part.split) * part.config.ads_per_advertiser
    return draw_frames([replace(part, ads=np.arange(n_ads))])


@functools.lru_cache(maxsize=4)
def _corpus(folder: Path) -> LabelledCorpus:
    return LabelledCorpus.load(folder)


@functools.lru_cache(maxsize=4)
def _texts(folder: Path, read_by_texts: tuple[Any, ...]) -> TrainingTexts:
    config = replace(TrainConfig(), **dict(zip(READ_BY_TEXTS, read_by_texts, strict=True)))
    return texts_of(_corpus(folder), config)


def _read_texts(folder: Path, config: TrainConfig) -> TrainingTexts:
    """The texts of a corpus, kept for the next training of this process that reads them alike."""
    if config.unlabelled == 1.0:  # no draw decides which ads are read
        config = replace(config, seed=0)
    return _texts(folder, tuple(getattr(config, name) for name in READ_BY_TEXTS))


def pretrain_one(one: MissingTraining, corpus: Path, out: Path, device: str) -> Done:
    """Make pre-trained weights, unless they are there."""
    began, weights = time.time(), out / f"{one.weights}.safetensors"
    use_device(device, threads=1)
    if not weights.is_file():
        pretrain(one.pretraining, _corpus(corpus), weights, device, _read_texts(corpus, one.pretraining))
    c = one.pretraining
    return Done(one.weights, "pretraining", c.word_steps + c.align_steps, time.time() - began)


def finetune_one(one: MissingTraining, corpus: Path, out: Path, device: str) -> Done:
    """Fine-tune pre-trained weights into a checkpoint."""
    began, before, data = time.time(), time.process_time(), _corpus(corpus)
    use_device(device, threads=1)
    weights = out / f"{one.weights}.safetensors"
    done = finetune(one.config, data, weights, device, _read_texts(corpus, one.config))
    seconds = done.pretraining_s + time.process_time() - before
    record = training_record(one.config, data, device, done.trainer.step, seconds, done.log)
    done.trainer.checkpoint(record).save(out / one.checkpoint)
    return Done(one.checkpoint, "finetuning", one.config.finetune_steps, time.time() - began)


def train_missing(bundle: Path, out: Path, device: str, processes: int, seconds: float) -> list[str]:
    """Train what the bundle names; returns the checkpoints that are there when the time is over.

    Nothing begins later than `seconds` after the start. Fine-tunings come before pre-trainings of what
    stands later in the bundle.
    """
    start = time.time()
    out.mkdir(parents=True, exist_ok=True)
    trainings: Trainings = read(bundle / TRAININGS)
    folders = [out / f"corpus-{n}" for n in range(len(trainings.corpora))]
    if not all((folder / "labels.npz").is_file() for folder in folders):
        with ThreadPoolExecutor() as pool:
            list(pool.map(LabelledCorpus.save, drawn(trainings, processes), folders))
    corpora_s = time.time() - start
    print(f"{corpora_s:.0f} s: corpora", flush=True)
    work = [(one, folders[one.corpus]) for one in trainings.missing]
    first = {one.weights: at for at, (one, _) in reversed(list(enumerate(work)))}
    ready = [(at, pretrain_one) for at in sorted(first.values())]
    running: dict[Future[Done], int] = {}
    finished: list[Done] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        while ready or running:
            while ready and len(running) < processes and time.time() < start + seconds:
                at, step = ready.pop(0)
                running[pool.submit(step, *work[at], out, device)] = at
            if not running:
                break
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                at, done = running.pop(future), future.result()
                finished.append(done)
                took = time.time() - start
                print(f"{took:.0f} s: {done.kind} {done.what} took {done.seconds:.0f} s", flush=True)
                figures = {
                    "seconds": took,
                    "corpora_s": corpora_s,
                    "processes": processes,
                    "mps": "CUDA_MPS_PIPE_DIRECTORY" in os.environ,
                    "trainings": [one._asdict() for one in finished],
                }
                write_figures(bundle, device, out / "trainings.json", figures)
                if done.kind == "pretraining":
                    same = [n for n, (one, _) in enumerate(work) if one.weights == done.what]
                    ready = sorted([*ready, *((n, finetune_one) for n in same)], key=lambda pair: pair[0])
    return [done.what for done in finished if done.kind == "finetuning"]


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path("gpu-bundle"))
    parser.add_argument("--out", type=Path, default=Path("gpu-results/checkpoints"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--processes", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=480.0, help="nothing begins later than this")
    arguments = parser.parse_args()
    done = train_missing(
        arguments.bundle, arguments.out, arguments.device, arguments.processes, arguments.seconds
    )
    print(f"{len(done)} checkpoints: {', '.join(done)}")


if __name__ == "__main__":
    main()
