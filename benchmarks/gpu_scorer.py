"""How fast HCMRM and the whole ranking stage are, compared with plain implementations.

    python -m benchmarks.gpu_scorer --out h100.json             # preset base on a GPU, in bfloat16
    python -m benchmarks.gpu_scorer --preset tiny --device cpu  # one thread of a processor, in float32
    python -m benchmarks.gpu_scorer --checkpoint shipped --device cpu  # pairs of the default scenario

With a preset, weights and data are random: queries of 2 to 6 tokens, 10 to 16 tokens of keywords, noise for
frames, 32 candidates a query, drawn by a Zipf law, so that some ads are frequent. Everything is measured in
one run, in alternating rounds. On a CPU the process's own time is measured, on a GPU the wall-clock time.
Tokens are joined, sorted and sent within that time; texts are numbers already.

Operations that are counted (a multiplication and an addition are two operations; padding, norms, softmaxes
and activations are not counted), for N tokens of a text, V tokens of an ad's frames, width d, visual width v,
and MLP width m:

    text layer           2 N (4 d^2 + 2 d m) + 4 N^2 d
    fusion layer         the same + 4 N d^2 + 4 N V d
    last fusion layer    [CLS] alone asks: 4 N d^2 + 2 (2 d^2 + 2 d^2 + 2 d m) + 4 N d + 4 V d
    frame markers        2 N (d + d^2)
    word markers         the same + 2 N^2 v
    keys and values      4 V v d for each ad of a batch and fusion layer; none where they are kept (on a GPU)

The share of the matrix rate is these operations per second, divided by the rate of the fastest of some square
matrix products on the same device in the same precision (float8: in bfloat16, too). What is kept of ads is
computed before; encoding frames is measured separately.

The plain implementation is transformers' ViTModel and BertModel with the same sizes and precision. It encodes
all frames and the text of every pair, padded to the longest text of a batch in the order of the queries. It
lacks HCMRM's convolutions, markers and layout token.

The cross-encoder (`--encoder`) is transformers' ModernBertModel in the shape of ModernBERT-base (149 million
parameters, random weights). It reads query and the ad's text as one sequence, without padding, with torch's
varlen_attn: once of HCMRM's own tokens, and once of whole texts of 56 to 88 tokens, since it has no frames.

Latency: queries arrive at random (Poisson) at a share of the rate of full batches, whether or not the earlier
ones are done. Waiting queries form a batch, up to its size, for score, fusion, slots and prices. It is the
wall-clock time from arrival to page.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import kendalltau
from torch.nn.attention.varlen import varlen_attn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel, ViTConfig, ViTModel

from benchmarks.gpu_files import commit
from relevance.corpus import Corpus
from relevance.hcmrm import HCMRM, SHIPPED, Checkpoint, HCMRMConfig, HcmrmScorer, packed
from relevance.hcmrm.device import device_name
from relevance.hcmrm.layers import Linear
from relevance.hcmrm.text import TokenTable, train_tokenizer
from relevance.keywords import TfIdfKeywords
from simulator.auction import AuctionModel
from simulator.fusion import Product
from simulator.stage import rank_on_device

CANDIDATES, SLOTS = 32, (1.0, 0.6, 0.3)
LOADS = (0.3, 0.6, 0.9)
COMPARED = 4096
"""Pairs whose ranks are compared with those in float32."""
BETWEEN = ("kernels", "torch", "compiled")
"""What computes between the products on a GPU: Triton, plain torch, or torch.compile of the latter."""


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


def some_queries(checkpoint: Checkpoint, corpus: Corpus, every: np.ndarray, n_queries: int) -> Data:
    """An even sample of a market's queries, with their candidates `every` [U, K]."""
    some = np.arange(min(n_queries, len(every))) * len(every) // min(n_queries, len(every))
    texts = tuple(corpus.query_text[i] for i in some.tolist())
    fewer = Corpus(texts, corpus.ad_title, corpus.ad_ocr, corpus.ad_asr, corpus.frames)
    return Data(checkpoint, fewer, None, every[some])


def scenario_data(folder: Path, n_queries: int, cache: Path) -> Data:
    """A trained checkpoint, and some of the default scenario's queries."""
    from scenarios import DEFAULT_SCENARIO, load_scenario, prepare

    prepared = prepare(load_scenario(DEFAULT_SCENARIO), cache=cache)
    return some_queries(Checkpoint.load(folder), prepared.world.corpus, prepared.candidate, n_queries)


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
    V = scorer.kept.of(ad[:1]).visual.shape[-2]
    N = scorer.length(query, ad).astype(float)
    text = 2 * N * (4 * d * d + 2 * d * m) + 4 * N * N * d
    fusion = text + 4 * N * d * d + 4 * N * V * d
    last = 4 * N * d * d + 2 * (4 * d * d + 2 * d * m) + 4 * N * d + 4 * V * d
    markers = (c.frame_markers + c.word_markers) * 2 * N * (d + d * d) + c.word_markers * 2 * N * N * v
    every = c.text_layers * text + (c.fusion_layers - 1) * fusion + last + markers
    kept = scorer.packed is not None
    ads = 0 if kept else sum(len(np.unique(ad[rows])) for rows in scorer.plan(query, ad))
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


