"""Stages run alone, a start from other weights, and the learnt temperature."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relevance.corpus import LabelledCorpus, Labels
from relevance.errors import CheckpointError
from relevance.hcmrm import Checkpoint
from relevance.hcmrm.text import CLS, MASK, SEP, TextBatch, train_tokenizer
from relevance.hcmrm.training.losses import clamp_temperature, contrastive_loss
from relevance.hcmrm.training.pretraining import _mask_words
from relevance.hcmrm.training.train import TrainProgress, train
from relevance.hcmrm.training.train_config import TrainConfig, TrainError, check_config
from relevance.hcmrm.training.trainer import Trainer

from .tiny import TINY_TRAINING, tiny_corpus

STILL = {
    "word_rate": 0.0,
    "align_rate": 0.0,
    "rate": 0.0,
    "word_steps": 1,
    "align_steps": 1,
    "finetune_steps": 1,
}
"""A fine-tuning that moves nothing."""


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    data = tiny_corpus()
    nobody = np.zeros(0, dtype=np.int64)
    train(
        dataclasses.replace(data, labels=Labels(nobody, nobody, nobody, nobody)),
        folder,
        dataclasses.replace(TINY_TRAINING, stages=("align",), model={**TINY_TRAINING.model, "embed_dim": 12}),
    )
    return folder


def _stages(config: TrainConfig, data: LabelledCorpus, out: Path) -> list[str]:
    seen: dict[str, None] = {}

    def note(progress: TrainProgress) -> None:
        seen[progress.stage] = None

    train(data, out, config, progress=note)
    return list(seen)


def test_a_stage_runs_alone_and_needs_no_labels(pretrained: Path) -> None:
    training = json.loads((pretrained / "training.json").read_text())
    assert training["stages"] == ["align"]
    assert training["chosen_step"] == TINY_TRAINING.align_steps
    assert training["log"] == []
    assert Checkpoint.load(pretrained).model.config.embed_dim == 12


def test_a_fine_tuning_of_no_steps_keeps_the_pre_trained_weights(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY_TRAINING, finetune_steps=0)
    assert _stages(config, tiny_corpus(), tmp_path) == ["words", "align"]
    assert (tmp_path / "model.safetensors").is_file()


def test_stages_are_left_out(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY_TRAINING, stages=("words", "finetune"))
    assert _stages(config, tiny_corpus(), tmp_path) == ["words", "finetune"]


def test_fine_tuning_starts_from_the_pretrained_weights(pretrained: Path, tmp_path: Path) -> None:
    start = Checkpoint.load(pretrained)
    config = dataclasses.replace(
        TINY_TRAINING, stages=("finetune",), init=str(pretrained), model={}, loss="bce", **STILL
    )
    trained = train(tiny_corpus(), tmp_path, config)
    assert trained.model.config.grade_head == "bce"
    assert trained.model.config.embed_dim == 12  # of the checkpoint, not a default
    assert trained.tokenizer.get_vocab() == start.tokenizer.get_vocab()
    assert trained.keywords == start.keywords
    own = trained.model.state_dict()
    assert own["grade_head.weight"].shape == (1, 16)
    for name, value in start.model.state_dict().items():
        running = "running_" in name or "num_batches" in name  # follow the frames, whatever the rate
        if not name.startswith("grade_head") and not running:
            assert torch.equal(value, own[name]), name


def test_the_same_head_is_taken_over_another_is_not(tmp_path: Path) -> None:
    data = tiny_corpus()
    first = train(data, tmp_path / "first", dataclasses.replace(TINY_TRAINING, align_steps=0, word_steps=1))
    for loss, same in (("hierarchical", True), ("ordinal", False)):  # both have three logits
        config = dataclasses.replace(
            TINY_TRAINING, stages=("finetune",), init=str(tmp_path / "first"), model={}, loss=loss, **STILL
        )
        again = train(data, tmp_path / loss, config).model.grade_head.weight
        assert torch.equal(again, first.model.grade_head.weight.half().float()) == same


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"hidden_size": 32}}, r"'\S+' is \(.*\) in the checkpoint and \(.*\) in this training"),
        ({"model": {"frame_markers": False}}, "in the checkpoint and missing in this training"),
        ({"stages": ("pretrain",)}, "stages pretrain: take some of words, align, finetune"),
        ({"stages": ()}, "stages \\(none\\)"),
        ({"init": "", "model": {"conv_stem": (8, 12)}}, r"conv_stem \[8, 12\] must end with the width"),
        ({"init": "", "model": {"conv_stem": (128,)}}, "must halve as often as makes the patch size, 16"),
        ({"init": "", "model": {"backbone": "efficientnet_lite0"}}, "has visual_size 320 and patch_size 32"),
        ({"model": {"num_heads": 3}}, "3 text heads do not divide the width 16"),
        ({"init": "", "model": {"num_heads": 3}}, "3 text heads do not divide the width 128"),
        ({"temperature": 0.9}, "temperature must be at most 0.5, got 0.9"),
    ],
)
def test_what_does_not_fit_is_named(
    pretrained: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = dataclasses.replace(TINY_TRAINING, **{"init": str(pretrained), "model": {}, **changes})
    with pytest.raises(TrainError, match=message):
        train(tiny_corpus(), tmp_path, config)


def test_a_checkpoint_of_other_texts_or_frames_is_refused(pretrained: Path, tmp_path: Path) -> None:
    data = tiny_corpus()
    foreign = dataclasses.replace(
        data.corpus, ad_title=("ы б",) * 24, ad_ocr=("ж",) * 24, ad_asr=("щ э ю",) * 24
    )
    config = dataclasses.replace(TINY_TRAINING, init=str(pretrained), model={})
    with pytest.raises(TrainError, match="its vocabulary does not know 100% of the tokens of this corpus"):
        train(dataclasses.replace(data, corpus=foreign), tmp_path, config)
    larger = dataclasses.replace(data.corpus, frames=np.zeros((24, 3, 64, 64, 3), dtype=np.uint8))
    with pytest.raises(TrainError, match="reads frames of 48 pixels, the corpus has 64"):
        train(dataclasses.replace(data, corpus=larger), tmp_path, config)
    with pytest.raises(CheckpointError, match=r"nowhere/model.safetensors, init: not found"):
        train(data, tmp_path, dataclasses.replace(config, init=str(tmp_path / "nowhere")))


def test_temperature_is_learnt_within_its_bounds() -> None:
    data = tiny_corpus()
    every = data.labels.of("train")
    config = dataclasses.replace(
        TINY_TRAINING, stages=("align",), learn_temperature=True, temperature=0.2, align_rate=0.3, warm_up=0
    )
    trainer = Trainer(data, every, every, config, "cpu")
    temperature = trainer.model.temperature
    assert temperature is not None
    assert temperature.item() == pytest.approx(0.2)
    seen = [temperature.item() for _ in trainer.steps()]
    assert seen[0] in (pytest.approx(0.001), pytest.approx(0.5))  # a step of 0.3 either way
    assert all(0.001 - 1e-9 <= value <= 0.5 for value in seen)
    fixed = Trainer(data, every, every, dataclasses.replace(config, learn_temperature=False), "cpu")
    assert fixed.model.temperature is None


def test_the_gradient_of_the_temperature_by_hand() -> None:
    # Two orthogonal pairs at temperature t: the loss is ln(1 + e), e = exp(-1/t), slope e / (1 + e) / t^2.
    temperature = torch.tensor(0.5, requires_grad=True)
    contrastive_loss(torch.eye(2), torch.eye(2), torch.zeros(2, 2, dtype=torch.bool), temperature).backward()
    odds = float(np.exp(-2.0))
    assert temperature.grad is not None
    assert temperature.grad.item() == pytest.approx(odds / (1 + odds) * 4.0, rel=1e-5)
    for value, kept in ((0.7, 0.5), (-0.1, 0.001), (0.3, 0.3)):
        scalar = torch.tensor(value)
        clamp_temperature(scalar)
        assert scalar.item() == pytest.approx(kept)


def test_masks_are_the_vocabulary_s_own() -> None:
    # A BERT has its special tokens elsewhere: nothing but words is hidden, behind its own [MASK].
    class Bert:
        all_special_ids = (0, 100, 101, 102, 103)
        mask_token_id = 103

    ids = torch.tensor([[101, 3, 104, 102, 0]])
    text = TextBatch(ids, (ids != 0).long(), torch.zeros_like(ids))
    masked, hidden = _mask_words(text, 1.0, Bert(), np.random.default_rng(0))  # type: ignore[arg-type]
    assert masked.input_ids.tolist() == [[101, 103, 103, 102, 0]]
    assert hidden.tolist() == [[False, True, True, False, False]]
    own = train_tokenizer(["red mug"] * 3, 60)
    ids = torch.tensor([[CLS, SEP, 9, SEP]])
    text = TextBatch(ids, torch.ones_like(ids), torch.zeros_like(ids))
    masked, _ = _mask_words(text, 1.0, own, np.random.default_rng(0))
    assert masked.input_ids.tolist() == [[CLS, SEP, MASK, SEP]]


def test_names_of_stages_and_bounds_are_checked_before_anything_is_read() -> None:
    with pytest.raises(TrainError, match="take some of"):
        check_config(dataclasses.replace(TrainConfig(), stages=("a", "words")))
