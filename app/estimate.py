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
    *points, counted, time, scored = printed.splitlines()
    found = _ASKED.fullmatch("\n".join((counted, time, scored)))
    if found is None:  # of another version: as it is
        return "\n".join(points), f"{counted}. {time} {scored}."
    values: dict[str, Any] = found.groupdict()
    left = duration(float(values.pop("left")) * _SECONDS[values.pop("unit")])
    done = values.pop("done")
    models = ", ".join(scorer_name(name) for name in values.pop("models").split(", "))
    what = t(
        "sweeps.estimate_count", n=int(values.pop("seeds")), points=values["points"], total=values["all"]
    )
    if done is not None:
        what = t("sweeps.estimate_done", counted=what, done=done)
    return "\n".join(points), t(
        "sweeps.estimate",
        n=int(values["worlds"]),
        counted=what,
        time=left,
        workers=values["workers"],
        each=values["each"],
        models=models,
    )
