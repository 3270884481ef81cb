"""What a checkpoint binds: AUC of grade 3 against 2 by what queries ask for.

.venv/bin/python -m benchmarks.attributes [--checkpoint FOLDER] [--split test]

The test split's queries for products that no label named are left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from relevance.hcmrm import SHIPPED, HcmrmScorer
from relevance.metrics import auc_between
from simulator.world import WorldConfig, build_world, label_pairs


def main() -> None:
    """Print a line for each kind of query."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, default=SHIPPED)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    arguments = parser.parse_args()
    world = build_world(WorldConfig(), arguments.split)
    query, ad, grade = label_pairs(world, 5, np.random.default_rng(0))
    known = ~world.query_is_held_out[query]
    query, ad, grade = query[known], ad[known], grade[known]
    score = HcmrmScorer.load(world.corpus, arguments.checkpoint).score(query, ad)
    colour, brand = world.truth.query_colour[query] >= 0, world.truth.query_brand[query] >= 0
    kinds = {"a colour": colour & ~brand, "a brand": brand & ~colour, "both": colour & brand}
    for name, asked in kinds.items():
        value = auc_between(query[asked], grade[asked], score[asked], 3, 2)
        print(f"queries that ask for {name:9} {asked.sum():6,} pairs   AUC of 3 against 2: {value:.3f}")


if __name__ == "__main__":
    main()
