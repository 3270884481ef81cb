"""A checkpoint on worlds that it was neither trained nor validated on, a line each.

    python -m benchmarks.fresh_worlds --worlds 201-208 [--checkpoint FOLDER] [--target 0.975]

The pairs are those of `relbid evaluate --worlds SEED`, split test: up to 1,500 queries and 300 advertisers of
a world, with frames of full size. The first time a world is drawn takes half a minute of a core, its scores
another ten seconds. With `--scenario FILE`, texts and frames look as in that scenario's world. Ends with 1
where an AUC is below the target.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import stats

from relevance.hcmrm import SHIPPED, HcmrmScorer
from relevance.hcmrm.device import use_device
from relevance.metrics import evaluate
from scenarios.errors import UserError
from scenarios.markets.checkpoints import checkpoint_hash, doubts
from scenarios.models.labelled import evaluation_corpus, graded_pairs_of, training_worlds
from simulator.world import LabelledWorlds

METRICS = {"AUC": "auc", "3 vs 2": "auc_3_2", "1 vs 0": "auc_1_0", "NDCG@10": "ndcg_10"}


def main() -> None:
    """Print a line for each world, then mean, standard deviation and least over worlds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", default="201-208", help="seeds, as 201-208 or 7,9")
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--scenario", type=Path, help="whose world says what texts and frames look like")
    parser.add_argument("--cache", type=Path, default=Path("results"), help="where frames are kept")
    parser.add_argument("--target", type=float, default=0.975, help="least AUC of a world")
    arguments = parser.parse_args()
    try:
        print(f"checkpoint {arguments.checkpoint.name}, {checkpoint_hash(arguments.checkpoint)}")
        worlds = training_worlds(None, arguments.worlds, None, arguments.scenario)
        missed = measure(arguments.checkpoint, worlds, arguments.cache, arguments.target)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    sys.exit(bool(missed))


def measure(checkpoint: Path, worlds: LabelledWorlds, cache: Path, target: float) -> list[int]:
    """Print the table; returns the worlds whose AUC is below the target."""
    use_device("cpu", 1)
    seeds, scored, seconds = worlds.seeds, 0, 0.0
    for doubt in doubts(checkpoint, seeds, worlds.config):
        print(doubt)
    print(f"{'world':>9} {'pairs':>7} {'queries':>7} " + " ".join(f"{name:>8}" for name in METRICS))
    rows = []
    for seed in seeds:
        data = evaluation_corpus(cache, (seed,), config=worlds.config)
        labels = graded_pairs_of(data, "test")
        scorer, started = HcmrmScorer.load(data.corpus, checkpoint), time.process_time()
        score = scorer.score(labels.query, labels.ad)
        scored, seconds = scored + len(labels), seconds + time.process_time() - started
        metrics = evaluate(labels.query, labels.grade, score).as_dict()
        rows.append([metrics[name] for name in METRICS.values()])
        print(f"{seed:>9} {len(labels):>7,} {np.unique(labels.query).size:>7,} {_line(rows[-1])}", flush=True)
    table = np.array(rows)
    print(f"{'mean':>25} {_line(table.mean(axis=0))}")
    if len(rows) > 1:
        print(f"{'standard deviation':>25} {_line(table.std(axis=0, ddof=1))}")
        half = stats.t.ppf(0.975, len(rows) - 1) * stats.sem(table, axis=0)
        print(f"{'95% interval of the mean':>25} {_line(table.mean(axis=0) - half)}")
        print(f"{'':>25} {_line(table.mean(axis=0) + half)}")
    print(f"{'least':>25} {_line(table.min(axis=0))}")
    print(f"{scored / seconds:,.0f} pairs a second of one core, encoding of frames included")
    missed = [seed for seed, row in zip(seeds, rows, strict=True) if row[0] < target]
    said = f"missed by {', '.join(map(str, missed))}" if missed else "met by all"
    print(f"target: AUC of at least {target:g}, {said}")
    return missed


def _line(values: list[float] | np.ndarray) -> str:
    return " ".join(f"{value:8.4f}" for value in values)


if __name__ == "__main__":
    main()
