"""Scoring without padding, with what a processor has in place of a GPU's kernels: the scores are the same."""

# ruff: noqa: E402

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from scipy.stats import kendalltau

from relevance.hcmrm import HcmrmScorer, packed
from relevance.hcmrm.packed import AD_TILE, Layout, PackedBatch, PackedModel, in_few_shapes, rows_in_float8

from .test_scorer import CORPUS, N_ADS, N_QUERIES, make_checkpoint

QUERY, AD = np.divmod(np.arange(N_QUERIES * N_ADS), N_ADS)


@pytest.fixture(scope="module", params=[{}, {"use_frames": False}, {"frame_markers": False}], ids=str)
def padded(request: pytest.FixtureRequest) -> HcmrmScorer:
    sizes: dict[str, Any] = request.param
    if "frame_markers" in sizes:
        checkpoint = make_checkpoint()
        checkpoint.model.config.frame_markers = checkpoint.model.config.word_markers = False
        return HcmrmScorer(checkpoint, CORPUS)
    return HcmrmScorer(make_checkpoint(**sizes), CORPUS)


def without_padding(padded: HcmrmScorer, **options: Any) -> HcmrmScorer:
    """The same in float32 by the packed form."""
    scorer = HcmrmScorer(make_checkpoint(), CORPUS, **options)
    scorer.model = padded.model
    scorer.packed = PackedModel(padded.model, "float32")
    return scorer


@pytest.mark.parametrize("options", [{}, {"batch": 7}, {"memory": 200_000}, {"keep_on": "host"}], ids=str)
def test_scores_without_padding_are_those_with_it(padded: HcmrmScorer, options: dict[str, Any]) -> None:
    expected = padded.score(QUERY, AD)
    assert expected.std() > 0.01
    np.testing.assert_allclose(without_padding(padded, **options).score(QUERY, AD), expected, atol=1e-5)


@settings(max_examples=25)
@given(some=st.lists(st.integers(0, len(QUERY) - 1), min_size=1, max_size=70))
def test_padding_to_few_shapes_changes_no_score(some: list[int]) -> None:
    padded = HcmrmScorer(make_checkpoint(), CORPUS)
    scorer = without_padding(padded)
    query, ad = QUERY[some], AD[some]
    order = np.lexsort((ad,))
    query, ad = query[order], ad[order]
    ads, of_text = np.unique(ad, return_inverse=True)
    text = scorer.text(query, ad)
    layout = Layout.of(text.mask.sum(dim=1).numpy(), text.mask.shape[1], of_text)
    wide, spread = in_few_shapes(text, layout)
    # What a GPU reads out of bounds stops it.
    n_tokens = spread.place.numel()
    assert 0 <= int(spread.place.min()) <= int(spread.place.max()) < wide.input_ids.numel()
    assert int(spread.text_start[:-1].max()) < n_tokens
    assert int(spread.ad_of_text.max()) < len(spread.ad_start) - 1
    for tiles, starts in ((spread.tiles, spread.ad_start), (spread.text_tiles, spread.ad_text)):
        covered = np.zeros(int(starts[-1]), dtype=int)
        for one, first in tiles.tolist():
            if one >= 0:
                covered[first : min(first + AD_TILE, int(starts[one + 1]))] += 1
        assert (covered == 1).all()
    assert scorer.packed is not None
    keys, row = scorer.kept.at(ads)
    got, expected = (
        scorer.packed(PackedBatch.of(*parts), keys, row)[: len(ad)]
        for parts in ((wide, spread), (text, layout))
    )
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@given(sizes=st.lists(st.integers(1, 3000), min_size=2, max_size=50))
def test_steps_are_few_and_at_most_a_quarter_more(sizes: list[int]) -> None:
    steps = [packed._step(n) for n in sizes]
    assert all(n <= step <= max(8, 1.25 * n + 1) for n, step in zip(sizes, steps, strict=True))
    assert len({packed._step(n) for n in range(1, 4096)}) < 40


def test_float8_keeps_most_ranks() -> None:
    checkpoint = make_checkpoint()
    expected = HcmrmScorer(checkpoint, CORPUS).score(QUERY, AD)
    score = HcmrmScorer(checkpoint, CORPUS, precision="float8").score(QUERY, AD)
    assert np.abs(score - expected).max() > 1e-4  # it is not float32 that was tested
    assert kendalltau(score, expected).statistic > 0.85


def test_a_row_in_float8_has_its_largest_number_exactly() -> None:
    x = torch.tensor([[1.0, -3.0, 0.25], [0.0, 0.0, 0.0], [1e-3, 2e-3, -4e-3]])
    values, scale = rows_in_float8(x)
    torch.testing.assert_close(values.float() * scale, x, rtol=1 / 16, atol=1e-9)
    assert (values.float() * scale)[0, 1].item() == -3.0


def test_two_towers_have_no_packed_form() -> None:
    towers = make_checkpoint(fusion="two_tower")
    with pytest.raises(ValueError, match="two towers"):
        PackedModel(towers.model, "bfloat16")
