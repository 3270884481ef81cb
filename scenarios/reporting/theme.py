"""How figures look, in the dashboard and in reports: safe for colour-blind eyes, on light and dark pages.

A colour has one meaning, on all pages and in all reports:

    blue, light blue      better; ads that users asked for (grades 3 and 2)
    vermillion, orange    worse; ads that users did not ask for (grades 0 and 1), and limits that were hit
    pink                  what the reader has chosen: ranking B, the best point of a search
    grey                  what it is held against: ranking A, no relevance, limits and diagonals
    the others            tell scorers and other series apart, and say nothing else

Colour is never the only sign: a scorer has its own marker, a grade its number, a line its dash, a difference
its sign. Sources: Okabe and Ito 2008, "Color Universal Design", for the first four; for the series Brewer's
"Dark2" and Tol 2021, "Colour schemes".
"""

from __future__ import annotations

from typing import Any, NamedTuple

BLUE, SKY_BLUE, VERMILLION, ORANGE = "#0072B2", "#56B4E9", "#D55E00", "#E69F00"
PINK = "#CC79A7"
GREY = "#808080"
"""Reads on white and on black."""
INK, FAINT = "#222222", "#dddddd"
"""Text and grid of a picture that stands alone, on white."""
GREEN, BROWN, LAVENDER, TEAL = "#1B9E77", "#A6761D", "#7570B3", "#44AA99"

BETTER, WORSE = BLUE, VERMILLION
"""Differences."""
CHOSEN = PINK
"""Ranking B, or the point that the reader has chosen."""
REFERENCE = GREY
"""Ranking A, and whatever else something is held against."""

LINE_COLOURS = (GREEN, BROWN, LAVENDER, TEAL)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "pentagon")

GRADE_COLOURS = (VERMILLION, ORANGE, SKY_BLUE, BLUE)
"""Of grades 0..3: warm for what users did not ask for, cool for what they did."""

ON_GRADE = ("#111111", "#111111", "#111111", "#FFFFFF")
"""Text on the colours of grades 0..3: a contrast of 4.5 at least."""


def grade_colours(grade: int | None) -> tuple[str, str]:
    """The colour of a true grade, and of text on it; grey for one that is not known."""
    return (GREY, ON_GRADE[0]) if grade is None else (GRADE_COLOURS[grade], ON_GRADE[grade])


def on(colour: str) -> str:
    """The text colour that reads on a colour."""
    return "#FFFFFF" if colour in (BLUE, LAVENDER) else "#111111"


OUTLINE = "rgba(255,255,255,0.9)"
"""Around markers, so that overlapping ones can be told apart."""

QUIET = {"displayModeBar": False}
"""Plotly's configuration: no buttons over the figure."""


class Style(NamedTuple):
    """How the markers of one series look."""

    colour: str
    symbol: str


_SCORERS = {
    "none": Style(GREY, "diamond"),
    "bm25": Style(BROWN, "square"),
    "hcmrm": Style(GREEN, "circle"),
    "shipped": Style(GREEN, "circle"),
    "oracle": Style(LAVENDER, "triangle-up"),
}


def scorer_style(scorer: str) -> Style:
    """The style of a scorer; all plug-ins ("module:attr") share one."""
    return _SCORERS.get(scorer) or Style(TEAL, "pentagon")


def series_style(number: int) -> Style:
    """The style of a figure's series number (0, 1, …)."""
    return Style(LINE_COLOURS[number % len(LINE_COLOURS)], SYMBOLS[number % len(SYMBOLS)])


def line_style(number: int) -> dict[str, Any]:
    """The look of a figure's line number 0, 1, …: dash and colour both tell it apart."""
    return {"color": series_style(number).colour, "dash": DASHES[number % len(DASHES)], "width": 2.5}


def marker(style: Style, size: Any = 10, width: float = 1.0, **more: Any) -> dict[str, Any]:
    """A marker of a style, outlined; `size` is a number of pixels, or a list with one for each point."""
    return {
        "color": style.colour,
        "symbol": style.symbol,
        "size": size,
        "line": {"width": width, "color": OUTLINE},
        **more,
    }


def dotted(**more: Any) -> dict[str, Any]:
    """A thin dotted grey line, for limits and diagonals."""
    return {"color": GREY, "width": 1.5, "dash": "dot", **more}


def lay_out(figure: Any, title: str, height: int = 340, legend_y: float = -0.3, **more: Any) -> None:
    """Title, size and legend as all figures have them.

    The legend is below: above, on narrow pages, a legend of several lines would cover the title.

    Args:
        figure: of plotly.
        legend_y: the top of the legend, in heights of the plot above its lower edge.
        more: further properties of plotly's layout; those of `legend` are added.
    """
    legend = {"orientation": "h", "x": 0, "y": legend_y, "yanchor": "top", **more.pop("legend", {})}
    layout = {
        "margin": {"l": 10, "r": 10, "t": 60, "b": 10},
        "dragmode": False,
        "hovermode": "closest",
        **more,
    }
    figure.update_layout(title=title, height=height, legend=legend, **layout)
