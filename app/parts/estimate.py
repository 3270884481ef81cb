"""What a sweep asks for, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.language import t
from app.wording import duration, scorer_name


def in_words(estimate: Mapping[str, Any]) -> str:
    """What `relbid sweep --dry-run --progress FILE` leaves as `found.estimate`, in words."""
    counted = t(
        "sweeps.estimate_count",
        n=estimate["seeds"],
        points=f"{estimate['points']:,}",
        total=f"{estimate['points'] * estimate['seeds']:,}",
    )
    if estimate["done"]:
        counted = t("sweeps.estimate_done", counted=counted, done=f"{estimate['done']:,}")
    return t(
        "sweeps.estimate",
        n=estimate["worlds"],
        counted=counted,
        models=", ".join(map(scorer_name, estimate["models"])),
        time=duration(estimate["left_s"]),
        workers=estimate["workers"],
        each=f"{estimate['job_s']:.2g}",
    )
