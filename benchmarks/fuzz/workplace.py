"""A folder with a whole file of every kind that some command reads, and the commands that read them.

The folder is made once, by the commands themselves where they write such files. A case changes one thing in a
copy of it, and what the command has changed or left is put back after it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

SCENARIO = """\
schema: 1
name: tiny
seed: 3
world: {test_advertisers: 20, train_advertisers: 30, validation_advertisers: 10, ads_per_advertiser: 3,
  query_pool: 600}
traffic: {n_queries: 60}
retrieval: {candidates: 6}
scorer: bm25
compare: [none]
days_compared: 1
"""  # fmt: skip
MARKET = """\
schema: 1
name: market
market: {kind: corpus, folder: market_corpus, grades: judged.parquet}
traffic: {n_queries: 60}
pctr: {kind: signal}
scorer: bm25
compare: [none]
days_compared: 1
"""
TABLE = """\
schema: 1
name: table
market: {kind: table, auctions: auctions.parquet, advertisers: budgets.jsonl}
scorer: model
compare: [none]
days_compared: 1
"""
NEURAL = SCENARIO.replace("name: tiny", "name: neural").replace("scorer: bm25", "scorer: hcmrm") + (
    "hcmrm: {checkpoint: checkpoint}\n"
)
SERVED = SCENARIO.replace("name: tiny", "name: served") + "serving: {servers: 1, profile: profile.json}\n"
LEARNT = SCENARIO.replace("name: tiny", "name: learnt") + "fusion: {rule: learnt}\n"
SWEEP = """\
schema: 1
name: swept
scenario: tiny.yaml
over: {auction.reserve: [0.01, 0.1]}
"""
EXPERIMENT = """\
schema: 1
name: compared
scenario: tiny.yaml
baseline: A
arms: {A: {fusion.relevance: 0.5}, B: {fusion.relevance: 2}}
seeds: 2
"""
ABLATION = """\
schema: 1
name: ablated
scenario: tiny.yaml
seeds: 2
training: {finetune_steps: 2, word_steps: 1, align_steps: 1}
groups:
  losses: {reference: a, arms: {a: {}, b: {loss: bce}}}
