"""What HCMRM is held against: two towers, raw text, fewer frames; each trained in the same way."""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from relevance.errors import CheckpointError
from relevance.hcmrm import HCMRM, HCMRMConfig, HcmrmScorer
from relevance.hcmrm.model import TextBatch, split_pairs
from relevance.hcmrm.text import join_texts
from relevance.hcmrm.training.train import train
from relevance.hcmrm.training.train_config import TrainConfig, TrainError, check_config
from relevance.keywords import RawText, TfIdfKeywords, extractor_from, fit_extractor
from relevance.protocol import check_scorer

from .tiny import TINY_TRAINING, tiny_corpus


def _config(**changes: Any) -> TrainConfig:
    """The tiny training with other sizes of the model."""
    return dataclasses.replace(TINY_TRAINING, model={**TINY_TRAINING.model, **changes})


@pytest.fixture(scope="module")
def towers() -> HCMRM:
    torch.manual_seed(0)
    model = HCMRM(HCMRMConfig(vocab_size=40, fusion="two_tower", **TINY_TRAINING.model)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
    return model


def test_a_pair_is_split_into_query_and_ad() -> None:
    text = join_texts(np.array([[5, 6, 0], [7, 8, 9]]), np.array([[6, 10], [11, 0]]))
    query, ad = split_pairs(text)
    assert query.input_ids.tolist() == [[2, 5, 6, 3, 0], [2, 7, 8, 9, 3]]
    assert query.mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert ad.input_ids.tolist() == [[2, 3, 6, 10, 3], [2, 3, 11, 3, 0]]
    assert ad.mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    # No trace of the shared word 6, which has the types 2 and 3 in the pair.
    assert query.token_type.tolist() == [[0] * 5, [0] * 5]
    assert ad.token_type.tolist() == [[0, 0, 1, 1, 1], [0, 0, 1, 1, 0]]


def test_towers_meet_in_a_cosine_alone(towers: HCMRM) -> None:
    # Unit vectors of three queries and of two ads explain all six cosines: with every further query the same
    # ads, whatever they are paired with. A product of matrices of 3 x 8 and 8 x 2 would be of any rank here,
    # so the vectors themselves are caught.
    vectors: list[torch.Tensor] = []
    frames = torch.from_numpy(np.random.default_rng(1).integers(0, 255, (2, 3, 48, 48, 3)).astype(np.uint8))
    visual, ad = towers.visual_tokens(frames), torch.tensor([0, 1, 0, 1, 0, 1])
    queries = np.repeat(np.array([[5, 6, 0], [7, 0, 0], [8, 9, 10]]), 2, axis=0)
    keywords = np.array([[6, 10, 12], [11, 5, 0]] * 3)
    assert towers.ad_projection is not None
    hook = towers.ad_projection.register_forward_hook(lambda m, i, output: vectors.append(output))
    cosine = towers.pair(join_texts(queries, keywords), visual, ad)
    hook.remove()
    assert cosine.shape == (6, 1)
    assert (cosine.abs() <= 1.0 + 1e-6).all()
    for own in (0, 1):
        assert torch.allclose(vectors[0][own::2], vectors[0][own].expand(3, -1), atol=1e-5)
    assert (vectors[0][0] - vectors[0][1]).abs().max() > 1e-2
    # Frames count, and so do the keywords.
    for other in (towers.visual_tokens(255 - frames), visual.flip(0)):
        assert (towers.pair(join_texts(queries, keywords), other, ad) - cosine).abs().max() > 1e-4
    assert (towers.pair(join_texts(queries, keywords + 1), visual, ad) - cosine).abs().max() > 1e-4


def test_logits_of_towers_are_affine_in_the_cosine(towers: HCMRM) -> None:
    text = TextBatch(
        torch.tensor([[2, 7, 3, 8, 3]]), torch.ones(1, 5).long(), torch.tensor([[0, 0, 0, 1, 1]])
    )
    visual = towers.visual_tokens(torch.zeros(1, 3, 48, 48, 3, dtype=torch.uint8) + 9)
    cosine = towers.pair(text, visual, torch.tensor([0]))
    expected = cosine[0, 0] * towers.grade_head.weight[:, 0] + towers.grade_head.bias
    assert torch.allclose(towers(text, visual, torch.tensor([0]))[0], expected, atol=1e-6)


def test_two_towers_are_trained_alike(tmp_path: Path) -> None:
    data = tiny_corpus()
    config = dataclasses.replace(_config(fusion="two_tower"), pqvm_weight=1.0, loss="flat")
    checkpoint = train(data, tmp_path, config)
    assert checkpoint.model.config.fusion == "two_tower"
    scorer = HcmrmScorer(checkpoint, data.corpus)
    assert check_scorer(scorer, data.corpus, np.random.default_rng(0)) == []


def test_raw_text_is_read_from_its_start(tmp_path: Path) -> None:
    assert RawText(n_tokens=3)("Buy THIS mug now") == ("buy", "this", "mug")
    data = tiny_corpus()
    long = tuple(f"{title} {'very ' * 40}long" for title in data.corpus.ad_title)
    data = dataclasses.replace(data, corpus=dataclasses.replace(data.corpus, ad_title=long))
    checkpoint = train(data, tmp_path, dataclasses.replace(TINY_TRAINING, text="raw"))
    assert json.loads((tmp_path / "keywords.json").read_text()) == {"extractor": "raw", "n_tokens": 96}
    scorer = HcmrmScorer(checkpoint, data.corpus)
    words = checkpoint.keywords(data.corpus.ad_text(0))
    assert " ".join(words) == data.corpus.ad_text(0)
    # All 51 words are tokens that the model sees: the last one matters.
    other = dataclasses.replace(data.corpus, ad_asr=tuple("look at my tent" for _ in long))
    pairs = np.array([0]), np.array([0])
    assert HcmrmScorer(checkpoint, other).score(*pairs) != scorer.score(*pairs)


def test_a_checkpoint_without_the_name_of_an_extractor_is_tfidf() -> None:
    fitted = fit_extractor("tfidf", ["red mug", "blue mug"])
    stored = fitted.as_dict()
    assert isinstance(extractor_from(stored), TfIdfKeywords)
    assert extractor_from({"extractor": "tfidf", **stored})("a red mug") == fitted("a red mug")
    with pytest.raises(ValueError, match="keyword extractor 'yake': there is no such, only tfidf, char"):
        extractor_from({"extractor": "yake"})


@pytest.mark.parametrize("n_frames", [1, 2])
def test_fewer_frames_are_the_first_ones(tmp_path: Path, n_frames: int) -> None:
    data = tiny_corpus()
    checkpoint = train(data, tmp_path, _config(n_frames=n_frames))
    pairs = np.arange(12), np.arange(12)
    score = HcmrmScorer.load(data.corpus, tmp_path).score(*pairs)
    changed = data.corpus.frames.copy()
    changed[:, n_frames:] = 255 - changed[:, n_frames:]
    later = HcmrmScorer(checkpoint, dataclasses.replace(data.corpus, frames=changed))
    assert later.score(*pairs).tolist() == score.tolist()
    changed[:, :n_frames] = 255 - changed[:, :n_frames]
    first = HcmrmScorer(checkpoint, dataclasses.replace(data.corpus, frames=changed))
    assert np.abs(first.score(*pairs) - score).max() > 0


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    data = tiny_corpus()
    train(data, tmp_path, dataclasses.replace(_config(n_frames=2), finetune_steps=1, align_steps=0))
    one = dataclasses.replace(data.corpus, frames=data.corpus.frames[:, :1])
    with pytest.raises(CheckpointError, match=r"reads 2 frames of 48x48 pixels, .* have 1 of 48x48"):
        HcmrmScorer.load(one, tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_config(fusion="late"), "model.fusion: input should be 'early' or 'two_tower', got late"),
        (_config(text_tokens=60), "model.text_tokens 60: needs model.max_positions 79"),
        (dataclasses.replace(TINY_TRAINING, text="summary"), "text 'summary': there is no such"),
    ],
)
def test_what_no_model_can_be_is_refused(config: TrainConfig, message: str) -> None:
    with pytest.raises(TrainError, match=message):
        check_config(config)
