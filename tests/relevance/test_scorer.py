"""How pairs are scored: in which batches, what is kept of ads, in which precision. Never other scores."""

# ruff: noqa: E402

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from scipy.stats import kendalltau

from relevance.calibration import IsotonicCalibration
from relevance.hcmrm import HCMRM, Checkpoint, HCMRMConfig, HcmrmScorer
from relevance.hcmrm.layers import Attention, Linear
from relevance.hcmrm.model import COSINE_SCALE
from relevance.hcmrm.text import train_tokenizer
from relevance.hcmrm.visual_tokens import OfAds, VisualTokens
from relevance.keywords import TfIdfKeywords

from .tiny import tiny_corpus

CORPUS = tiny_corpus(12).corpus
N_QUERIES, N_ADS = CORPUS.n_queries, CORPUS.n_ads


def make_checkpoint(**sizes: Any) -> Checkpoint:
    """A model with weights so large that scores differ from pair to pair."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer([*CORPUS.query_text, *CORPUS.ad_texts()], 120)
    config = HCMRMConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_heads=2, intermediate_size=64, conv_stem=(8, 8, 8, 32),
        embed_dim=8, frame_markers=True, word_markers=True, **sizes,
    )  # fmt: skip
    model = HCMRM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.05 if "stem" in name or "patch" in name else 0.15)
    return Checkpoint(model, tokenizer, TfIdfKeywords.fit(CORPUS.ad_texts()), {})


def held(kept: VisualTokens) -> list[int]:
    """The ads that are kept."""
    return np.flatnonzero(kept._row_of_ad >= 0).tolist()


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return make_checkpoint()


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every query with every ad."""
    query, ad = np.divmod(np.arange(N_QUERIES * N_ADS), N_ADS)
    return query, ad


