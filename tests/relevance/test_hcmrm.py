"""The model, its checkpoint and its training, at sizes that take seconds."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relevance.corpus import Labels
from relevance.errors import CheckpointError
from relevance.hcmrm import HCMRM, SHIPPED, Checkpoint, HCMRMConfig, HcmrmScorer
from relevance.hcmrm.model import TextBatch
from relevance.hcmrm.text import CLS, SEP, TokenTable
from relevance.hcmrm.training.train import TrainProgress, train
from relevance.hcmrm.training.train_config import TrainError
from relevance.protocol import check_scorer

from .tiny import TINY_TRAINING, tiny_corpus


@pytest.fixture(scope="module")
def model() -> HCMRM:
    torch.manual_seed(0)
    config = HCMRMConfig(
        vocab_size=40,
        hidden_size=16,
        num_heads=2,
        intermediate_size=32,
        conv_stem=(8, 8, 8, 16),
        embed_dim=8,
        frame_markers=True,
        word_markers=True,
    )
    model = HCMRM(config).eval()
    with torch.no_grad():  # larger than the usual start, so that every path shows in the output
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    return model


def _text(rows: list[list[int]]) -> TextBatch:
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return TextBatch(ids, (ids != 0).long(), torch.zeros_like(ids))


def _frames(n_ads: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, 255, (n_ads, 3, 48, 48, 3)).astype(np.uint8))


def test_shapes(model: HCMRM) -> None:
    visual = model.visual_tokens(_frames(2))
    assert visual.shape == (2, 3 * 5 + 1, 16)
    logits = model(_text([[2, 7, 3, 8, 3], [2, 9, 3, 3]]), visual, torch.tensor([0, 1]))
    assert logits.shape == (2, 3)
    assert logits.dtype == torch.float32


def test_class_token_sees_the_last_token(model: HCMRM) -> None:
    visual, pair = model.visual_tokens(_frames(1)), torch.tensor([0])
    before = model(_text([[2, 7, 3, 8, 9, 3]]), visual, pair)
    after = model(_text([[2, 7, 3, 8, 10, 3]]), visual, pair)
    assert (before - after).abs().max() > 1e-4  # a causal encoder would not notice


def test_class_token_sees_every_frame(model: HCMRM) -> None:
    frames, text, pair = _frames(1), _text([[2, 7, 3, 8, 3]]), torch.tensor([0])
    before = model(text, model.visual_tokens(frames), pair)
    for f in range(3):
        changed = frames.clone()
        changed[0, f] = 255 - changed[0, f]
        assert (before - model(text, model.visual_tokens(changed), pair)).abs().max() > 1e-4


def test_padding_changes_nothing(model: HCMRM) -> None:
    visual = model.visual_tokens(_frames(2))
    alone = model(_text([[2, 7, 3, 8, 3]]), visual, torch.tensor([1]))
    together = model(_text([[2, 7, 3, 8, 3], [2, 5, 6, 7, 3, 8, 9, 10, 11, 3]]), visual, torch.tensor([1, 0]))
    assert together[0].tolist() == pytest.approx(alone[0].tolist(), abs=1e-5)


def test_hidden_frames_are_not_seen(model: HCMRM) -> None:
    text, pair, hidden = _text([[2, 7, 3, 8, 3]]), torch.tensor([0]), torch.tensor([True])
    first = model(text, model.visual_tokens(_frames(1), hidden), pair)
    other = model(text, model.visual_tokens(255 - _frames(1), hidden), pair)
    assert torch.equal(first, other)


def test_words_are_read_off_the_frames_as_a_mixture() -> None:
    """Two frames: one foretells the words (.5, .25, .25), the other (.1, .1, .8); the ad (.3, .175, .525)."""
    words = HCMRM(HCMRMConfig(vocab_size=3, hidden_size=4, num_heads=1, frame_tokens=1))
    with torch.no_grad():
        words.keyword_head.bias.zero_()
        words.keyword_head.weight.zero_()
        words.keyword_head.weight[:, 0] = torch.log(torch.tensor([0.5, 0.25, 0.25]))
        words.keyword_head.weight[:, 1] = torch.log(torch.tensor([0.1, 0.1, 0.8]))
    visual = torch.zeros(1, 5, 4)  # the empty token, then a class token and a patch token for each frame
    visual[0, 1, 0], visual[0, 3, 1] = 1.0, 1.0
    visual[0, [0, 2, 4]] = 9.0
    assert words.seen_words(visual)[0].exp().tolist() == pytest.approx([0.3, 0.175, 0.525], abs=1e-6)


def test_frame_markers_are_mutual_information_of_token_and_frames(model: HCMRM) -> None:
    visual = model.visual_tokens(_frames(2), torch.tensor([False, True]))
    text = _text([[2, 7, 3, 8, 3]] * 2)
    seen = model.marks(text, visual, torch.tensor([0, 1]))["frames"]
    usual = model.keyword_head(model.no_frame[0, 0]).log_softmax(dim=0)
    frames = model.keyword_head(visual[0, [1, 6, 11]]).softmax(dim=1).mean(dim=0).log()
    expected = (frames - usual).clamp(-6, 6)[text.input_ids[0]]
    assert seen[0].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    assert seen[1].tolist() == pytest.approx([0.0] * 5, abs=1e-5)  # hidden frames say nothing of any word


def test_word_markers_are_the_nearest_token_of_the_other_side() -> None:
    words = HCMRM(HCMRMConfig(vocab_size=8, hidden_size=4, num_heads=1, word_markers=True))
    with torch.no_grad():
        words.keyword_head.weight.zero_()
        words.keyword_head.weight[:, 3] = 1.0  # special tokens are like no word
        words.keyword_head.weight[5] = torch.tensor([2.0, 0.0, 0.0, 0.0])
        words.keyword_head.weight[6] = torch.tensor([3.0, 4.0, 0.0, 0.0])
        words.keyword_head.weight[7] = torch.tensor([0.0, 0.0, 5.0, 0.0])
    # [CLS] 5 [SEP] 6 7 [SEP], then padding: 5 and 6 have a cosine of 0.6, 7 is like nothing of the query.
    text = TextBatch(
        torch.tensor([[2, 5, 3, 6, 7, 3, 0]]),
        torch.tensor([[1, 1, 1, 1, 1, 1, 0]]),
        torch.tensor([[0, 0, 0, 1, 1, 1, 0]]),
    )
    marks = words.marks(text, words.no_frame, torch.tensor([0]))["words"][0].tolist()
    assert marks[:6] == pytest.approx([1.0, 0.6, 1.0, 0.6, 0.0, 1.0], abs=1e-6)


def test_frame_markers_reach_the_grade(model: HCMRM) -> None:
    visual, text, pair = model.visual_tokens(_frames(1)), _text([[2, 7, 3, 8, 3]]), torch.tensor([0])
    before = model(text, visual, pair)
    with torch.no_grad():
        model.keyword_head.weight[7] += 0.2  # word 7 is foretold otherwise than before
        after = model(text, visual, pair)
        model.keyword_head.weight[7] -= 0.2
    assert (before - after).abs().max() > 1e-4


def test_pair_layout() -> None:
    table = TokenTable(query=np.array([[5, 6, 0], [7, 8, 9]]), keywords=np.array([[6, 10], [11, 0]]))
    text = table.pairs(np.array([0, 1]), np.array([0, 1]))
    assert text.input_ids.tolist() == [[CLS, 5, 6, SEP, 6, 10, SEP], [CLS, 7, 8, 9, SEP, 11, SEP]]
    # 0 query, 1 keywords; 2 and 3 where a token stands in both.
    assert text.token_type.tolist() == [[0, 0, 2, 0, 3, 1, 1], [0, 0, 0, 0, 0, 1, 1]]
    bare = table.pairs(np.array([0]), np.array([0]), without_keywords=np.array([True]))
    assert bare.input_ids.tolist() == [[CLS, 5, 6, SEP, SEP]]
    assert table.pairs(None, np.array([0])).input_ids.tolist() == [[CLS, SEP, 6, 10, SEP]]


def test_training_learns_resumes_and_scores(tmp_path: Path) -> None:
    data = tiny_corpus()
    whole = train(data, tmp_path / "whole", TINY_TRAINING)

    class StopError(Exception):
        pass

    def stop_in_the_middle(progress: TrainProgress) -> None:
        if progress.stage == "finetune" and progress.step == 5:
            raise StopError

    with pytest.raises(StopError):
        train(data, tmp_path / "halves", TINY_TRAINING, progress=stop_in_the_middle)
    seen: list[tuple[str, int]] = []
    halves = train(
        data, tmp_path / "halves", TINY_TRAINING, progress=lambda p: seen.append((p.stage, p.step))
    )
    # From the state saved at the validation of step 3.
    assert seen == [("finetune", 4), ("finetune", 5), ("finetune", 6)]
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, halves.model.state_dict()[name]), name

    scorer = HcmrmScorer(halves, data.corpus)
    assert check_scorer(scorer, data.corpus, np.random.default_rng(0)) == []
    pairs = np.array([0, 1, 2]), np.array([3, 4, 5])
    _, probabilities = scorer.read(*pairs)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(3))
    assert probabilities @ np.array([0.0, 0.2, 0.6, 1.0]) == pytest.approx(scorer.score(*pairs))
    assert halves.keywords(data.corpus.ad_text(0)) == (
        "mug",
        "sale",
        "tap",
        "to",
        "shop",
        "look",
        "at",
        "my",
        "mug",
    )

    with pytest.raises(TrainError, match="other settings"):
        train(data, tmp_path / "halves", dataclasses.replace(TINY_TRAINING, seed=1))


def test_more_training_tells_the_products_apart(tmp_path: Path) -> None:
    data = tiny_corpus()
    config = dataclasses.replace(
        TINY_TRAINING, align_steps=0, finetune_steps=120, validate_every=60, rate=3e-3, average=0.9
    )
    scorer = HcmrmScorer(train(data, tmp_path, config), data.corpus)
    test = data.labels.of("test")
    score = scorer.score(test.query, test.ad)
    assert score[test.grade >= 2].mean() > score[test.grade < 2].mean() + 0.2


def test_rehearsal_keeps_words_that_no_label_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tents are in the corpus and in no label: what their frames foretell is forgotten but for rehearsal."""
    monkeypatch.setattr(
        "relevance.hcmrm.training.pretraining.FILLER", 0.9
    )  # a third of so few ads is of one product
    data = tiny_corpus(48)
    tents = np.arange(data.corpus.n_ads) % 3 == 2
    named = ~tents[data.labels.ad] & (data.labels.query % 3 != 2)
    labels = Labels(*(column[named] for column in dataclasses.astuple(data.labels)))
    data = dataclasses.replace(data, labels=labels)
    ads = np.flatnonzero(tents & np.isin(np.arange(data.corpus.n_ads), data.pretraining_ads()))
    surprise, without_frames = {}, {}
    for rehearsal_ads, hidden in ((0, 0.0), (16, 0.0), (16, 0.9)):
        config = dataclasses.replace(
            TINY_TRAINING, align_steps=60, finetune_steps=60, rate=3e-3, average=0.5, word_weight=1.0,
            rehearsal_ads=rehearsal_ads, rehearsal_hidden=hidden,
        )  # fmt: skip
        trained = train(data, tmp_path / f"{rehearsal_ads}-{hidden}", config)
        (tent,) = trained.tokenizer("tent", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            visual = trained.model.visual_tokens(torch.from_numpy(data.corpus.frames[ads]))
            read, guessed = map(trained.model.seen_words, (visual, trained.model.no_frame))
        surprise[rehearsal_ads, hidden] = -read[:, tent].mean().item()
        without_frames[rehearsal_ads, hidden] = -guessed[0, tent].item()
    assert surprise[16, 0.0] < surprise[0, 0.0] - 1.0  # nats
    # How often the word occurs is remembered where frames are hidden in rehearsal, too.
    assert without_frames[16, 0.9] < without_frames[16, 0.0] - 0.1


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    train(
        tiny_corpus(),
        tmp_path / "checkpoint",
        dataclasses.replace(TINY_TRAINING, align_steps=0, finetune_steps=1),
    )
    return tmp_path / "checkpoint"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "keywords.json", "training.json"]
)
def test_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: not found; train a checkpoint with 'relbid train"):
        Checkpoint.load(saved)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "keywords.json", "training.json"]
)
@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_truncated_file_is_refused(saved: Path, name: str, keep: float) -> None:
    path = saved / name
    os.truncate(path, int(path.stat().st_size * keep))
    with pytest.raises(CheckpointError):
        Checkpoint.load(saved)


def test_other_sizes_are_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "hidden_size": 32}))
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        Checkpoint.load(saved)


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").is_file(), reason="no checkpoint is shipped")
def test_shipped_checkpoint_is_small_and_loads() -> None:
    assert (SHIPPED / "model.safetensors").stat().st_size <= 10 * 2**20
    assert Checkpoint.load(SHIPPED).model.config.model_type == "hcmrm"
