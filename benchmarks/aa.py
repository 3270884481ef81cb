"""How often the interval of an A/A experiment misses zero, where there is nothing to find.

    python -m benchmarks.aa

Both arms have the same settings, and differ by their users' luck and traffic alone: by the split's coin, or
by seeds of their own. Every experiment takes seeds that no other one takes. At 95% about 5% of them find
something; for 1,000 of them, 3.5% to 6.5% is to be expected. (On common random numbers identical arms differ
by exactly nothing.)
"""

import argparse
import math
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from scenarios.experiment import run_experiment
from scenarios.experiment_schema import Experiment, Plan, load_experiment
from scenarios.statistics import Estimate, compare

EXPERIMENT = Path(__file__).parent / "aa.yaml"
METRICS = ("revenue_rpm", "irrelevant_share", "user_utility_rpm")


def main() -> None:
    """Print, by design and metric, the share of A/A experiments whose intervals miss zero."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=8, help="in each experiment")
    parser.add_argument("--out", type=Path, default=None, help="keeps replicates, so that it can go on")
    arguments = parser.parse_args()
    n, seeds = arguments.experiments, arguments.seeds
    plan = load_experiment(EXPERIMENT, seeds=n * seeds)
    start = time.perf_counter()

    def report(stage: str, done: int, total: int) -> None:
        if stage == "replicates" and done % max(total // 10, 1) == 0:
            print(f"{done:,} of {total:,} replicates, {time.perf_counter() - start:.0f} s", flush=True)

    result = run_experiment(bare(plan), cache=arguments.out, progress=report)
    print(f"{n:,} A/A experiments of {seeds} seeds; share of 95% intervals that miss zero")
    print(f"{'design':14}{'metric':26}{'t':>8}{'boot':>8}{'t, change':>12}{'boot, change':>14}")
    for design in plan.experiment.design:
        rows = result.replicates.filter(design=design)
        for metric in METRICS:
            a, b = (rows.filter(arm=arm)[metric].to_numpy().reshape(n, seeds) for arm in plan.arms)
            found = [compare(x, y) for x, y in zip(a, b, strict=True)]
            shares = [
                np.mean([missed(estimate, kind) for estimate in estimates])
                for estimates in ([f.difference for f in found], [f.change for f in found])
                for kind in ("t", "boot")
            ]
            t, boot, t_change, boot_change = (f"{100 * share:.1f}%" for share in shares)
            print(f"{design:14}{metric:26}{t:>8}{boot:>8}{t_change:>12}{boot_change:>14}", flush=True)
    error = 100 * math.sqrt(0.05 * 0.95 / n)
    print(f"standard error of a share: {error:.1f}%; {time.perf_counter() - start:.0f} s")


def bare(plan: Plan) -> Plan:
    """The plan with the summary of its thousands of seeds kept short."""
    experiment: Experiment = plan.experiment.model_copy(update={"metrics": METRICS[:1]})
    return Plan(experiment, plan.scenario, plan.arms)


def missed(estimate: Estimate, kind: str) -> bool:
    """Whether an interval lies wholly on one side of zero."""
    low, high = getattr(estimate, f"{kind}_low"), getattr(estimate, f"{kind}_high")
    return bool(low > 0 or high < 0)


if __name__ == "__main__":
    main()
