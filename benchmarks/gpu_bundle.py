"""What `make gpu` needs on a machine with a GPU and no network: `make gpu-bundle` puts it into one folder.

    python -m benchmarks.gpu_bundle --out gpu-bundle --python 3.12

That machine has torch, transformers, numpy, scipy, scikit-learn, Pillow, and pytest with hypothesis. The
folder holds the small packages that it may lack, unpacked (`site`), the default scenario's market with the
texts and frames of its ads, some of the graded corpus to train on, and which trainings of EVIDENCE have no
checkpoint below `models` yet, with the texts and labels of their corpora.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_files import commit, write
from benchmarks.gpu_trainings import TRAININGS, MissingTraining, Trainings
from relevance.arrays import FrameArray
from relevance.corpus import LabelledCorpus
from simulator.world import LabelledWorlds, labelled_corpus
from simulator.world.labels import FramesOf

WHEELS = (
    *("annotated-types", "array-api-compat", "fontawesomefree", "lazy-loader", "rapidfuzz", "simpy"),
    *("pydantic", "pydantic-core", "typing-inspection"),
)
READ = ("metadata/icons.json", ".otf")
"""What programs here read of the icons, whose other forms are a hundred MB."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
EVIDENCE = tuple(Path(f"scenarios/ablations/{name}.yaml") for name in ("evidence", "loss", "pqvm"))
"""The registered ablations, those that matter most first."""
TRAINING_ADS = 6000
"""Ads of the graded corpus that travel: those of the first queries, and unlabelled ones."""


def wheels(site: Path, python: str) -> None:
    """Unpack the wheels, for a machine of x86-64 with that version of Python."""
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        line += ["--python-version", python, "--implementation", "cp", "--dest", folder]
        line += [word for platform in PLATFORMS for word in ("--platform", platform)]
        subprocess.run([*line, *(f"{name}=={metadata.version(name)}" for name in WHEELS)], check=True)
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                names = packed.namelist()
                packed.extractall(site, [one for one in names if "/static/" not in one or one.endswith(READ)])


def market(prepared: Any) -> dict[str, Any]:
    """The market of a prepared scenario, without relevance, and its corpus."""
    from scenarios.markets.scoring import relevance_of
    from scenarios.markets.simulation import market_of

    return {"market": market_of(prepared, relevance_of(prepared, "none")), "corpus": prepared.corpus}


def training(n_ads: int) -> Any:
    """Some ads of the graded corpus with all of their labels among the first queries."""
    from scenarios.models.labelled import training_corpus

    data = training_corpus(Path("results"))
    labels, rng = data.labels, np.random.default_rng(0)
    queries = rng.permutation(data.corpus.n_queries)
    order = np.argsort(np.argsort(queries)[labels.query], kind="stable")
    _, first = np.unique(labels.ad[order], return_index=True)
    labelled = labels.ad[order][np.sort(first)][: n_ads * 2 // 3]
    others = np.setdiff1d(np.arange(data.corpus.n_ads), labels.ad)[: n_ads - len(labelled)]
    ads = np.sort(np.concatenate((labelled, others)))
    kept = labels.take(np.isin(labels.ad, ads))
    corpus = data.corpus

    def some(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(texts[ad] for ad in ads.tolist())

    fewer = replace(
        corpus,
        ad_title=some(corpus.ad_title),
        ad_ocr=some(corpus.ad_ocr),
        ad_asr=some(corpus.ad_asr),
        ad_id=some(corpus.ad_id) if corpus.ad_id else (),
        frames=np.ascontiguousarray(corpus.frames[ads]),
    )
    return replace(data, corpus=fewer, labels=replace(kept, ad=np.searchsorted(ads, kept.ad)))


def missing_trainings(files: Sequence[Path], models: Path) -> Trainings:
    """Those trainings of some ablations of which `models` has no checkpoint, and their corpora."""
    from scenarios.studies.ablations.ablation import load_ablation
    from scenarios.studies.ablations.cells import cells_of, checkpoint_names

    missing: list[MissingTraining] = []
    corpora: list[LabelledWorlds] = []
    for ablation in map(load_ablation, files):
        names = checkpoint_names(ablation)
        for cell in cells_of(ablation):
            name = f"{ablation.name}/{names[cell.id]}"
            if (models / name / "model.safetensors").is_file():
                continue
            fold, world = ablation.fold_of(cell.seed), ablation.scenario.world
            worlds = LabelledWorlds(ablation.train_worlds, fold, world)
            if worlds not in corpora:
                corpora.append(worlds)
            at = corpora.index(worlds)
            weights = cell.pretraining_key(f"corpus {at}")
            missing.append(MissingTraining(name, weights, cell.pretraining_config, cell.config, at))
    return Trainings([without_frames(worlds) for worlds in corpora], missing)


def without_frames(worlds: LabelledWorlds) -> tuple[LabelledCorpus, Sequence[FramesOf]]:
    """A graded corpus without frames, and whose frames it lacks."""
    lacking: list[FramesOf] = []

    def none(parts: Sequence[FramesOf]) -> FrameArray:
        lacking.extend(parts)
        edge = worlds.config.frame_size
        return np.empty((sum(len(part.ads) for part in parts), 0, edge, edge, 3), dtype=np.uint8)

    return labelled_corpus(worlds, draw=none), lacking


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-bundle"))
    parser.add_argument("--python", default="3.12", help="version there")
    parser.add_argument("--training-ads", type=int, default=TRAINING_ADS, help="0: nothing to train on")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    wheels(out / "site", arguments.python)
    from scenarios import DEFAULT_SCENARIO, load_scenario, prepare

    write(out / "market.xz", market(prepare(load_scenario(DEFAULT_SCENARIO), cache=Path("results"))))
    (out / "commit").write_text(commit() or "", encoding="utf-8")
    if arguments.training_ads:
        write(out / "training.xz", training(arguments.training_ads))
    write(out / TRAININGS, missing_trainings(EVIDENCE, Path("models")))
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
