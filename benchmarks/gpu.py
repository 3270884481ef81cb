"""All that relbid measures on a GPU, in one command.

    python -m benchmarks.gpu --out gpu-results            # make gpu: at most eight minutes
    python -m benchmarks.gpu --small --out gpu-results    # the same steps in small, on a processor

The machine needs the folder of `make gpu-bundle`. Each step writes `<step>.json` when it is done, and
`gpu.md` anew, so what is finished is kept if the command is cut off. The steps, in order: pairs a second of
the preset base in bfloat16 (beside the plain way and a text cross-encoder; with latencies) and in float8; the
tests marked `gpu`; the default scenario live, with a profile of where the time goes; ranks of the trained
checkpoint in each precision; the other presets; torch.compile and plain torch between the products of the
preset base; and, in what is left of the time, a training of preset small.
"""

from __future__ import annotations

import argparse
import gc
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import kendalltau

from benchmarks.gpu_files import read, write_figures
from benchmarks.gpu_scorer import Clock, measure, parse, some_queries
from benchmarks.tables import Figures, gpu_tables
from relevance.hcmrm import SHIPPED, Checkpoint, HcmrmScorer
from simulator.clock.engine import simulate
from simulator.market import Market, ServingModel
from simulator.measures.market_metrics import market_metrics
from simulator.scoring import LiveScorer

BASE = ["--preset", "base", "--queries", "2048", "--plain-share", "16"]


class Setting(NamedTuple):
    """Where and how large."""

    device: str
    small: bool
    bundle: Path
    out: Path
    ends: float
    """Monotonic time at which the command should be done."""


def scorer(setting: Setting, *line: str) -> Figures:
    """A run of benchmarks.gpu_scorer; in small, of preset tiny with few pairs."""
    arguments = parse([*line, "--device", setting.device])
    if setting.small:
        small = {
            "queries": 4,
            "ads": 40,
            "preset": "tiny",
            "batch": 64,
            "rounds": 1,
            "latency_batch": 64,
        }
        arguments = argparse.Namespace(**(vars(arguments) | small))
        arguments.latency_queries = 4 if arguments.precision == "bfloat16" else 0
        if arguments.precision == "bfloat16":
            arguments.precision = "float32"
    return measure(arguments)


def base(setting: Setting) -> Figures:
    """Preset base in bfloat16, beside the plain way and a text cross-encoder."""
    return scorer(setting, *BASE, "--precision", "bfloat16", "--encoder")


def base_float8(setting: Setting) -> Figures:
    """Preset base, products in float8."""
    return scorer(setting, *BASE[:4], "--precision", "float8", "--plain-share", "0")


def base_torch(setting: Setting) -> Figures:
    """Preset base in bfloat16, plain torch between the products."""
    return _between(setting, "torch")


def base_compiled(setting: Setting) -> Figures:
    """Preset base in bfloat16, torch.compile between the products."""
    return _between(setting, "compiled")


def _between(setting: Setting, what: str) -> Figures:
    line = (*BASE[:4], "--precision", "bfloat16", "--plain-share", "0", "--latency-queries", "0")
    return scorer(setting, *line, "--between", what)


def small(setting: Setting) -> Figures:
    """Preset small in bfloat16."""
    return scorer(setting, "--preset", "small", "--queries", "2048", "--precision", "bfloat16")


def tiny(setting: Setting) -> Figures:
    """Preset tiny in bfloat16."""
    return scorer(setting, "--preset", "tiny", "--queries", "2048", "--precision", "bfloat16")


def tests(setting: Setting) -> Figures:
    """The tests marked `gpu`."""
    import pytest

    class Outcomes:
        def __init__(self) -> None:
            self.counts: dict[str, int] = {}

        def pytest_runtest_logreport(self, report: Any) -> None:
            if report.when == "call" or report.skipped or report.failed:
                self.counts[report.outcome] = self.counts.get(report.outcome, 0) + 1

    outcomes = Outcomes()
    code = pytest.main(["-q", "-m", "gpu", "tests/gpu", "-p", "no:cacheprovider"], plugins=[outcomes])
    if code not in (0, 5):
        raise AssertionError(f"tests marked gpu: {outcomes.counts}")
    return {"tests": outcomes.counts}


