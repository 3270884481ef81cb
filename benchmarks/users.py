"""What users do: the tables of docs/users.md, `python -m benchmarks.users`.

Clicks by the three click models on a page of four relevant ads, and with an irrelevant one on top; and the
traffic of scenarios/retention.yaml by week, for scorers of relevance.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import scenarios
from scenarios import load_scenario, prepare, relevance_of, simulate
from simulator.users import CLICK_MODELS, UserModel, expected_examination, satisfaction

PAGES = {"four of grade 3": [3, 3, 3, 3], "grade 0 on top": [0, 3, 3, 3]}


def clicks() -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Of each click model and page: how likely each slot is looked at, and clicked."""
    found = {}
    for name in CLICK_MODELS:
        for page, grades in PAGES.items():
            model, grade = replace(UserModel(), click_model=name), np.array(grades, dtype=np.int8)
            attraction = np.asarray(model.attraction)[grade]
            looked = expected_examination(model, attraction, satisfaction(model, grade))
            found[name, page] = looked, looked * attraction
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=Path("results"), help="Frames and scores.")
    parser.add_argument("--scorers", nargs="+", default=["none", "bm25", "hcmrm", "oracle"])
    arguments = parser.parse_args()

    print("| click model | page | P(examined) by slot | P(click) by slot | clicks a page |")
    print("|---|---|---|---|---|")
    for (name, page), (looked, clicked) in clicks().items():
        cells = (" ".join(f"{p:.3f}" for p in row) for row in (looked, clicked))
        print(f"| {name} | {page} | {' | '.join(cells)} | {clicked.sum():.3f} |")

    scenario = load_scenario(Path(scenarios.__file__).parent / "retention.yaml")
    prepared = prepare(scenario, cache=arguments.cache)
    weeks = scenario.traffic.days // 7
    print(f"\n| ranked by | irrelevant | {' | '.join(f'week {w + 1}' for w in range(weeks))} | revenue |")
    print("|---|" + "---|" * (weeks + 2))
    for scorer in arguments.scorers:
        simulation = simulate(prepared, relevance_of(prepared, scorer, cache=arguments.cache))
        week = (simulation.log.arrival_s // (7 * scenario.traffic.horizon_s)).astype(np.int64)
        queries = " | ".join(f"{count:,}" for count in np.bincount(week, minlength=weeks))
        of = simulation.metrics
        print(f"| {scorer} | {100 * of['irrelevant_share']:.1f}% | {queries} | {of['revenue']:,.0f} |")


if __name__ == "__main__":
    main()
