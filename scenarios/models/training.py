"""Training and evaluation of HCMRM on the embedded world. Its functions import torch when they are called."""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevance.corpus import LabelledCorpus, Labels
from relevance.evaluation import ScorerEvaluation, evaluate_scorers
from relevance.lexical import Bm25Scorer
from relevance.metrics import Interval
from relevance.protocol import RelevanceScorer
from scenarios.errors import UserError
from scenarios.markets.kind import Progress
from scenarios.models.labelled import graded_pairs_of
from scenarios.models.weights import START
from scenarios.storage.whole import alone, gone_if_it_failed, writing
from simulator.arrays import FloatArray, IntArray

if TYPE_CHECKING:
    from relevance.hcmrm import Checkpoint
    from relevance.hcmrm.training.train import TrainProgress
    from relevance.hcmrm.training.train_config import TrainConfig

MODALITIES: Mapping[str, dict[str, bool]] = {
    "joint": {},
    "text": {"use_frames": False},
    "frames": {"use_keywords": False},
}
"""What a model may look at, as differences from the default model."""


def train_model(
    data: LabelledCorpus,
    out: Path,
    *,
    modality: str = "joint",
    preset: str = "tiny",
    device: str = "cpu",
    threads: int | None = None,
    settings: Mapping[str, Any] | None = None,
    bert: Path | None = None,
    vision: Path | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
) -> Checkpoint:
    """Train HCMRM into the checkpoint `out`; a training that was stopped there continues.

    Args:
        modality: a name in MODALITIES.
        preset: sizes of the model, a name in `relevance.hcmrm.model_config.PRESETS`.
        threads: processor threads; None leaves it to torch.
        settings: differences from the default `TrainConfig`, such as `finetune_steps`; `model` holds those
            from the preset's sizes.
        bert: a public BERT to start from, a folder; the settings are then differences from
            `train_config.PUBLIC`. `vision`: a public visual model beside it; without one, the model reads
            texts alone (see `weights.start_from_public`).

    Raises:
        UserError: `vision` is given without `bert`, or `bert` with a checkpoint to start from; `out` cannot
            be written, holds a training with other settings, a corpus or another model, or another command is
            training in it.
    """
    from relevance.hcmrm.device import use_device
    from relevance.hcmrm.model_config import PRESETS
    from relevance.hcmrm.training.train import train
    from relevance.hcmrm.training.train_config import PUBLIC, TrainConfig
    from scenarios.models.weights import start_from_public

    use_device(device, threads)
    _check_place(out)
    given = dict(settings or {})
    usual: dict[str, Any] = {}
    with gone_if_it_failed(out, "*.safetensors"):  # also the start from public weights
        if bert is not None:
            if given.get("init"):
                raise UserError("a training starts from one of them", field="--init and --from-bert")
            usual, modality = dict(PUBLIC), modality if vision else "text"
            given["init"] = str(start_from_public(data, out, bert, vision))
        elif vision is not None:
            raise UserError("needs a BERT beside it", field="--from-vision", remedy="add --from-bert FOLDER")
        # A checkpoint to start from has sizes of its own.
        sizes = {} if given.get("init") else PRESETS[preset]
        fitted = _fitted(data, modality, sizes, given.pop("model", {}), replace(TrainConfig(), **usual))
        config = replace(TrainConfig(), **{**usual, **fitted, **given})
        if data.corpus.frames.shape[1] == 0:
            # The trainer draws frames, which a text-only model never reads; these take no memory.
            black = np.broadcast_to(np.uint8(0), (data.corpus.n_ads, 1, 16, 16, 3))
            data = replace(data, corpus=replace(data.corpus, frames=black))
        with writing(out, "choose another --out"), alone(out):
            return train(data, out, config, device=device, progress=progress or (lambda _: None))


def _check_place(out: Path) -> None:
    """Refuse a corpus, and a model of another kind, whose files a checkpoint's would take the place of.

    Raises:
        UserError: names it.
    """
    with contextlib.suppress(OSError):  # nothing is there, or what `writing` describes
        names = {path.name for path in out.iterdir()}
        own = names & {START, "keywords.json", "training.json", "training-state.safetensors"}
        if not own and names & {"model.safetensors", "pytorch_model.bin", "labels.npz"}:
            raise UserError("holds a corpus or another model", file=out, remedy="choose another --out")


def _fitted(
    data: LabelledCorpus,
    modality: str,
    preset: Mapping[str, Any],
    changes: Mapping[str, Any],
    usual: TrainConfig,
) -> dict[str, Any]:
    """Settings that depend on the corpus: the shape of its frames, and no more ads a step than it has.

    Args:
        changes: sizes that are set over the preset's.
        usual: the settings where nothing is fitted.

    Raises:
        UserError: the model cannot look at such frames.
    """
    from relevance.hcmrm.model_config import HCMRMConfig

    # The vocabulary is the corpus's.
    sizes = {name: value for name, value in preset.items() if name != "vocab_size"}
    model: dict[str, Any] = {**sizes, **MODALITIES[modality]}
    n_frames, height, width = data.corpus.frames.shape[1:4]
    if modality != "text":
        if n_frames == 0:
            raise UserError("the corpus has no frames; train with --modality text")
        if height != width or height % 16:
            raise UserError(
                f"the corpus has frames of {height}x{width} pixels; they must be squares with an edge of "
                "16, 32, 48, ... pixels (relbid corpus import --size 48)"
            )
        shape = {"n_frames": n_frames, "image_size": height}
        default = HCMRMConfig(**model).to_dict()
        model |= {name: value for name, value in shape.items() if value != default[name]}
        if not 1 <= changes.get("n_frames", n_frames) <= n_frames:
            raise UserError(f"model.n_frames {changes['n_frames']}: the corpus has {n_frames} frames an ad")
    model |= changes
    n_ads = max(1, np.unique(data.labels.of("train").ad).size)
    few = {name: n_ads for name in ("align_batch", "ads_per_step") if n_ads < getattr(usual, name)}
    return {"model": model, **few}


