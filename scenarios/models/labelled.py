"""Labelled corpora: of the embedded worlds, drawn once and kept under the results folder, or the user's own.

Key frames are by far the longest part of a world. They are drawn in as many processes as there are cores.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import numpy as np

from relevance.arrays import FrameArray
from relevance.corpus import LabelledCorpus, Labels
from scenarios.errors import StoreError, UserError, quoted
from scenarios.markets.checkpoints import Doubt, checkpoint_hash, doubts, fold_of, trained_on
from scenarios.markets.kind import Progress
from scenarios.markets.loading import load_scenario
from scenarios.storage.cache import FOLDER, cached_world, forget_frames, hash_of, kept_frames, world_hash
from scenarios.storage.machine import cores, starting_processes
from scenarios.storage.whole import check_writable, whole_folder
from simulator.world import LabelledWorlds, Split, WorldConfig, labelled_corpus
from simulator.world.labels import (
    EVALUATION_SEED,
    LABELLED_WORLD,
    TRAINING_SEEDS,
    FramesOf,
    looking_like,
)

STAGE = "drawing key frames"
MOST_WORLDS = 100
MOST_SEED = 10**6


def training_worlds(
    corpus: Path | None, seeds: str | None, fold: int | None, scenario: Path | None = None
) -> LabelledWorlds:
    """The worlds that options of a command name; they leave no doubt beside a corpus of another source.

    Args:
        scenario: a scenario file whose world says what texts and frames look like; None: the usual ones.

    Raises:
        ScenarioError: the scenario cannot be read.
        UserError: `corpus` is given, too; or see `read_seeds`.
    """
    if corpus is not None and (seeds is not None or fold is not None or scenario is not None):
        raise UserError(
            "a corpus folder has worlds and a fold of its own; leave --worlds, --fold and --scenario out, or "
            "--corpus",
            file=corpus,
        )
    own = LABELLED_WORLD
    if scenario is not None:
        given = load_scenario(scenario)
        if given.market.kind != "world":
            raise UserError(
                f"its market is a {given.market.kind}, and worlds are drawn here",
                file=scenario,
                field="--scenario",
                remedy="name one of the embedded world, or a corpus with --corpus",
            )
        own = looking_like(given.world)
    return LabelledWorlds(TRAINING_SEEDS if seeds is None else read_seeds(seeds), fold, own)


def read_seeds(text: str) -> tuple[int, ...]:
    """Different seeds, as `11-14` or `7,9,11-14`.

    Raises:
        UserError: it has another form.
    """
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UserError(
                "seeds of worlds are whole numbers from 0",
                field="--worlds",
                value=quoted(text),
                remedy="write 11-14, or 7,9",
            )
        if int(last or first) > MOST_SEED:
            reason = f"a world's seed is from 0 to {MOST_SEED:,}"
            raise UserError(reason, field="--worlds", value=quoted(text))
        # No more than can be too many.
        seeds.extend(range(int(first), min(int(last or first), int(first) + MOST_WORLDS) + 1))
    if not 1 <= len(seeds) <= MOST_WORLDS or len(set(seeds)) < len(seeds):
        raise UserError(
            f"needs 1 to {MOST_WORLDS} different seeds of worlds", field="--worlds", value=quoted(text)
        )
    return tuple(seeds)


def training_corpus(
    cache: Path, worlds: LabelledWorlds | None = None, progress: Progress | None = None
) -> LabelledCorpus:
    """The embedded worlds' labelled corpus, drawn once and then read from `<cache>/.cache`.

    Args:
        worlds: None takes those of a training by default.

    Raises:
        StoreError: it cannot be written.
    """
    worlds = worlds or LabelledWorlds()
    folder = corpus_folder(cache, worlds)
    if not folder.is_dir():
        export_corpus(folder, worlds, cache, progress)
    return LabelledCorpus.load(folder)


def evaluation_corpus(
    cache: Path,
    seeds: Sequence[int] = (EVALUATION_SEED,),
    fold: int | None = None,
    progress: Progress | None = None,
    splits: tuple[Split, ...] = ("test",),
    config: WorldConfig = LABELLED_WORLD,
) -> LabelledCorpus:
    """Splits of some worlds to evaluate on; of `test`, a fold of the catalogue is the split `held_out`.

    Args:
        fold: 0..9, or None; see `simulator.world.labels.graded_pairs`.
        splits: `validation`, `test` or both.
        config: of the worlds, whatever its seed.

    Raises:
        StoreError: the frames cannot be written.
    """

    def draw(parts: Sequence[FramesOf]) -> FrameArray:
        return np.concatenate(list(_frames(parts, cache, progress)))

    return labelled_corpus(LabelledWorlds(tuple(seeds), fold, config, splits), draw=draw)


def load_test_corpus(
    corpus: Path | None,
    seeds: str | None,
    checkpoints: Iterable[Path],
    splits: Sequence[str],
    cache: Path,
    progress: Progress | None = None,
    scenario: Path | None = None,
) -> tuple[LabelledCorpus, list[Doubt]]:
    """What checkpoints are evaluated on, and why their figures there may not be what they seem.

    Args:
        corpus: a folder; None: the embedded worlds', see `evaluation_corpus`.
        seeds: of the worlds, as `read_seeds` has them; None: that of the default scenario.
        checkpoints: the fold of the first one makes the split `held_out`.
        splits: those that are wanted.
        scenario: see `training_worlds`.

    Raises:
        CheckpointError: a checkpoint is missing; `held_out` is wanted, and the first one has no fold.
        CorpusError: a file is missing or does not fit the others.
        StoreError: the frames cannot be written.
        UserError: the corpus is a folder and seeds are given, too; or see `read_seeds`.
    """
    worlds = training_worlds(corpus, seeds, None, scenario)
    if corpus is not None:
        return LabelledCorpus.load(corpus), []
    folders = list(checkpoints)
    for folder in folders:
        checkpoint_hash(folder)
    fold = fold_of(folders[0]) if "held_out" in splits else trained_on(folders[0]).fold
    numbers = worlds.seeds if seeds is not None else (EVALUATION_SEED,)
    shown = fold if "held_out" in splits else None
    found = [doubt for folder in folders for doubt in doubts(folder, numbers, worlds.config, shown)]
    drawn: tuple[Split, ...] = tuple(
        one for one in ("validation", "test") if one in splits or (one == "test" and shown is not None)
    )
    return evaluation_corpus(cache, numbers, fold, progress, drawn, worlds.config), found


def graded_pairs_of(data: LabelledCorpus, split: str) -> Labels:
    """The pairs of one split.

    Raises:
        UserError: there are none.
    """
    labels = data.labels.of(split)
    if not len(labels):
        raise UserError(f"the corpus has no graded pairs of the split '{split}'; take another")
    return labels


def corpus_folder(cache: Path, worlds: LabelledWorlds) -> Path:
    """Where the labelled corpus of some worlds is kept."""
    world = world_hash(worlds.config, "all")
    return cache / FOLDER / f"corpus-{hash_of(worlds.as_dict(), worlds.splits, world)}"


def export_corpus(
    folder: Path, worlds: LabelledWorlds, cache: Path, progress: Progress | None = None
) -> None:
    """Write the labelled corpus as a folder that a machine without the simulator can train on.

    Args:
        cache: the results folder, under which frames that were drawn are kept until the folder is whole.

    Raises:
        StoreError: it cannot be written.
    """
    check_writable(folder, "name another folder")
    config, file = worlds.config, "frames.npy"

    def draw(folder: Path, parts: Sequence[FramesOf]) -> FrameArray:
        n_ads = sum(len(part.ads) for part in parts)
        shape = (n_ads, config.frames, config.frame_size, config.frame_size, 3)
        frames = np.lib.format.open_memmap(folder / file, mode="w+", dtype=np.uint8, shape=shape)
        first = 0
        for drawn in _frames(parts, cache, progress):
            frames[first : first + len(drawn)] = drawn
            first += len(drawn)
        return frames

    with whole_folder(folder) as part:
        labelled_corpus(worlds, draw=partial(draw, part)).save(part)
    for seed in worlds.seeds:
        for split in worlds.splits:
            forget_frames(worlds.world(seed), split, cache)


def _frames(parts: Sequence[FramesOf], cache: Path, progress: Progress | None) -> Iterator[FrameArray]:
    """The frames of each part."""
    keep_frames(((part.config, part.split) for part in parts), cache, progress)
    for part in parts:
        frames = kept_frames(part.config, part.split, cache)
        if frames is None:
            raise StoreError(f"{cache}: frames that were drawn have gone; run the command again")
        yield frames[part.ads]


def keep_frames(
    worlds: Iterable[tuple[WorldConfig, Split]], cache: Path, progress: Progress | None = None
) -> None:
    """Draw the frames of some worlds' splits, unless it is kept, in as many processes as there are cores.

    Raises:
        StoreError: they cannot be written.
        UserError: a process cannot be started, or was killed.
    """
    missing = [one for one in worlds if kept_frames(*one, cache) is None]
    sizes = [config.advertisers(split) * config.ads_per_advertiser for config, split in missing]
    if len(missing) < 2 or cores() < 2:
        for at, (config, split) in enumerate(missing):
            _keep(config, split, cache, progress, sum(sizes[:at]), sum(sizes))
        return
    done = 0
    # A fork of a process in which polars has started threads hangs.
    with (
        starting_processes(),
        ProcessPoolExecutor(
            min(cores(), len(missing)), get_context("forkserver"), initializer=_serve_the_command
        ) as pool,
    ):
        futures = {pool.submit(_keep, *one, cache): size for one, size in zip(missing, sizes, strict=True)}
        try:
            for future in as_completed(futures):
                future.result()
                done += futures[future]
                if progress is not None:
                    progress(STAGE, done, sum(sizes))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _keep(
    config: WorldConfig,
    split: Split,
    cache: Path,
    progress: Progress | None = None,
    before: int = 0,
    total: int = 0,
) -> None:
    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(STAGE, before + done, total)

    cached_world(config, split, cache, report)


def _serve_the_command() -> None:
    """Ctrl-C reaches all processes, and the command ends the others; where it is killed they end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    command = parent_process()
    assert command is not None
    command.join()
    os._exit(1)  # the pool's own threads would wait for more to do
