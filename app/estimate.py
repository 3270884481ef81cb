"""What a sweep asks for, in the reader's language, from what `relbid sweep --dry-run` has printed."""

from __future__ import annotations

import re
from typing import Any

from app.language import t
from app.wording import duration, scorer_name

_ASKED = re.compile(
    r"(?P<points>[\d,]+) points x (?P<seeds>\d+) seeds? = (?P<all>[\d,]+) simulations"
    r"(?:, (?P<done>\d+) of them done)?\n"
    r"About (?P<left>[\d.]+) (?P<unit>s|min|h) with (?P<workers>\d+) processes at (?P<each>\S+) s each,\n"
    r"after scoring (?P<worlds>\d+) worlds? with (?P<models>.+) where that is not done yet"
)
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def in_words(printed: str) -> tuple[str, str]:
    """(The points, one a line; what they ask for, in words) of what `relbid sweep --dry-run` has printed."""
    lines = printed.splitlines()
    points, asked = "\n".join(lines[:-3]), lines[-3:]
    found = _ASKED.fullmatch("\n".join(asked))
    if found is None:  # of another version: as it is
        return points, " ".join(asked)
    said: dict[str, Any] = found.groupdict()
    models = ", ".join(map(scorer_name, said["models"].split(", ")))
    time = duration(float(said["left"]) * _SECONDS[said["unit"]])
    counted = t("sweeps.estimate_count", n=int(said["seeds"]), points=said["points"], total=said["all"])
    if said["done"] is not None:
        counted = t("sweeps.estimate_done", counted=counted, done=said["done"])
    pace = {"time": time, "workers": said["workers"], "each": said["each"]}
    return points, t("sweeps.estimate", n=int(said["worlds"]), counted=counted, models=models, **pace)
