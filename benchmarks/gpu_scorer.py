"""How fast HCMRM and the whole ranking stage are, compared with a plain implementation.

    python -m benchmarks.gpu_scorer --out h100.json             # preset base on a GPU, in bfloat16
    python -m benchmarks.gpu_scorer --preset tiny --device cpu  # one thread of a processor, in float32
    python -m benchmarks.gpu_scorer --checkpoint shipped --device cpu  # pairs of the default scenario

With a preset, weights and data are random: queries of 2 to 6 tokens, 10 to 16 tokens of keywords, noise for
frames, 32 candidates a query, drawn by a Zipf law, so that some ads are frequent. Everything is measured in
one run, in alternating rounds. On a CPU the process's own time is measured, on a GPU the wall-clock time.

Operations that are counted (a multiplication and an addition are two operations; padding, norms, softmaxes
and activations are not counted), for N tokens of a text, V tokens of an ad's frames, width d, visual width v,
and MLP width m:

    text layer           2 N (4 d^2 + 2 d m) + 4 N^2 d
    fusion layer         the same + 4 N d^2 + 4 N V d
    last fusion layer    [CLS] alone asks: 4 N d^2 + 2 (2 d^2 + 2 d^2 + 2 d m) + 4 N d + 4 V d
    frame markers        2 N (d + d^2)
    word markers         the same + 2 N^2 v
    keys and values      4 V v d for each ad of a batch and fusion layer

The share of the matrix rate is these operations per second, divided by the rate of the fastest of some square
matrix products on the same device in the same precision. Visual tokens are computed before; encoding frames
is measured separately.

The plain implementation is transformers' ViTModel and BertModel with the same sizes and precision. It encodes
all frames and the text of every pair, padded to the longest text of a batch in the order of the queries. It
lacks HCMRM's convolutions, markers and layout token.

Latency: queries arrive at random (Poisson) at a share of the rate of full batches, whether or not the earlier
ones are done. Waiting queries form a batch, up to its size, for score, fusion, slots and prices. It is the
wall-clock time from arrival to page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import kendalltau
from transformers import BertConfig, BertModel, ViTConfig, ViTModel

from relevance.corpus import Corpus
from relevance.hcmrm import HCMRM, SHIPPED, Checkpoint, HCMRMConfig, HcmrmScorer
from relevance.hcmrm.device import device_name
from relevance.hcmrm.layers import Linear
from relevance.hcmrm.text import TokenTable, train_tokenizer
from relevance.keywords import TfIdfKeywords
from scenarios import DEFAULT_SCENARIO, load_scenario, prepare
from simulator.auction import AuctionModel
from simulator.fusion import Product
from simulator.stage import rank_on_device

CANDIDATES, SLOTS = 32, (1.0, 0.6, 0.3)
LOADS = (0.3, 0.6, 0.9)
ROUNDS = 3


class Data(NamedTuple):
    """A model, and queries [Q] with their candidates [Q, K], -1 padding."""

    checkpoint: Checkpoint
    corpus: Corpus
    tables: TokenTable | None
    candidate: np.ndarray


def random_data(preset: str, n_ads: int, n_queries: int, rng: np.random.Generator) -> Data:
    """A model of a preset with random weights, and a corpus without words: token numbers are drawn."""
    torch.manual_seed(0)
    config = HCMRMConfig.preset(preset)
    model = HCMRM(config).eval()
    size = config.image_size
    corpus = Corpus(
        query_text=("query",) * n_queries,
        ad_title=("ad",) * n_ads,
        ad_ocr=("",) * n_ads,
        ad_asr=("",) * n_ads,
        frames=rng.integers(0, 256, (n_ads, config.n_frames, size, size, 3), dtype=np.uint8),
    )

    def tokens(n: int, low: int, high: int) -> np.ndarray:
        length = rng.integers(low, high + 1, (n, 1))
        return np.where(np.arange(high) < length, rng.integers(5, config.vocab_size, (n, high)), 0)

    words = train_tokenizer(["query ad"], 50)
    popularity = rng.permutation(1.0 / np.arange(1, n_ads + 1))
    keys = np.log(rng.random((n_queries, n_ads))) / popularity  # Efraimidis and Spirakis: without replacement
    candidate = np.argsort(-keys, axis=1)[:, :CANDIDATES]
    return Data(
        Checkpoint(model, words, TfIdfKeywords.fit(["query ad"]), {}),
        corpus,
        TokenTable(tokens(n_queries, 2, 6), tokens(n_ads, 10, 16)),
        candidate,
    )


def scenario_data(folder: Path, n_queries: int, cache: Path) -> Data:
    """A trained checkpoint, and an even sample of the default scenario's queries."""
    prepared = prepare(load_scenario(DEFAULT_SCENARIO), cache=cache)
    every = prepared.candidate
    some = np.arange(min(n_queries, len(every))) * len(every) // min(n_queries, len(every))
    corpus = prepared.world.corpus
    texts = tuple(corpus.query_text[i] for i in some.tolist())
    fewer = Corpus(texts, corpus.ad_title, corpus.ad_ocr, corpus.ad_asr, corpus.frames)
    return Data(Checkpoint.load(folder), fewer, None, every[some])