def evaluate_models(
    data: LabelledCorpus,
    checkpoints: Mapping[str, Path],
    splits: Sequence[str],
    *,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, list[ScorerEvaluation]]:
    """Evaluate checkpoints and BM25 on the graded pairs of some splits.

    Args:
        checkpoints: name -> folder; the first is the reference that the others are compared with.
        splits: names in `relevance.corpus.SPLITS`.
        seed: of the bootstrap over queries.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
        UserError: the corpus has no pairs of a split.
    """
    from relevance.hcmrm import HcmrmScorer

    graded = {str(split): graded_pairs_of(data, split) for split in splits}
    scorers: dict[str, RelevanceScorer] = {
        name: HcmrmScorer.load(data.corpus, folder, device=device) for name, folder in checkpoints.items()
    }
    scorers["bm25"] = Bm25Scorer(data.corpus)
    results: dict[str, list[ScorerEvaluation]] = {}
    for split, labels in graded.items():
        shown = {name: Reporting(scorer, f"{name} on {split}", progress) for name, scorer in scorers.items()}
        results[split] = evaluate_scorers(labels, shown, rng=np.random.default_rng(seed))
    return results


class Reporting:
    """A scorer that reports its progress."""

    def __init__(self, scorer: RelevanceScorer, stage: str, progress: Progress | None) -> None:
        self._scorer, self._stage, self._progress = scorer, stage, progress

    def score(self, query: IntArray, ad: IntArray) -> FloatArray:
        score = np.empty(query.size)
        # By ad, so that the frames of an ad are read in one chunk.
        order, chunk = np.argsort(ad, kind="stable"), 2048
        for start in range(0, query.size, chunk):
            rows = order[start : start + chunk]
            score[rows] = self._scorer.score(query[rows], ad[rows])
            if self._progress is not None:
                self._progress(self._stage, min(start + chunk, query.size), query.size)
        return score


def model_card(
    data: LabelledCorpus,
    training: Mapping[str, Any],
    results: Mapping[str, Sequence[ScorerEvaluation]],
    command: Sequence[str],
) -> str:
    """A checkpoint's card in Markdown: data, settings, time, and metrics on queries and ads it never saw."""
    apart = ("corpora", "log", "seconds", "chosen_step")
    settings = {key: value for key, value in training.items() if key not in apart}
    seconds = training.get("seconds")
    took = f"{float(seconds) / 60:.0f} minutes" if isinstance(seconds, int | float) else "unknown time"
    lines = [
        "# HCMRM checkpoint",
        "",
        "A small multimodal relevance model for search ads (after arXiv 2502.05822), trained on the embedded",
        "world of relbid: made-up advertisers, drawn key frames, graded truth. It knows nothing of real",
        "products or real users.",
        "",
        "## Training",
        "",
        f"- Seed {training.get('seed')}; {took} until the chosen step"
        f" {training.get('chosen_step')}, chosen on the validation split.",
        *(f"- Data: {_source(source)}." for source in training.get("corpora", ())),
        "- Settings: " + ", ".join(f"{key} {value}" for key, value in settings.items()) + ".",
        "",
        "## Evaluation",
        "",
        f"On {_source(data.source)}.",
        "Test queries and advertisers were not seen in training, nor labels of the products of `held_out`.",
        "Leads are the first row's metric minus this one's, with 95% bootstrap intervals over queries.",
        f"Made by `{shlex.join(command)}`.",
    ]
    for split, evaluations in results.items():
        lines += ["", f"### {split}: {_count(data.labels.of(split), split)}", ""]
        rows = [HEADINGS, ("---",) * len(HEADINGS), *map(evaluation_row, evaluations)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


_METRICS = ("AUC", "3 vs 2", "1 vs 0", "Spearman", "NDCG@10", "PNR")
HEADINGS = ("scorer", *_METRICS, "lead in AUC", "lead in NDCG@10")


def evaluation_row(evaluation: ScorerEvaluation) -> tuple[str, ...]:
    """One scorer's metrics as texts under HEADINGS."""
    metrics = evaluation.metrics
    numbers = metrics.auc, metrics.auc_3_2, metrics.auc_1_0, metrics.spearman, metrics.ndcg_10
    leads = evaluation.auc_lead, evaluation.ndcg_lead
    shown = (_number(x, ".3f") for x in numbers)
    return (evaluation.scorer, *shown, _number(metrics.pnr, ".1f"), *map(_interval, leads))


def _number(value: float, form: str) -> str:
    """`-` where there is none, as for the AUC of pairs of one grade."""
    return "-" if math.isnan(value) else format(value, form)


def _interval(lead: Interval | None) -> str:
    if lead is None:
        return ""
    value, low, high = (_number(x, "+.3f") for x in (lead.value, lead.low, lead.high))
    return f"{value} [{low}, {high}]"


def _source(source: Mapping[str, Any]) -> str:
    """What a corpus was drawn from, in words."""
    if "worlds" not in source:
        return (
            f"a corpus of the source {source['schema']}"
            if "schema" in source
            else "a corpus of another source"
        )
    fold = source.get("fold")
    named = "" if fold is None else f", fold {fold} of the products without labels"
    return f"the embedded worlds {', '.join(map(str, source['worlds']))}{named}"


def _count(labels: Labels, split: str) -> str:
    queries, ads = np.unique(labels.query).size, np.unique(labels.ad).size
    return f"{split} {len(labels):,} pairs of {queries:,} queries and {ads:,} ads"
