"""AUC of grade 3 against 2 by the kind of query, and AUC of a checkpoint's frame markers.

.venv/bin/python -m benchmarks.attributes [--checkpoint FOLDER] [--split test] [--world 7]

The first leaves out queries for products that no label named: those of the checkpoint's fold, if it has one,
in the test split. The second shows them separately: there a pair's score is the largest frame marker among
its query's tokens, and the AUC is that of grades 2 and 3 against 1, and against 0.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from relevance.corpus import SPLITS, Corpus
from relevance.hcmrm import SHIPPED, HcmrmScorer
from relevance.hcmrm.text import SPECIAL_TOKENS
from relevance.metrics import auc, auc_between
from scenarios.markets.checkpoints import trained_on
from simulator.arrays import FloatArray, IntArray
from simulator.world import build_world, graded_pairs
from simulator.world.labels import EVALUATION_SEED, LABELLED_WORLD

BATCH = 256


def main() -> None:
    """Print a line for each kind of query."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--world", type=int, default=EVALUATION_SEED, help="seed")
    arguments = parser.parse_args()
    world = build_world(replace(LABELLED_WORLD, seed=arguments.world), arguments.split)
    labels = graded_pairs(world, arguments.split, fold=trained_on(arguments.checkpoint).fold)
    query, ad, grade = labels.query, labels.ad, labels.grade
    known = labels.split != SPLITS.index("held_out")
    scorer = HcmrmScorer.load(world.corpus, arguments.checkpoint)
    q, a, g = query[known], ad[known], grade[known]
    score = scorer.score(q, a)
    colour, brand = world.truth.query_colour[q] >= 0, world.truth.query_brand[q] >= 0
    kinds = {"a colour": colour & ~brand, "a brand": brand & ~colour, "both": colour & brand}
    for name, asked in kinds.items():
        value = auc_between(q[asked], g[asked], score[asked], 3, 2)
        print(f"queries that ask for {name:9} {asked.sum():6,} pairs   AUC of 3 against 2: {value:.3f}")
    if not scorer.model.config.frame_markers:
        return
    marker = largest_frame_marker(scorer, world.corpus, query, ad)
    for name, part in {"products with labels": known, "products without": ~known}.items():
        if part.any():
            against = []
            for low in (1, 0):
                pair = part & ((grade >= 2) | (grade == low))
                against.append(f"{low}: {auc(grade[pair] >= 2, marker[pair]):.3f}")
            print(f"frame markers, {name:20} {part.sum():6,} pairs   AUC against {', '.join(against)}")


@torch.inference_mode()
def largest_frame_marker(scorer: HcmrmScorer, corpus: Corpus, query: IntArray, ad: IntArray) -> FloatArray:
    """The largest frame marker among the tokens of the query, for each of P pairs: [P]."""
    found = []
    for start in range(0, len(query), BATCH):
        part = slice(start, start + BATCH)
        text, ads = scorer.text(query[part], ad[part]), ad[part]
        frames = torch.from_numpy(np.ascontiguousarray(corpus.frames[ads]))
        marks = scorer.model.marks(text, scorer.model.visual_tokens(frames), torch.arange(len(ads)))
        asked = (text.token_type % 2 == 0) & (text.input_ids >= len(SPECIAL_TOKENS))
        found.append(marks["frames"].masked_fill(~asked, -np.inf).amax(dim=1).double().numpy())
    return np.concatenate(found)


if __name__ == "__main__":
    main()