class Clock:
    """Seconds of a call, on a processor those of the process."""

    def __init__(self, device: str) -> None:
        self.gpu = device.startswith("cuda")

    def __call__(self, work: Callable[[], Any]) -> float:
        now = time.perf_counter if self.gpu else time.process_time
        self.wait()
        start = now()
        work()
        self.wait()
        return now() - start

    def wait(self) -> None:
        if self.gpu:
            torch.cuda.synchronize()


def matrix_rate(clock: Clock, device: str, dtype: torch.dtype) -> float:
    """Operations a second of the fastest square matrix product, by whichever library is faster."""
    best = 0.0
    for n in (1024, 2048, 4096, 8192) if clock.gpu else (512, 1024, 2048):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        layer = Linear(n, n, bias=False).to(device, dtype)
        repeats = max(1, int((1e13 if clock.gpu else 2e10) / (2 * n**3)))

        def product(work: Callable[[], Any], repeats: int = repeats) -> None:
            for _ in range(repeats):
                work()

        for work in (lambda a=a, b=b: a @ b, lambda a=a, layer=layer: layer(a)):
            with torch.inference_mode():
                product(work, 1)
                seconds = min(clock(lambda work=work: product(work)) for _ in range(3))
            best = max(best, 2 * n**3 * repeats / seconds)
    return best


def operations(scorer: HcmrmScorer, query: np.ndarray, ad: np.ndarray) -> float:
    """Operations that scoring these pairs takes, by the formulas above."""
    c = scorer.model.config
    d, v, m = c.hidden_size, c.visual_size, c.intermediate_size
    V = scorer.kept.of(ad[:1]).visual.shape[1]
    N = scorer.length(query, ad).astype(float)
    text = 2 * N * (4 * d * d + 2 * d * m) + 4 * N * N * d
    fusion = text + 4 * N * d * d + 4 * N * V * d
    last = 4 * N * d * d + 2 * (4 * d * d + 2 * d * m) + 4 * N * d + 4 * V * d
    markers = (c.frame_markers + c.word_markers) * 2 * N * (d + d * d) + c.word_markers * 2 * N * N * v
    every = c.text_layers * text + (c.fusion_layers - 1) * fusion + last + markers
    ads = sum(len(np.unique(ad[rows])) for rows in scorer.plan(query, ad))
    return float(every.sum()) + 4 * V * v * d * c.fusion_layers * ads


class Plain:
    """Both encoders of transformers for every pair."""

    def __init__(self, data: Data, scorer: HcmrmScorer, device: str, dtype: torch.dtype) -> None:
        c = data.checkpoint.model.config
        vit = ViTConfig(
            hidden_size=c.visual_size, num_hidden_layers=c.visual_layers, num_attention_heads=c.visual_heads,
            intermediate_size=c.visual_intermediate_size, image_size=c.image_size, patch_size=c.patch_size,
        )  # fmt: skip
        bert = {
            "vocab_size": c.vocab_size, "hidden_size": c.hidden_size, "num_attention_heads": c.num_heads,
            "intermediate_size": c.intermediate_size, "type_vocab_size": c.token_types,
        }  # fmt: skip
        fuse = BertConfig(
            **bert, num_hidden_layers=c.fusion_layers, is_decoder=True, add_cross_attention=True
        )
        models = (
            ViTModel(vit, add_pooling_layer=False),
            BertModel(BertConfig(**bert, num_hidden_layers=c.text_layers), add_pooling_layer=False),
            BertModel(fuse, add_pooling_layer=False),
        )
        self.see, self.read, self.fuse = (model.to(device, dtype).eval() for model in models)
        self.data, self.scorer, self.dtype = data, scorer, dtype

    @torch.inference_mode()
    def __call__(self, query: np.ndarray, ad: np.ndarray, batch: int) -> None:
        for start in range(0, len(query), batch):
            part = slice(start, start + batch)
            ids, mask, kind = map(
                self.scorer.place, (p.numpy() for p in self.scorer.text(query[part], ad[part]))
            )
            frames = self.scorer.place(self.data.corpus.frames[ad[part]])
            p = len(frames)
            pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2).to(self.dtype) / 255 - 0.5) / 0.25
            visual = self.see(pixels).last_hidden_state.reshape(p, -1, self.see.config.hidden_size)
            x = self.read(input_ids=ids, attention_mask=mask, token_type_ids=kind).last_hidden_state
            fused = self.fuse(
                inputs_embeds=x, attention_mask=mask, encoder_hidden_states=visual, use_cache=False
            )
            fused.last_hidden_state[:, 0].float().cpu()