def ranks(setting: Setting) -> Figures:
    """Ranks of the default scenario's pairs by the trained checkpoint, against those on a processor."""
    data = read(setting.bundle / "market.xz")
    n_queries = 8 if setting.small else 256
    some = some_queries(Checkpoint.load(SHIPPED), data["corpus"], data["market"].candidate, n_queries)
    row, column = np.nonzero(some.candidate >= 0)
    pairs = row, some.candidate[row, column]
    expected = HcmrmScorer(some.checkpoint, some.corpus, threads=1 if setting.small else 8).score(*pairs)
    precisions = ["float32"] if setting.small else ["float32", "bfloat16", "float16", "float8"]
    tau = {}
    for precision in precisions:
        one = HcmrmScorer(some.checkpoint, some.corpus, device=setting.device, precision=precision)
        tau[precision] = float(kendalltau(one.score(*pairs), expected).statistic)
    return {"pairs": len(row), "kendall_tau": tau}


def live(setting: Setting) -> Figures:
    """The default scenario live: as fast as it goes, then at 60% of that rate with a measured clock."""
    data = read(setting.bundle / "market.xz")
    precision = "float32" if setting.small else "bfloat16"
    n = 500 if setting.small else 40_000
    market: Market = data["market"]
    market = replace(market, arrival_s=market.arrival_s[:n], query=market.query[:n])
    of_gpu = HcmrmScorer(Checkpoint.load(SHIPPED), data["corpus"], device=setting.device, precision=precision)
    at_once = replace(
        market, relevance=LiveScorer(of_gpu), serving=ServingModel(batch_size=64, scoring="live")
    )

    def run() -> Any:
        return simulate(at_once)

    clock = Clock(setting.device)
    first = clock(run)  # frames are encoded, and graphs recorded
    seconds = clock(run)
    some = replace(at_once, arrival_s=market.arrival_s[:5000], query=market.query[:5000])
    profile = _profile(lambda: simulate(some))
    rate = 0.6 * n / seconds
    horizon_s = n / rate
    steady = replace(  # the same queries at one rate, in so short a day
        market,
        arrival_s=np.sort(np.random.default_rng(0).uniform(0, horizon_s, n)),
        horizon_s=horizon_s,
        bidders=replace(market.bidders, pacing_tick_s=horizon_s / 24),
        relevance=LiveScorer(of_gpu),
        serving=ServingModel(batch_size=64, scoring="live", clock="measured", timeout_s=0.1),
    )
    metrics = market_metrics(simulate(steady), steady)
    names = (
        "latency_p50_s",
        "latency_p95_s",
        "latency_p99_s",
        "timeout_share",
        "utilisation",
        "served_per_s",
    )
    return {
        "queries": n, "candidates": market.candidate.shape[1], "batch": 64, "precision": precision,
        "queries_per_s": n / seconds, "first_queries_per_s": n / first, "offered_per_s": rate,
        "measured": {name: metrics[name] for name in names}, "profile": profile,
    }  # fmt: skip


def _profile(work: Callable[[], Any]) -> list[Figures]:
    """Where the time goes: the ten kernels, or operations of a processor, that take longest."""
    from torch.profiler import ProfilerActivity, profile

    gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    start = time.perf_counter()
    with profile(activities=kinds) as seen:
        work()
        if gpu:
            torch.cuda.synchronize()
    wall_ms = 1000 * (time.perf_counter() - start)

    def ms(event: Any) -> float:
        return (event.self_device_time_total if gpu else event.self_cpu_time_total) / 1000

    events = [event for event in seen.key_averages() if not gpu or event.device_type.name == "CUDA"]
    longest = sorted(events, key=ms, reverse=True)[:10]
    total = sum(map(ms, events))
    rows = [{"what": event.key[:80], "calls": event.count, "ms": ms(event)} for event in longest]
    return [{"what": "all kernels" if gpu else "all operations", "calls": 0, "ms": total},
            {"what": "the clock on the wall", "calls": 0, "ms": wall_ms}, *rows]  # fmt: skip


