"""What only a GPU can show: its scores are a processor's, and so are the pages that it ranks.

`make gpu` runs these on a machine with one. Elsewhere they are skipped.
"""

# ruff: noqa: E402

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import kendalltau

from relevance.hcmrm import HcmrmScorer, packed
from relevance.hcmrm.packed import IN_TORCH
from simulator.auction import AuctionModel
from simulator.clock.engine import simulate
from simulator.fusion import Product
from simulator.market import ServingModel
from simulator.scoring import LiveScorer
from simulator.stage import rank_on_device
from tests.relevance.test_scorer import CORPUS, N_ADS, N_QUERIES, make_checkpoint
from tests.simulator.markets import corpus_market

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]

QUERY, AD = np.divmod(np.arange(N_QUERIES * N_ADS), N_ADS)


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return make_checkpoint()


@pytest.fixture(scope="module")
def expected(checkpoint: Any) -> np.ndarray:
    """Scores of a processor in float32."""
    return HcmrmScorer(checkpoint, CORPUS).score(QUERY, AD)


@pytest.mark.parametrize(
    ("precision", "least"), [("float32", 0.999), ("bfloat16", 0.95), ("float16", 0.95), ("float8", 0.85)]
)
def test_ranks_are_a_processors(checkpoint: Any, expected: np.ndarray, precision: Any, least: float) -> None:
    """These weights are random and scores lie close: a trained model keeps more of its ranks."""
    scorer = HcmrmScorer(checkpoint, CORPUS, device="cuda", precision=precision)
    for batch in (slice(None), slice(0, 5)):  # a large batch, and one of few shapes
        score = scorer.score(QUERY[batch], AD[batch])
        close = {"float32": 1e-5, "bfloat16": 0.02, "float16": 0.005, "float8": 0.1}[precision]
        np.testing.assert_allclose(score, expected[batch], atol=close)
    assert kendalltau(scorer.score(QUERY, AD), expected).statistic >= least


@pytest.fixture
def sequences() -> Any:
    """Random tokens of 40 texts of 9 ads, some of them empty, in bfloat16."""
    rng = np.random.default_rng(3)
    length = rng.integers(1, 41, 40)
    layout = packed.Layout.of(length, 40, np.sort(np.r_[np.arange(9), rng.integers(0, 9, 31)]))
    torch.manual_seed(3)
    return packed.Layout._make([*(x.cuda() for x in layout[:-1]), layout.longest]), int(length.sum())


def test_kernels_compute_what_torch_does(sequences: Any) -> None:
    layout, n = sequences
    made = torch.randn(n, 3, 4, 64, device="cuda", dtype=torch.bfloat16)
    query, key, value = made.unbind(1)
    both = (40, 40)
    starts = layout.text_start
    close = {"rtol": 0.03, "atol": 0.03}
    host = [x.cpu().float() for x in (query, key, value)]
    torch.testing.assert_close(
        packed.attend_texts(query, key, value, starts, starts, both).cpu().float(),
        packed.attend_texts(*host, starts.cpu(), starts.cpu(), both),
        **close,
    )
    keys = torch.randn(11, 2, 100, 2 * 256, device="cuda", dtype=torch.bfloat16)[:, 1]
    row = torch.randperm(11, device="cuda")[:9]
    torch.testing.assert_close(
        packed.attend_ads(query, keys, row, layout.ad_start, layout.tiles).cpu().float(),
        packed.attend_ads(host[0], keys.cpu().float(), row.cpu(), layout.ad_start.cpu(), layout.tiles.cpu()),
        **close,
    )
    from relevance.hcmrm import kernels

    x, y = torch.randn(2, n, 768, device="cuda", dtype=torch.bfloat16).unbind(0)
    norm = torch.randn(768, device="cuda", dtype=torch.bfloat16), torch.randn(768, device="cuda").bfloat16()
    torch.testing.assert_close(
        kernels.add_norm(x, y, *norm, 1e-12), IN_TORCH.add_norm(x, y, *norm, 1e-12), **close
    )
    for name in ("rows_in_float8", "gelu_rows"):
        ours, plain = getattr(kernels, name)(x), getattr(IN_TORCH, name)(x)
        torch.testing.assert_close(ours.scale, plain.scale, rtol=0.01, atol=0)
        torch.testing.assert_close(
            ours.values.float() * ours.scale, plain.values.float() * plain.scale, rtol=0.14, atol=0.03
        )  # one step of float8