def latency(
    stage: Callable[[np.ndarray], Any], n: int, rate: float, at_once: int, seed: int
) -> dict[str, float]:
    """Milliseconds from arrival to page of `n` queries that arrive at `rate` a second."""
    rng = np.random.default_rng(seed)
    arrival = np.cumsum(rng.exponential(1 / rate, n))
    done, n_batches, head = np.empty(n), 0, 0
    start = time.perf_counter()
    while head < n:
        now = time.perf_counter() - start
        if arrival[head] > now:
            time.sleep(arrival[head] - now)
            now = time.perf_counter() - start
        tail = min(head + at_once, max(head + 1, int(np.searchsorted(arrival, now, side="right"))))
        stage(np.arange(head, tail))
        done[head:tail] = time.perf_counter() - start
        head, n_batches = tail, n_batches + 1
    p50, p99 = (1000 * np.quantile(done - arrival, (0.5, 0.99))).tolist()
    return {"queries_per_s": rate, "p50_ms": p50, "p99_ms": p99, "queries_in_a_batch": n / n_batches}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    device, precision, batch = arguments.device, arguments.precision, arguments.batch
    dtype, clock, rng = getattr(torch, precision), Clock(device), np.random.default_rng(0)
    if arguments.checkpoint:
        folder = SHIPPED if arguments.checkpoint == "shipped" else Path(arguments.checkpoint)
        data = scenario_data(folder, arguments.queries, Path("results"))
    else:
        data = random_data(arguments.preset, arguments.ads, arguments.queries, rng)
    options = {"device": device, "batch": batch, "tables": data.tables}
    exact = HcmrmScorer(data.checkpoint, data.corpus, **options)
    options |= {"texts_per_ad": arguments.texts_per_ad, "compiled": arguments.compiled}
    scorer = HcmrmScorer(data.checkpoint, data.corpus, precision=precision, **options)
    plain = Plain(data, scorer, device, dtype)
    row, column = np.nonzero(data.candidate >= 0)
    query, ad = row, data.candidate[row, column]
    few = slice(0, max(batch, len(query) // arguments.plain_share // batch * batch))

    ads = np.unique(ad)
    frames_s = clock(lambda: [scorer.kept.of(ads[i : i + batch]) for i in range(0, len(ads), batch)])
    plain(query[:batch], ad[:batch], batch)
    first_s = clock(lambda: scorer.score(query, ad))  # compiles where that is asked for
    rates: dict[str, list[float]] = {"matrix": [], "ours": [], "plain": []}
    for _ in range(ROUNDS):
        rates["matrix"].append(matrix_rate(clock, device, dtype))
        rates["ours"].append(len(query) / clock(lambda: scorer.score(query, ad)))
        rates["plain"].append(len(query[few]) / clock(lambda: plain(query[few], ad[few], batch)))
    matrix, ours, slow = (float(np.median(rates[name])) for name in ("matrix", "ours", "plain"))
    needed = operations(scorer, query, ad) / len(query)

    shape = data.candidate.shape
    bid, pctr, tie = rng.lognormal(0, 0.5, shape), rng.uniform(0.01, 0.1, shape), rng.random(shape)

    def stage(which: np.ndarray) -> Any:
        which = which % shape[0]
        known = (part[which] for part in (data.candidate, bid, pctr, tie))
        return rank_on_device(scorer, Product(), AuctionModel(), SLOTS, which, *known)

    at_once = max(1, batch // CANDIDATES)
    start = time.perf_counter()
    n_batches = max(1, arguments.latency_queries // at_once)
    for number in range(n_batches):
        stage(number * at_once + np.arange(at_once))
    full = n_batches * at_once / (time.perf_counter() - start)
    return {
        "device": device_name(device), "preset": None if arguments.checkpoint else arguments.preset,
        "checkpoint": arguments.checkpoint, "precision": precision, "batch": batch,
        "texts_per_ad": scorer.texts_per_ad, "compiled": arguments.compiled,
        "threads": None if clock.gpu else torch.get_num_threads(), "pairs": len(query), "ads": len(ads),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "commit": _commit(),
        "ads_encoded_per_s": len(ads) / frames_s,
        "matrix_gflops": matrix / 1e9, "mflop_per_pair": needed / 1e6,
        "first_pairs_per_s": len(query) / first_s, "pairs_per_s": ours, "plain_pairs_per_s": slow,
        "times_plain": ours / slow, "share_of_matrix_rate": ours * needed / matrix,
        "rounds": rates,
        "kendall_tau": float(kendalltau(scorer.score(query, ad), exact.score(query, ad)).statistic),
        "full_queries_per_s": full,
        "latency": [
            {"load": load, **latency(stage, arguments.latency_queries, load * full, at_once, seed)}
            for seed, load in enumerate(LOADS)
        ],
    }  # fmt: skip


def _commit() -> str | None:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def main() -> None:
    """Print the figures as JSON, and write them to --out."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="base", choices=("tiny", "small", "base"))
    parser.add_argument("--checkpoint", help="a folder, or `shipped`: instead of a preset")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--batch", type=int, default=256, help="pairs")
    parser.add_argument("--texts-per-ad", type=int)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--ads", type=int, default=512)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--plain-share", type=int, default=8, help="the plain way scores 1 of so many pairs")
    parser.add_argument("--latency-queries", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1, help="of a processor")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.precision is None:
        arguments.precision = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    torch.set_num_threads(arguments.threads)
    result = json.dumps(measure(arguments), indent=1)
    print(result)
    if arguments.out:
        arguments.out.write_text(result + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