class CrossEncoder:
    """ModernBERT's shape over texts one behind another, on a GPU."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        ALL_ATTENTION_FUNCTIONS.register("varlen", _varlen)
        self.model = ModernBertModel(ModernBertConfig(attn_implementation="varlen")).to(device, dtype).eval()
        self.device = device

    @torch.inference_mode()
    def __call__(self, length: np.ndarray, batch: int, rng: np.random.Generator) -> None:
        """Read texts of I[P] tokens, whose numbers are drawn."""
        for start in range(0, len(length), batch):
            some = length[start : start + batch]
            end = np.cumsum(some)
            place = np.arange(end[-1]) - np.repeat(end - some, some)
            ids = rng.integers(5, 50_000, end[-1])
            starts = torch.from_numpy(np.concatenate(([0], end)).astype(np.int32)).to(self.device)
            ids, place = (torch.from_numpy(x)[None].to(self.device) for x in (ids, place))
            hidden = self.model(
                input_ids=ids,
                position_ids=place,
                attention_mask={"full_attention": None, "sliding_attention": None},
                starts=starts,
                longest=int(some.max()),
            ).last_hidden_state
            hidden[0, starts[:-1]].float().cpu()


def _varlen(_: Any, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> tuple[Any, None]:
    """Attention within the texts of one row; all of them are shorter than ModernBERT's window."""
    q, k, v = (x[0].transpose(0, 1).contiguous() for x in (query, key, value))
    starts, longest = options["starts"], options["longest"]
    if q.is_cuda:
        return varlen_attn(q, k, v, starts, starts, longest, longest)[None], None
    return packed.attend_texts(q, k, v, starts, starts, (longest, longest))[None], None


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