def training(setting: Setting) -> Figures:
    """A training of preset small on a part of the embedded world's graded corpus; its log."""
    from relevance.hcmrm.model_config import PRESETS
    from relevance.hcmrm.training.train import train
    from relevance.hcmrm.training.train_config import TrainConfig

    data = read(setting.bundle / "training.xz")
    steps = {"word_steps": 2, "align_steps": 2, "finetune_steps": 4, "validate_every": 2}
    if setting.small:
        steps |= {"ads_per_step": 4, "pairs_per_ad": 2, "align_batch": 8}
    else:
        steps = {"word_steps": 300, "align_steps": 300, "finetune_steps": 600, "validate_every": 150}
    config = TrainConfig(**steps, model=PRESETS["tiny" if setting.small else "small"], warm_up=2)
    log: list[Figures] = []
    start = time.monotonic()

    def report(progress: Any) -> None:
        if progress.validation is not None or progress.step % 50 == 0:
            values = asdict(progress) | {"seconds": round(time.monotonic() - start, 1)}
            log.append({key: value for key, value in values.items() if value is not None})
            _write(setting, "training", {"log": log, "ads": data.corpus.n_ads, "config": asdict(config)})
        if time.monotonic() > setting.ends:
            raise TimeoutError

    stopped = False
    try:
        train(data, setting.out / "small", config, device=setting.device, progress=report)
    except TimeoutError:
        stopped = True
    return {"log": log, "ads": data.corpus.n_ads, "config": asdict(config), "stopped": stopped}


STEPS: tuple[Callable[[Setting], Figures], ...] = (
    base, base_float8, tests, live, ranks, small, tiny, base_compiled, base_torch, training
)  # fmt: skip


def _write(setting: Setting, name: str, found: Figures) -> None:
    write_figures(setting.bundle, setting.device, setting.out / f"{name}.json", found)


def main() -> None:
    """Run the steps that are not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-results"))
    parser.add_argument("--bundle", type=Path, default=Path("gpu-bundle"))
    parser.add_argument("--small", action="store_true", help="in small, on a processor")
    parser.add_argument("--seconds", type=float, default=450.0, help="no step begins later than this")
    parser.add_argument("--only", nargs="+", choices=[step.__name__ for step in STEPS])
    arguments = parser.parse_args()
    if not (arguments.small or torch.cuda.is_available()):
        parser.error("torch finds no GPU here; --small runs the same steps on a processor")
    torch.set_num_threads(1 if arguments.small else 8)
    arguments.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    device = "cpu" if arguments.small else "cuda"
    setting = Setting(device, arguments.small, arguments.bundle, arguments.out, start + arguments.seconds)
    failed = []
    for step in STEPS:
        name = step.__name__
        if arguments.only and name not in arguments.only:
            continue
        if time.monotonic() > setting.ends:
            print(f"{name}: no time left", flush=True)
            continue
        begun = time.monotonic()
        try:
            found = step(setting)
        except Exception as error:  # the other steps continue
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"}
            failed.append(name)
        found["seconds"] = round(time.monotonic() - begun, 1)
        _write(setting, name, found)
        (setting.out / "gpu.md").write_text(gpu_tables(setting.out), encoding="utf-8")
        print(f"{name}: {found['seconds']} s, {time.monotonic() - start:.0f} s in all", flush=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    print((setting.out / "gpu.md").read_text(encoding="utf-8"))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
