"""Every fusion rule under every mechanism on the default market: `python -m benchmarks.auctions`.

Prints docs/auctions.md's table: 20,000 of the default scenario's queries, ranked with HCMRM's relevance. Bids
are the same in every row: nobody reacts to the mechanism.
"""

from pathlib import Path

from scenarios import DEFAULT_SCENARIO, load_scenario, prepare, relevance_of, simulate
from simulator.auction import MECHANISMS
from simulator.fusion import RULES, is_affine

QUERIES = 20_000


def main() -> None:
    """Print revenue per thousand queries and the share of irrelevant ads as a Markdown table."""
    cache = Path("results")
    prepared = prepare(load_scenario(DEFAULT_SCENARIO), cache=cache)
    hcmrm = relevance_of(prepared, "hcmrm", cache=cache)
    print("| rule | irrelevant | GSP | VCG | first price | GSP, per impression |\n|---|---|---|---|---|---|")
    without = {"fusion.relevance": 0.0}
    rows = {"product, relevance 0": without, **{name: {"fusion": {"rule": name}} for name in RULES}}
    for name, fusion in rows.items():
        cells, share = [], 0.0
        for mechanism, payment in [*((m, "click") for m in MECHANISMS), ("gsp", "impression")]:
            if mechanism == "vcg" and fusion is not without and not is_affine(RULES[name]()):
                cells.append("refused")
                continue
            auction = {"auction.mechanism": mechanism, "auction.payment": payment}
            settings = {"sweep": None, **fusion, **auction}
            metrics = simulate(prepared, hcmrm, settings, n_queries=QUERIES).metrics
            cells.append(f"{metrics['revenue_rpm']:.1f}")
            share = metrics["irrelevant_share"] if (mechanism, payment) == ("gsp", "click") else share
        print(f"| {name} | {100 * share:.1f}% | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
