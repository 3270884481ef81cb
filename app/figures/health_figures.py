"""Figures of two rankings, A and B, on one scale: a mark for each, and its interval over days."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from app.language import t_html as t
from app.parts.health import Held, change, figure_name, written
from app.texts import Html, plotted
from app.wording import hover
from scenarios import is_share, t_interval
from scenarios.reporting.theme import CHOSEN, GREY, REFERENCE, Style, lay_out, marker

_SIDES = (("A", Style(REFERENCE, "diamond"), 0.13), ("B", Style(CHOSEN, "circle"), -0.13))


def held(figures: Sequence[Held], title: str, axis: str) -> go.Figure:
    """One row a figure: A above B, each with the 95% interval of its mean over days.

    Args:
        figures: of one unit.
        axis: the title of the horizontal axis.
    """
    drawn = go.Figure()
    for side, style, shift in _SIDES:
        means = [t_interval(one.a if side == "A" else one.b) for one in figures]
        scales = [100.0 if is_share(one.name) else 1.0 for one in figures]
        drawn.add_scatter(
            x=[scale * mean[0] for scale, mean in zip(scales, means, strict=True)],
            y=[place - shift for place in range(len(figures))],
            mode="markers",
            name=side,
            marker=marker(style, 13),
            error_x={
                "array": [scale * (mean[2] - mean[0]) for scale, mean in zip(scales, means, strict=True)],
                "color": style.colour,
                "thickness": 2,
                "width": 4,
            },
            customdata=[
                [figure_name(one.name), written(one.name, mean[0]), change(one)]
                for one, mean in zip(figures, means, strict=True)
            ],
            hovertemplate=hover(
                "health.hover", Html(f"<b>{side}</b>, "), name=plotted("customdata[0]"),
                value=plotted("customdata[1]"), change=plotted("customdata[2]"),
            ),
        )  # fmt: skip
    lay_out(drawn, title, height=150 + 46 * len(figures), legend_y=-70 / (46 * len(figures) + 40))
    drawn.update_xaxes(title=axis, rangemode="tozero", zeroline=True, zerolinecolor=GREY)
    drawn.update_yaxes(
        tickvals=list(range(len(figures))),
        ticktext=[figure_name(one.name) for one in figures],
        range=[len(figures) - 0.5, -0.5],
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    if figures and is_share(figures[0].name):
        drawn.update_xaxes(ticksuffix="%")
    return drawn


def titles() -> tuple[str, str, str]:
    """Titles of the three figures of the page."""
    return t("health.shares_title"), t("health.numbers_title"), t("health.returns_title")