def test_a_replayed_graph_is_the_run_that_it_recorded(
    checkpoint: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = HcmrmScorer(checkpoint, CORPUS, device="cuda", precision="bfloat16")
    replayed = [scorer.score(QUERY[:n], AD[:n]) for n in (40, 40, 17, 40)]
    assert scorer.packed is not None
    assert len(scorer.packed._graphs) == 2
    monkeypatch.setattr(packed, "GRAPH_TOKENS", 0)
    kernel_by_kernel = scorer.score(QUERY[:40], AD[:40])
    assert len(scorer.packed._graphs) == 2
    for again in (replayed[0], replayed[1], replayed[3]):
        np.testing.assert_allclose(again, kernel_by_kernel, atol=1e-3)


@pytest.mark.parametrize("home", ["host", "disk"])
def test_scores_do_not_depend_on_where_ads_are_kept(checkpoint: Any, home: Any) -> None:
    """Batches of one shape, of other ads each: a graph must not read those of the first."""
    on_device, elsewhere = (
        HcmrmScorer(checkpoint, CORPUS, device="cuda", precision="bfloat16", keep_on=place)
        for place in ("device", home)
    )
    for ad in range(0, N_ADS, 2):
        pairs = np.array([0, 0]), np.array([ad, ad + 1])
        np.testing.assert_allclose(elsewhere.score(*pairs), on_device.score(*pairs), atol=1e-3)


def test_pages_are_a_processors(checkpoint: Any) -> None:
    rng = np.random.default_rng(2)
    query = rng.integers(0, N_QUERIES, 40)
    candidate = np.where(rng.random((40, 9)) < 0.2, -1, rng.integers(0, N_ADS, (40, 9)))
    shape = candidate.shape
    known = rng.uniform(0.1, 3, shape), rng.uniform(0.01, 0.3, shape), rng.random(shape)
    given = (Product(), AuctionModel(reserve=0.2), (1.0, 0.6, 0.3), query, candidate, *known)
    here, there = (
        rank_on_device(HcmrmScorer(checkpoint, CORPUS, device=device), *given) for device in ("cpu", "cuda")
    )
    assert np.array_equal(here.ranking, there.ranking)
    for ours, theirs in zip(here[1:], there[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_live_on_a_gpu_is_its_table(checkpoint: Any, precision: Any) -> None:
    """A batch may move a score by its last digits, which may swap two ads that are nearly equal."""
    scorer = HcmrmScorer(checkpoint, CORPUS, device="cuda", precision=precision)
    market = corpus_market(N_QUERIES, N_ADS)
    row, column = np.nonzero(market.candidate >= 0)
    table = np.zeros(market.candidate.shape)
    table[row, column] = scorer.score(row, market.candidate[row, column])
    serving = ServingModel(batch_size=16, service_s=1.0, scoring="live")
    looked_up = simulate(replace(market, relevance=table, serving=replace(serving, scoring="table")))
    asked = simulate(replace(market, relevance=LiveScorer(scorer), serving=serving))
    assert looked_up.price_micros.sum() > 0
    same = min(looked_up.ad.size, asked.ad.size)
    assert abs(looked_up.ad.size - asked.ad.size) <= 0.01 * looked_up.ad.size
    assert np.mean(looked_up.ad[:same] == asked.ad[:same]) > 0.98
    np.testing.assert_allclose(asked.charged_micros.sum(), looked_up.charged_micros.sum(), rtol=0.02)
