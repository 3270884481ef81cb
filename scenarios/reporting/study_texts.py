"""How far a study is, and how long it takes, in words."""

from __future__ import annotations

from scenarios.reporting.words import duration
from scenarios.studies.estimate import Estimate
from scenarios.studies.study import Status


def status_text(status: Status) -> str:
    """`2.4/s, 3 min left, 1 failed`."""
    parts = []
    if (rate := status.rate_per_s) is not None:
        parts.append(f"{rate:.2g}/s" if rate >= 0.1 else f"{60 * rate:.2g} a minute")
    if status.left_s is not None:
        parts.append(f"{duration(status.left_s)} left")
    if status.failed:
        parts.append(f"{status.failed} failed")
    return ", ".join(parts)


def estimate_text(found: Estimate, workers: int, what: str = "point") -> str:
    """What a sweep or an experiment asks for, and how long that takes.

    Args:
        what: is simulated on each seed.
    """
    done = f", {found.done} of them done" if found.done else ""
    return (
        f"{_count(found.points, what)} x {_count(found.seeds, 'seed')} = {found.jobs:,} simulations{done}\n"
        f"About {duration(found.left_s(workers))} with {workers} processes at {found.job_s:.2g} s each,\n"
        f"after scoring {_count(found.worlds, 'world')} "
        f"with {', '.join(found.models)} where that is not done yet"
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' if n != 1 else ''}"