"""
AUCTIONS = pl.DataFrame(
    {
        "query_id": [1, 1, 1, 2, 2, 3],
        "ad_id": ["a", "b", "c", "a", "d", "b"],
        "advertiser_id": ["x", "y", "z", "x", "w", "y"],
        "bid": [1.0, 0.5, 2.0, 1.5, 0.25, 0.75],
        "pctr": [0.1, 0.2, 0.05, 0.1, 0.3, 0.2],
        "time_s": [0.0, 0.0, 0.0, 60.0, 60.0, 120.0],
        "query": ["red shoes", "red shoes", "red shoes", "blue hat", "blue hat", "red shoes"],
        "grade": [3, 1, 0, 2, 2, 1],
        "position": [1, 2, None, 1, None, 1],
        "clicked": [True, False, None, False, None, True],
        "price": [0.5, 0.2, None, 0.3, None, 0.4],
        "relevance_model": [0.9, 0.4, 0.1, 0.7, 0.6, 0.4],
    }
)
LOG = pl.concat(
    AUCTIONS.with_columns(pl.col("query_id") + 3 * part, pl.col("time_s") + 14_400.0 * part)
    for part in range(12)
)
"""Two days of the same auctions, long enough to fit a market to."""
BUDGETS = pl.DataFrame({"advertiser_id": ["x", "y"], "budget": [10.0, None]})

SIZES = (
    "hidden_size=16", "num_heads=2", "intermediate_size=16", "conv_stem=[4, 4, 4, 16]", "embed_dim=8",
    "visual_layers=1", "text_layers=1", "fusion_layers=1",
)  # fmt: skip
TRAINING = (
    "train", "--corpus", "corpus", "--out", "model", "--word-steps", "1", "--align-steps", "1",
    "--steps", "1", "--set", "vocab_size=60", "--set", "align_batch=4", "--set", "ads_per_step=2",
    "--set", "pairs_per_ad=2", "--set", "validation_pairs=20",
    *(part for size in SIZES for part in ("--set", f"model.{size}")),
)  # fmt: skip

COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("run",): ("tiny.yaml",),
    ("experiment",): ("compared.yaml", "--dry-run"),
    ("arena",): (
        "tiny.yaml", "--only", "--policy", "fixed", "--policy", "shading", "--worlds", "1", "--workers", "1",
    ),
    ("sweep",): ("swept.yaml", "--dry-run"),
    ("report",): ("SWEEP",),
    ("prepare",): ("tiny.yaml",),
    ("ask",): ("red mug", "tiny.yaml"),
    ("show",): ("tiny.yaml",),
    ("tune",): (
        "learnt.yaml", "--max-irrelevant", "0.5", "--evaluations", "2", "--markets", "1", "--queries", "50",
    ),
    ("why",): ("tiny.yaml", "learnt.yaml", "--days", "1", "--metric", "revenue_rpm"),
    ("schema",): (),
    ("train",): TRAINING[1:],
    ("evaluate",): ("--checkpoint", "checkpoint", "--corpus", "corpus"),
    ("calibrate",): ("--checkpoint", "checkpoint", "--corpus", "corpus"),
    ("ablate",): ("ablated.yaml", "--dry-run"),
    ("score",): ("corpus", "pairs.csv", "--checkpoint", "checkpoint"),
    ("judge",): ("market_corpus", "--by", "bm25"),
    ("import-weights",): ("--bert", "bert", "--out", "imported"),
    ("replay",): ("auctions.parquet",),
    ("fit",): ("log.parquet", "--out", "fitted"),
    ("backtest",): ("log.parquet", "--draws", "39"),
    ("profile",): ("tiny.yaml", "--out", "measured.json", "--repeats", "1"),
    ("capacity",): ("served.yaml", "--latency-ms", "50", "--seeds", "1", "--most", "2", "--workers", "1"),
    ("app",): (),
    ("corpus", "import"): ("own", "--out", "imported", "--size", "16", "--frames", "1"),
    ("corpus", "export"): ("--corpus", "corpus", "--out", "tables"),
    ("corpus", "evaluate"): ("market.yaml",),
}  # fmt: skip
"""A whole command line for every command. One that is missing here is found by a test."""

READERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("tiny.yaml", ("run", "tiny.yaml")),
    ("market.yaml", ("run", "market.yaml")),
    ("table.yaml", ("run", "table.yaml")),
    ("neural.yaml", ("show", "neural.yaml")),
    ("served.yaml", ("show", "served.yaml")),
    ("learnt.yaml", ("show", "learnt.yaml")),
    ("swept.yaml", ("sweep", "swept.yaml", "--dry-run")),
    ("compared.yaml", ("experiment", "compared.yaml", "--dry-run")),
    ("ablated.yaml", ("ablate", "ablated.yaml", "--dry-run")),
    ("auctions.", ("replay", "FILE")),
    ("log.", ("backtest", "FILE", "--draws", "39")),
    ("budgets.", ("replay", "auctions.parquet", "--advertisers", "FILE")),
    ("profile.json", ("show", "served.yaml")),
    ("judged.parquet", ("run", "market.yaml")),
    ("pairs.", ("score", "corpus", "FILE", "--checkpoint", "checkpoint")),
    ("own/", ("corpus", "import", "own", "--out", "imported", "--size", "16", "--frames", "1")),
    ("chorus/", ("corpus", "import", "chorus", "--out", "imported")),
    ("esci/", ("corpus", "import", "esci", "--out", "imported")),
    ("wands/", ("corpus", "import", "wands", "--out", "imported")),
    ("corpus/", ("score", "corpus", "pairs.csv", "--checkpoint", "checkpoint")),
    ("market_corpus/", ("run", "market.yaml")),
    ("checkpoint/calibration.json", ("run", "neural.yaml", "--set", "hcmrm.calibration=isotonic")),
    ("checkpoint/", ("evaluate", "--checkpoint", "checkpoint", "--corpus", "corpus")),
    ("bert/", ("import-weights", "--bert", "bert", "--out", "imported")),
    ("vit/", ("import-weights", "--bert", "bert", "--vision", "vit", "--out", "imported")),
    ("albef.", ("import-weights", "--albef", "FILE", "--heads", "4", "--out", "imported")),
    ("bi_encoder/", ("run", "market.yaml", "--scorer", "bi_encoder=bi_encoder")),
    ("stopped/", (*TRAINING[:4], "stopped", *TRAINING[5:])),
    ("kept.parquet.parts/",
     ("score", "corpus", "pairs.csv", "--checkpoint", "checkpoint", "--out", "kept.parquet")),
    ("results/sweeps/", ("report", "SWEEP")),
    ("results/experiments/", ("@read_experiment", "EXPERIMENT")),
    ("results/compared-", ("@read_experiment", "EXPERIMENT")),
    ("results/neural-", ("@read_result", "RESULT")),
    ("picture.png", ("corpus", "import", "own", "--out", "imported", "--size", "16", "--frames", "1")),
)  # fmt: skip
"""Beginnings of the names of files, and the command that reads such a file. A file that none fits is found by
a test, so that a new kind of file is tried."""

PLACES = {"SWEEP": "results/sweeps/swept-*", "RESULT": "results/neural-*", "EXPERIMENT": "results/compared-*"}
NOT_READ = (".cache/", ".locks/", ".lock", "/report.html", "log.parquet", "README.md")


@dataclass
class Workplace:
    """The folder in which cases run, and what it held at first."""

    root: Path
    folder: Path = field(init=False)
    template: Path = field(init=False)
    kept: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder, self.template = self.root / "work", self.root / "template"

    def arguments(self, argv: Sequence[str], file: str = "") -> list[str]:
        """A command line with the names of this folder in it."""
        return [self._found(part) if part in PLACES else file if part == "FILE" else part for part in argv]

    def _found(self, part: str) -> str:
        [folder] = self.template.glob(PLACES[part])
        return folder.relative_to(self.template).as_posix()

    def files(self) -> list[str]:
        """The files that commands read, by their names from the folder."""
        names = (
            path.relative_to(self.template).as_posix()
            for path in sorted(self.template.rglob("*"))
            if path.is_file()
        )
        return [name for name in names if not any(part in f"/{name}" for part in NOT_READ)]

    def make(self) -> None:
        """Fill the folder anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.template.mkdir(parents=True)
        with _in(self.template):
            _fill()
        self.copy()

    def copy(self) -> None:
        """Make the folder of the cases; the template stays as it is."""
        shutil.copytree(self.template, self.folder, symlinks=True)
        self.kept = self.listing()

    def listing(self) -> dict[str, tuple[int, int, int]]:
        """Every path in the folder: its size, the time of its last change, its kind and rights."""
        found: dict[str, tuple[int, int, int]] = {}
        stack = [str(self.folder)]
        while stack:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    about = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    found[os.path.relpath(entry.path, self.folder)] = (
                        (0, 0, about.st_mode)
                        if is_folder
                        else (about.st_size, about.st_mtime_ns, about.st_mode)
                    )
                    if is_folder:
                        stack.append(entry.path)
        return found

    def put_back(self, listing: dict[str, tuple[int, int, int]]) -> None:
        """Make the folder as it was, where a listing says that it is not."""
        for name in sorted(set(listing) - set(self.kept), reverse=True):
            _remove(self.folder / name)
        for name in sorted(name for name, about in self.kept.items() if listing.get(name) != about):
            source, target = self.template / name, self.folder / name
            if source.is_dir() and not source.is_symlink():
                if not target.is_dir() or target.is_symlink():
                    _remove(target)
                    target.mkdir()
                target.chmod(source.stat().st_mode)
            else:
                _remove(target)
                shutil.copy2(source, target)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def relbid(*arguments: str) -> None:
    """A command in this process, which must succeed."""
    from scenarios.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["relbid", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{arguments}: {err.getvalue()[-2000:]}") from None
    finally:
        sys.argv = before


def _fill() -> None:
    """Write one file of every kind in the present folder."""
    from PIL import Image

    from relevance.corpus import Corpus, LabelledCorpus
    from tests.relevance import public_models
    from tests.relevance.test_importing import ALBEF
    from tests.relevance.tiny import tiny_corpus
    from tests.scenarios import miniature

    texts = {
        "tiny": SCENARIO, "market": MARKET, "table": TABLE, "neural": NEURAL, "served": SERVED,
        "learnt": LEARNT, "swept": SWEEP, "compared": EXPERIMENT, "ablated": ABLATION,
    }  # fmt: skip
    for name, text in texts.items():
        Path(f"{name}.yaml").write_text(text)
    AUCTIONS.write_parquet("auctions.parquet")
    AUCTIONS.write_ndjson("auctions.jsonl")
    LOG.write_parquet("log.parquet")
    BUDGETS.write_ndjson("budgets.jsonl")
    BUDGETS.write_parquet("budgets.parquet")
    data = tiny_corpus()
    corpus = data.corpus
    LabelledCorpus(
        Corpus(
            corpus.query_text, corpus.ad_title, corpus.ad_ocr, corpus.ad_asr, corpus.frames,
            tuple(f"q{i}" for i in range(corpus.n_queries)), tuple(f"a{i}" for i in range(corpus.n_ads)),
        ),
        data.labels,
        {"made": "for a test"},
    ).save(Path("corpus"))  # fmt: skip
    pairs = pl.DataFrame({"query_id": ["q0", "q1", "q2"], "ad_id": ["a0", "a1", "a5"]})
    pairs.write_csv("pairs.csv")
    pairs.write_ndjson("pairs.jsonl")
    pairs.write_parquet("pairs.parquet")
    Image.fromarray(np.full((20, 20, 3), 90, dtype=np.uint8)).save("picture.png")
    miniature.write_own(Path("own"))
    ads = [json.loads(line) for line in Path("own/ads.jsonl").read_text().splitlines()]
    ads[0]["frames"] = ["../picture.png"]
    Path("own/ads.jsonl").write_text("".join(json.dumps(ad) + "\n" for ad in ads))
    miniature.write_clone(Path("chorus"))
    miniature.write_esci(Path("esci"))
    miniature.write_wands(Path("wands"))
    public_models.bert(Path("bert"))
    if find_spec("sentence_transformers"):
        public_models.bi_encoder(Path("sentences"))
        shutil.move("sentences/model", "bi_encoder")
        shutil.rmtree("sentences")
    _vit(Path("vit"))
    shutil.copy(ALBEF, "albef.safetensors")
    _torch_file(Path("albef.safetensors"), Path("albef.pth"))
    relbid("corpus", "import", "own", "--out", "market_corpus", "--size", "16", "--frames", "1")
    relbid("judge", "market_corpus", "--by", "bm25", "--nearest", "3")
    relbid("profile", "tiny.yaml", "--out", "profile.json", "--repeats", "1")
    relbid(*TRAINING)
    shutil.copytree("model", "checkpoint")
    shutil.move("model", "stopped")
    for path in Path("checkpoint").iterdir():
        if path.name in ("training-state.safetensors", "training-settings.json") or path.name[0] == ".":
            path.unlink()
    relbid("calibrate", "--checkpoint", "checkpoint", "--corpus", "corpus")
    relbid("prepare", "tiny.yaml")
    relbid("run", "neural.yaml")
    _swept()
    _parts()


def _vit(folder: Path) -> None:
    import torch
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=32, patch_size=16, **sizes)).save_pretrained(folder)


def _torch_file(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save({"model": load_file(source)}, target)


def _swept() -> None:
    from scenarios import load_experiment, load_sweep, run_experiment, run_sweep, write_experiment

    run_sweep(load_sweep("swept.yaml"), Path("results"), engine="here")
    compared = run_experiment(load_experiment("compared.yaml"), cache=Path("results"), engine="here")
    write_experiment(Path("results"), compared)


def _parts() -> None:
    """What a scoring leaves that was killed."""
    from scenarios.corpora import pair_scores

    def keep(path: Path) -> None:
        shutil.copytree(path, "kept")

    before, pair_scores.shutil = pair_scores.shutil, type("Kept", (), {"rmtree": staticmethod(keep)})
    try:
        relbid("score", "corpus", "pairs.csv", "--checkpoint", "checkpoint")
    finally:
        pair_scores.shutil = before
    shutil.rmtree("scores.parquet.parts")
    shutil.move("kept", "kept.parquet.parts")
    Path("scores.parquet").unlink()