def latencies(scorer: HcmrmScorer, data: Data, n: int, at_once: int, rng: np.random.Generator) -> Any:
    """The rate of full batches of so many queries, and the latencies at LOADS of it."""
    shape = data.candidate.shape
    bid, pctr, tie = rng.lognormal(0, 0.5, shape), rng.uniform(0.01, 0.1, shape), rng.random(shape)

    def stage(which: np.ndarray) -> Any:
        which = which % shape[0]
        known = (part[which] for part in (data.candidate, bid, pctr, tie))
        return rank_on_device(scorer, Product(), AuctionModel(), SLOTS, which, *known)

    for size in range(1, at_once + 1):  # shapes of all sizes are recorded before
        for _ in range(2):
            stage(rng.integers(0, shape[0], size))
    start, n_batches = time.perf_counter(), max(1, n // at_once)
    for number in range(n_batches):
        stage(number * at_once + np.arange(at_once))
    full = n_batches * at_once / (time.perf_counter() - start)
    loads = [
        {"load": load, **latency(stage, n, load * full, at_once, seed)} for seed, load in enumerate(LOADS)
    ]
    return {"full_queries_per_s": full, "latency": loads}


def measure(arguments: argparse.Namespace, data: Data | None = None) -> dict[str, Any]:
    """All figures of one run."""
    device, precision, clock = arguments.device, arguments.precision, Clock(arguments.device)
    rng = np.random.default_rng(0)
    others = "bfloat16" if clock.gpu else "float32"  # beside float8, whose products a processor only imitates
    dtype = getattr(torch, others if precision == "float8" else precision)
    if data is None and arguments.checkpoint:
        folder = SHIPPED if arguments.checkpoint == "shipped" else Path(arguments.checkpoint)
        data = scenario_data(folder, arguments.queries, Path("results"))
    data = data or random_data(arguments.preset, arguments.ads, arguments.queries, rng)
    options = {"device": device, "tables": data.tables}
    scorer = HcmrmScorer(data.checkpoint, data.corpus, precision=precision, batch=arguments.batch, **options)
    batch = arguments.batch or (8192 if clock.gpu else 256)
    if scorer.packed is not None and arguments.between != "kernels":
        scorer.packed.between = packed.IN_TORCH
        if arguments.between == "compiled":
            functions = (torch.compile(function, dynamic=True) for function in packed.IN_TORCH)
            scorer.packed.between = packed.Between(*functions)
    row, column = np.nonzero(data.candidate >= 0)
    query, ad = row, data.candidate[row, column]
    few = slice(0, max(256, len(query) // max(1, arguments.plain_share) // 256 * 256))

    ads = np.unique(ad)
    _ = scorer.kept
    frames_s = clock(lambda: [scorer.kept.at(ads[i : i + batch]) for i in range(0, len(ads), batch)])
    first_s = clock(lambda: scorer.score(query, ad))  # compiles where that is asked for
    works: dict[str, tuple[int, Callable[[], Any]]] = {
        "pairs_per_s": (len(query), lambda: scorer.score(query, ad))
    }
    if arguments.plain_share:
        plain, at_once = Plain(data, scorer, device, dtype), min(batch, 1024)
        works["plain_pairs_per_s"] = (
            len(query[few]), lambda: plain(query[few], ad[few], at_once)
        )  # fmt: skip
    if arguments.encoder:
        encoder = CrossEncoder(device, dtype)
        own = scorer.length(query, ad)[: max(8, len(query) // 16)]
        whole = rng.integers(56, 89, len(own))
        for name, length in (("", own), ("_whole", whole)):
            works[f"encoder{name}_pairs_per_s"] = (
                len(own), lambda length=length: encoder(length, min(batch, 2048), np.random.default_rng(0))
            )  # fmt: skip
    rounds: dict[str, list[float]] = {"matrix": [], **{name: [] for name in works}}
    for name, (_, work) in works.items():
        if name != "pairs_per_s":
            work()  # libraries choose and allocate on their first call
    for _ in range(arguments.rounds):
        rounds["matrix"].append(matrix_rate(clock, device, dtype))
        for name, (n, work) in works.items():
            rounds[name].append(n / clock(work))
    middle = {name: float(np.median(values)) for name, values in rounds.items()}
    matrix, ours = middle.pop("matrix"), middle["pairs_per_s"]
    needed = operations(scorer, query, ad) / len(query)
    compared = rng.permutation(len(query))[:COMPARED]
    exact = HcmrmScorer(data.checkpoint, data.corpus, **options)
    both = (one.score(query[compared], ad[compared]) for one in (scorer, exact))
    found = {
        "device": device_name(device), "preset": None if arguments.checkpoint else arguments.preset,
        "checkpoint": arguments.checkpoint, "precision": precision, "batch": batch,
        "between": arguments.between if scorer.packed is not None else None,
        "threads": None if clock.gpu else 1, "pairs": len(query), "ads": len(ads),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "commit": commit(),
        "ads_encoded_per_s": len(ads) / frames_s,
        "matrix_gflops": matrix / 1e9, "mflop_per_pair": needed / 1e6,
        "first_pairs_per_s": len(query) / first_s, **middle,
        **{f"times_{name.removesuffix('_pairs_per_s')}": ours / rate
           for name, rate in middle.items() if name != "pairs_per_s"},
        "share_of_matrix_rate": ours * needed / matrix,
        "rounds": rounds,
        "kendall_tau": float(kendalltau(*both).statistic),
    }  # fmt: skip
    if arguments.threads > 1:
        found["times_one_thread"] = times_one_thread(data, query, ad, arguments)
    if arguments.latency_queries:
        at_once = max(1, arguments.latency_batch // CANDIDATES)
        found |= latencies(scorer, data, arguments.latency_queries, at_once, rng)
    return found


def times_one_thread(data: Data, query: np.ndarray, ad: np.ndarray, arguments: argparse.Namespace) -> float:
    """How many times as fast so many threads of a processor score the pairs, by the clock on the wall."""
    rates: dict[int, list[float]] = {1: [], arguments.threads: []}
    scorers = {n: HcmrmScorer(data.checkpoint, data.corpus, tables=data.tables, threads=n) for n in rates}
    for one in scorers.values():
        one.score(query, ad)
    for _ in range(arguments.rounds):
        for n, one in scorers.items():
            start = time.perf_counter()
            one.score(query, ad)
            rates[n].append(1 / (time.perf_counter() - start))
    return float(np.median(rates[arguments.threads]) / np.median(rates[1]))


def parser() -> argparse.ArgumentParser:
    """The arguments of `measure`."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--preset", default="base", choices=("tiny", "small", "base"))
    made.add_argument("--checkpoint", help="a folder, or `shipped`: instead of a preset")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--precision", choices=("float32", "bfloat16", "float16", "float8"))
    made.add_argument("--between", choices=BETWEEN, default="kernels", help="on a GPU in half precision")
    made.add_argument("--batch", type=int, help="pairs; 256, or 8192 on a GPU")
    made.add_argument("--ads", type=int, default=512)
    made.add_argument("--queries", type=int, default=256)
    made.add_argument("--plain-share", type=int, default=8, help="the plain way scores 1 of so many pairs; 0")
    made.add_argument("--encoder", action="store_true", help="also time a text cross-encoder")
    made.add_argument("--latency-queries", type=int, default=500, help="0: no latencies")
    made.add_argument("--latency-batch", type=int, default=256, help="pairs of a full batch")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=1, help="of a processor, compared with one of them")
    made.add_argument("--out", type=Path)
    return made


def parse(line: list[str] | None = None) -> argparse.Namespace:
    """Arguments, with the usual precision of their device."""
    arguments = parser().parse_args(line)
    if arguments.precision is None:
        arguments.precision = "bfloat16" if arguments.device.startswith("cuda") else "float32"
    return arguments


def main() -> None:
    """Print the figures as JSON, and write them to --out."""
    arguments = parse()
    torch.set_num_threads(1)
    result = json.dumps(measure(arguments), indent=1)
    print(result)
    if arguments.out:
        arguments.out.write_text(result + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