@pytest.fixture(scope="module")
def one_by_one(checkpoint: Checkpoint, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Scores of single pairs from the model itself, without batches, kept frames, or oneDNN."""
    scorer, model = HcmrmScorer(checkpoint, CORPUS), checkpoint.model
    scores = []
    for q, a in zip(*(part.tolist() for part in pairs), strict=True):
        text = scorer._texts.of(np.array([q]), np.array([a])).text()
        visual = model.visual_tokens(torch.from_numpy(CORPUS.frames[a : a + 1]))  # with gradients
        logits = model.grade_head(model.fuse(text, visual, torch.tensor([0]))[:, 0]).double().detach()
        branch, low, high = torch.sigmoid(logits[0]).tolist()
        scores.append((1 - branch) * 0.2 * low + branch * (0.6 * (1 - high) + high))
    return np.array(scores)


def test_scores_are_those_of_single_pairs(
    checkpoint: Checkpoint, pairs: tuple[np.ndarray, np.ndarray], one_by_one: np.ndarray
) -> None:
    assert one_by_one.std() > 0.02
    np.testing.assert_allclose(HcmrmScorer(checkpoint, CORPUS).score(*pairs), one_by_one, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 1},
        {"batch": 7, "threads": 3},
        {"threads": 2},
        {"memory": 1},
        {"memory": 20_000, "batch": 16},
        {"keep_on": "host"},
        {"keep_on": "disk"},
    ],
    ids=str,
)
def test_no_option_changes_a_bit_of_scores(
    checkpoint: Checkpoint, pairs: tuple[np.ndarray, np.ndarray], options: dict[str, Any]
) -> None:
    expected = HcmrmScorer(checkpoint, CORPUS).read(*pairs)
    for got, score in zip(HcmrmScorer(checkpoint, CORPUS, **options).read(*pairs), expected, strict=True):
        np.testing.assert_array_equal(got, score)


@settings(max_examples=10)
@given(data=st.data(), batch=st.integers(1, 40), memory=st.integers(1, 200_000), threads=st.integers(1, 3))
def test_scores_depend_neither_on_the_order_nor_on_company(
    checkpoint: Checkpoint,
    pairs: tuple[np.ndarray, np.ndarray],
    data: st.DataObject,
    batch: int,
    memory: int,
    threads: int,
) -> None:
    """Not even in their last bit."""
    expected = HcmrmScorer(checkpoint, CORPUS).score(*pairs)
    some = np.array(data.draw(st.lists(st.integers(0, len(expected) - 1), max_size=30)), dtype=np.int64)
    scorer = HcmrmScorer(checkpoint, CORPUS, batch=batch, memory=memory, threads=threads)
    for _ in range(2):  # with nothing kept, then with something
        np.testing.assert_array_equal(scorer.score(pairs[0][some], pairs[1][some]), expected[some])
        row, column = np.arange(len(some)) // 4, np.arange(len(some)) % 4
        table = np.full((len(some) // 4 + 1, 4), -1)
        for query in np.unique(pairs[0][some]).tolist():  # the ads of one query, side by side
            mine = some[pairs[0][some] == query]
            table[:] = -1
            table[row[: mine.size], column[: mine.size]] = pairs[1][mine]
            got = scorer.relevance(np.full(len(table), query), table).numpy()
            np.testing.assert_array_equal(got[table >= 0], expected[mine])
    taken = len(held(scorer.kept)) * scorer.kept.bytes_per_ad
    assert taken <= max(memory, scorer.kept.bytes_per_ad)


def test_no_option_changes_scores_of_two_towers(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    towers = make_checkpoint(fusion="two_tower")
    torch.nn.init.constant_(towers.model.grade_head.weight, COSINE_SCALE)
    one_by_one = HcmrmScorer(towers, CORPUS, batch=1).score(*pairs)
    assert one_by_one.std() > 0.01
    options: list[dict[str, Any]] = [{"batch": 7}, {"memory": 20_000, "threads": 2}]
    for some in options:
        np.testing.assert_allclose(HcmrmScorer(towers, CORPUS, **some).score(*pairs), one_by_one, atol=1e-5)
    half = HcmrmScorer(towers, CORPUS, precision="bfloat16").score(*pairs)
    assert kendalltau(half, one_by_one).statistic > 0.9


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_order_and_makes_no_ties(
    checkpoint: Checkpoint, pairs: tuple[np.ndarray, np.ndarray], one_by_one: np.ndarray, precision: Any
) -> None:
    """These weights are random and scores lie close, so the bound is below that of a trained model."""
    scorer = HcmrmScorer(checkpoint, CORPUS, precision=precision)
    score = scorer.score(*pairs)
    assert kendalltau(score, one_by_one).statistic > 0.9
    assert np.abs(score - one_by_one).max() > 0  # it is not float32 that was tested
    texts = {(CORPUS.query_text[q], a) for q, a in zip(*(p.tolist() for p in pairs), strict=True)}
    assert len(np.unique(score)) > 0.9 * len(texts)
    assert checkpoint.model.grade_head.weight.dtype == torch.float32  # the caller's model is left alone


def test_the_table_on_the_device_is_the_scores(
    checkpoint: Checkpoint, pairs: tuple[np.ndarray, np.ndarray], one_by_one: np.ndarray
) -> None:
    candidate = np.array([[3, -1, 5], [-1, -1, -1], [0, 1, 2]])
    query = np.array([4, 0, 4])
    table = HcmrmScorer(checkpoint, CORPUS).relevance(query, candidate)
    assert table.dtype == torch.float64
    expected = np.where(candidate >= 0, one_by_one[query[:, None] * N_ADS + candidate], 0.0)
    np.testing.assert_allclose(table.numpy(), expected, atol=1e-5)


def test_the_table_on_the_device_is_calibrated_as_scores_are(checkpoint: Checkpoint) -> None:
    halved = replace(checkpoint, calibration={"isotonic": IsotonicCalibration((0.0, 1.0), (0.1, 0.6))})
    candidate, query = np.array([[3, -1, 5]]), np.array([4])
    plain = HcmrmScorer(checkpoint, CORPUS).relevance(query, candidate).numpy()
    scorer = HcmrmScorer(halved, CORPUS, calibration="isotonic")
    table = scorer.relevance(query, candidate).numpy()
    np.testing.assert_allclose(table, np.where(candidate >= 0, 0.1 + 0.5 * plain, 0.0), atol=1e-12)
    np.testing.assert_allclose(table[0, [0, 2]], scorer.score(np.array([4, 4]), np.array([3, 5])), atol=1e-12)


def test_fused_attention_is_the_same() -> None:
    torch.manual_seed(1)
    attention, x = Attention(16, 2), torch.randn(3, 5, 16)
    bias = torch.zeros(3, 1, 1, 5).masked_fill(torch.rand(3, 1, 1, 5) < 0.3, -1e30)
    attention.fused = False
    written_out = attention(x, attention.project(x), bias)
    attention.fused = True
    torch.testing.assert_close(attention(x, attention.project(x), bias), written_out)


def test_linear_layers_agree_with_and_without_gradients() -> None:
    layer, x = Linear(7, 3), torch.randn(2, 5, 7)
    expected = x @ layer.weight.T + layer.bias
    assert layer(x).requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected)
        torch.testing.assert_close(layer(x, gelu=True), torch.nn.functional.gelu(expected))
        assert layer(x[:0]).shape == (0, 5, 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16


class Encoder:
    """Says for each ad its number, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, ads: np.ndarray) -> OfAds:
        self.asked += ads.tolist()
        visual = torch.from_numpy(ads).float()[:, None, None].expand(-1, 3, 4) * torch.ones(3, 4)
        return OfAds(visual, 10 * visual[:, 0, :2])


