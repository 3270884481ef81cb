"""What figures share: margins, legends and the look of lines that stand side by side."""

from __future__ import annotations

import plotly.graph_objects as go

from app.theme import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILLION

LINE_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY_BLUE, VERMILLION)
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "pentagon")

LEGEND_BELOW = {"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"}
"""On narrow pages a legend of several lines would cover a title, but has room below."""

OUTLINE = "rgba(255,255,255,0.9)"
"""Around markers, so that those that overlap are told apart."""

QUIET = {"displayModeBar": False}
"""Plotly's configuration: no buttons over the figure."""


def line_style(number: int) -> dict[str, object]:
    """The look of a figure's line number 0, 1, …: told apart by dash as well as by colour."""
    return {
        "color": LINE_COLOURS[number % len(LINE_COLOURS)],
        "dash": DASHES[number % len(DASHES)],
        "width": 2.5,
    }


def lay_out(figure: go.Figure, title: str, height: int = 340) -> None:
    """Title, size and legend as all figures have them."""
    figure.update_layout(
        title=title,
        height=height,
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        legend=LEGEND_BELOW,
        dragmode=False,
        hovermode="closest",
    )
