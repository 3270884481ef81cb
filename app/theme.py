"""Colours and names of what the dashboard shows, safe for colour-blind eyes, on light and dark pages.

The colours are those of Okabe and Ito (2008), "Color Universal Design". Nothing is told by colour alone:
scorers have their own marker each, grades their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ORANGE, SKY_BLUE, GREEN = "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#808080"
"""Reads on white and on black."""

CHOSEN = VERMILLION
"""The point that the sliders have simulation."""

BETTER: Final = "blue"
WORSE: Final = "orange"
"""Streamlit's names of the colours of differences; green against red would be lost on many eyes."""


@dataclass(frozen=True, slots=True)
class ScorerStyle:
    """How a scorer is drawn; `wording.scorer_name` names it."""

    colour: str
    symbol: str


_SCORERS = {
    "none": ScorerStyle(GREY, "diamond"),
    "bm25": ScorerStyle(ORANGE, "square"),
    "hcmrm": ScorerStyle(BLUE, "circle"),
    "shipped": ScorerStyle(BLUE, "circle"),
    "pqvm": ScorerStyle(SKY_BLUE, "diamond"),
    "bce": ScorerStyle(PURPLE, "cross"),
    "oracle": ScorerStyle(GREEN, "triangle-up"),
}


def scorer_style(scorer: str) -> ScorerStyle:
    """The style of a scorer; a user's own ("module:attr") has one, too."""
    return _SCORERS.get(scorer) or ScorerStyle(PURPLE, "pentagon")


GRADE_COLOURS = (VERMILLION, ORANGE, SKY_BLUE, BLUE)
"""Of grades 0..3: warm for what users did not ask for, cool for what they did."""

ON_GRADE = ("#FFFFFF", "#111111", "#111111", "#FFFFFF")
"""Text on the colours of grades 0..3."""