@pytest.mark.parametrize("home", ["device", "host", "disk"])
def test_the_least_recently_used_ads_go_first(home: Any, tmp_path: Path) -> None:
    encode = Encoder()
    kept = VisualTokens(encode, 10, bytes_at_most=3 * 56 + 55, home=home, folder=tmp_path)
    assert (kept.bytes_per_ad, kept.capacity) == (56, 3)  # 14 numbers of 4 bytes
    encode.asked.clear()

    def ask(*ads: int) -> None:
        visual, words = kept.of(np.array(ads))
        assert visual[:, 2, 3].tolist() == list(map(float, ads))
        assert words is not None
        assert words[:, 0].tolist() == [10.0 * ad for ad in ads]

    ask(1, 2, 3)
    ask(2)
    ask(1)
    ask(7)  # 3 was used longest ago
    assert encode.asked == [1, 2, 3, 7]
    assert held(kept) == [1, 2, 7]
    ask(7, 1, 9)  # 2, and not one of those that are asked for
    assert encode.asked == [1, 2, 3, 7, 9]
    assert held(kept) == [1, 7, 9]
    with pytest.raises(ValueError, match="4 ads at once, but only 3"):
        kept.of(np.arange(4))
    assert list(tmp_path.iterdir()) == []  # a file has no name that could be left behind


def test_kept_in_half_precision_twice_as_many_have_room() -> None:
    kept = VisualTokens(Encoder(), 10, bytes_at_most=168, dtype=torch.bfloat16)
    assert kept.capacity == 6
    visual = kept.of(np.array([5]))[0]
    assert visual.dtype == torch.float32
    assert visual[0, 0].tolist() == [5.0] * 4


def test_an_encoder_that_fails_leaves_nothing_half_kept() -> None:
    encode = Encoder()
    kept = VisualTokens(encode, 10)

    def fails(ads: np.ndarray) -> OfAds:
        raise RuntimeError("out of memory")

    kept._encode = fails
    with pytest.raises(RuntimeError, match="out of memory"):
        kept.of(np.array([4]))
    kept._encode = encode
    assert kept.of(np.array([4]))[0][0, 0, 0] == 4.0


@given(asked=st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True), max_size=20))
def test_memory_is_that_of_a_textbook_lru(asked: list[list[int]]) -> None:
    kept = VisualTokens(Encoder(), 8, bytes_at_most=3 * 56)
    known: dict[int, int] = {}  # ad -> when it was last used
    for now, ads in enumerate(asked):
        assert kept.of(np.array(ads))[0][:, 0, 0].tolist() == list(map(float, ads))
        known |= dict.fromkeys(ads, now)
        there = set(held(kept))
        assert set(ads) <= there
        assert len(there) == min(3, len(known))
        oldest = min(known[ad] for ad in there)
        assert all(when <= oldest for ad, when in known.items() if ad not in there)


# Queries of any text


def test_any_text_is_scored_as_a_query_of_the_corpus(checkpoint: Checkpoint) -> None:
    text, ads = "blue tent online", np.arange(N_ADS)
    scorer = HcmrmScorer(checkpoint, CORPUS)
    asked = scorer.of_queries((text, CORPUS.query_text[3]))
    rebuilt = HcmrmScorer(checkpoint, replace(CORPUS, query_text=(text,)))
    zeros = np.zeros_like(ads)
    np.testing.assert_allclose(asked.score(zeros, ads), rebuilt.score(zeros, ads), atol=1e-6)
    np.testing.assert_allclose(asked.score(zeros + 1, ads), scorer.score(zeros + 3, ads), atol=1e-6)
    assert asked.kept is scorer.kept  # frames are encoded once


def test_the_frames_markers_of_a_query_are_what_the_model_reads(checkpoint: Checkpoint) -> None:
    scorer, ads = HcmrmScorer(checkpoint, CORPUS), np.array([5, 2, 5])
    query = CORPUS.query_text.index("red sofa")
    found = scorer.frame_markers(query, ads)
    assert found is not None
    tokens, marks = found
    assert tokens == ["red", "sofa"]
    model = checkpoint.model
    with torch.no_grad():
        visual = model.visual_tokens(torch.from_numpy(CORPUS.frames[ads]))
        read = model.marks(scorer.text(np.full(3, query), ads), visual, torch.arange(3))["frames"]
    np.testing.assert_allclose(marks, read[:, 1:3].numpy(), atol=1e-5)  # after [CLS]
    assert np.abs(marks).max() > 0
    assert HcmrmScorer(without_markers(checkpoint), CORPUS).frame_markers(query, ads) is None


def without_markers(checkpoint: Checkpoint) -> Checkpoint:
    """A fresh model that reads no markers."""
    config = HCMRMConfig(**{**checkpoint.model.config.to_dict(), "frame_markers": False})
    return replace(checkpoint, model=HCMRM(config).eval())
