"""How reports write names and numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePath

from relevance.pretrained import pretrained_of
from scenarios.studies.estimate import Estimate
from scenarios.studies.study import Status
from simulator.measures.market_metrics import is_share

Format = Callable[[float], str]

_SCORERS = {"none": "no relevance", "bm25": "BM25", "hcmrm": "HCMRM", "minilm": "MiniLM"}


def scorer_name(scorer: str) -> str:
    """A scorer's name as tables have it: a plug-in's is `module:attr`, a public model's is its folder's."""
    if scorer not in _SCORERS and (found := pretrained_of(scorer)) is not None:
        form, place = found
        return f"{PurePath(place).name} ({form.replace('_', '-')})"
    return _SCORERS.get(scorer, scorer)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def amount(metric: str, value: float) -> str:
    """A metric, shares in per cent."""
    if is_share(metric):
        return f"{100 * value:.2f}%"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"


def percent(value: float) -> str:
    """`12.3%`."""
    return f"{100 * value:.1f}%"


def change(value: float) -> str:
    """`+12.3%`."""
    return f"{100 * value:+.1f}%"


def number(value: float) -> str:
    """`12.35`."""
    return f"{value:.2f}"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds, without the unit."""
    return f"{1000 * seconds:.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def cell(value: float | None, form: Format) -> str:
    """A number in a form; `-` where there is none."""
    return "-" if value is None or math.isnan(value) else form(value)


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
