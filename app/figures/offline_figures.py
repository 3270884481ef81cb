"""Figures of scorers offline. Tables are those of `app.parts.offline_scores`."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go
import polars as pl

from app.language import t_html as t
from app.texts import Html, html, plotted
from app.wording import grade_name, hover, scorer_name
from scenarios.reporting.figures import name_lines
from scenarios.reporting.theme import GRADE_COLOURS, OUTLINE, dotted, lay_out, marker, scorer_style

LARGEST, SMALLEST = 22.0, 6.0
"""Markers of a reliability diagram, in pixels."""


def reliability(table: pl.DataFrame) -> go.Figure:
    """Share of positive pairs against the prediction, one line per scorer; below, the pairs of each bin.

    A marker's area is its pairs, its whisker the 95% interval.
    """
    figure = go.Figure()
    name = t("lab.calibrated")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", name=name, hoverinfo="skip", line=dotted())
    most = int(table["count"].max() or 1)  # type: ignore[arg-type]
    scorers = table["scorer"].unique(maintain_order=True).to_list()
    for number, scorer in enumerate(scorers):
        rows, style, name = table.filter(scorer=scorer), scorer_style(scorer), html(scorer_name(scorer))
        ece = rows["expected_error"][0]
        figure.add_scatter(
            x=rows["predicted"],
            y=rows["observed"],
            mode="lines+markers",
            name=t("lab.with_ece" if math.isfinite(ece) else "lab.score", scorer=name, ece=ece),
            legendgroup=scorer,
            line={"color": style.colour, "width": 2},
            marker=marker(style, [max(SMALLEST, LARGEST * (count / most) ** 0.5) for count in rows["count"]]),
            error_y={
                "array": rows["at_most"] - rows["observed"],
                "arrayminus": rows["observed"] - rows["at_least"],
                "color": style.colour,
                "thickness": 1.5,
                "width": 3,
            },
            customdata=[
                [f"{row['count']:,}", f"{row['at_least']:.3f}", f"{row['at_most']:.3f}"]
                for row in rows.iter_rows(named=True)
            ],
            hovertemplate=hover(
                "lab.reliability_hover",
                Html(f"<b>{name}</b><br>"),
                said=plotted("x:.3f"),
                was=plotted("y:.3f"),
                low=plotted("customdata[1]"),
                high=plotted("customdata[2]"),
                pairs=plotted("customdata[0]"),
            ),
        )
        width = 0.08 / len(scorers)
        figure.add_bar(
            x=(rows["low"] + rows["high"]) / 2 + width * (number - (len(scorers) - 1) / 2),
            y=rows["count"],
            width=width,
            yaxis="y2",
            legendgroup=scorer,
            showlegend=False,
            marker_color=style.colour,
            hovertemplate=hover("lab.counts_hover", Html(f"<b>{name}</b><br>"), pairs=plotted("y:,")),
        )
    lay_out(figure, t("lab.reliability_title"), height=560, legend_y=-0.16)
    figure.update_xaxes(title=t("lab.reliability_x"), range=[-0.03, 1.03], zeroline=False, anchor="y2")
    figure.update_yaxes(title=t("lab.reliability_y"), range=[-0.04, 1.06], zeroline=False)
    figure.update_layout(
        yaxis={"domain": [0.26, 1.0]},
        yaxis2={"domain": [0.0, 0.18], "title": t("lab.counts_y"), "type": "log", "dtick": 1},
        barmode="overlay",
    )
    return figure


def score_distributions(table: pl.DataFrame, gaps: Mapping[str, float]) -> go.Figure:
    """Where the scores of each true grade lie: 5% to 95% as a line, half of them as a bar, the median.

    Args:
        gaps: by scorer, as of `scenarios.gap_of`; written beside its rows.
    """
    scorers = table["scorer"].unique(maintain_order=True).to_list()
    figure = go.Figure()
    for grade, colour in enumerate(GRADE_COLOURS):
        rows = table.filter(pl.col("grade") == grade)
        y = [scorers.index(scorer) + 0.19 * (grade - 1.5) for scorer in rows["scorer"]]
        name = f"{grade} {grade_name(grade)}"
        for low, high, width in (("q5", "q95", 2.5), ("q25", "q75", 9)):
            figure.add_scatter(
                x=[x for a, b in zip(rows[low], rows[high], strict=True) for x in (a, b, None)],
                y=[at for at in y for _ in range(3)],
                mode="lines", line={"color": colour, "width": width}, hoverinfo="skip", showlegend=False,
            )  # fmt: skip
        figure.add_scatter(
            x=rows["q50"],
            y=y,
            mode="markers",
            name=name,
            marker={"color": colour, "size": 12, "line": {"width": 1.5, "color": OUTLINE}},
            customdata=[
                [html(scorer_name(scorer)), f"{count:,}", f"{low:.3f}", f"{high:.3f}"]
                for scorer, count, low, high in rows.select("scorer", "count", "q5", "q95").iter_rows()
            ],
            hovertemplate=hover(
                "lab.distribution_hover", Html(f"<b>{plotted('customdata[0]')}</b>, {name}<br>"),
                median=plotted("x:.3f"), low=plotted("customdata[2]"), high=plotted("customdata[3]"),
                pairs=plotted("customdata[1]"),
            ),
            showlegend=True,
        )  # fmt: skip
    for place, scorer in enumerate(scorers):
        figure.add_annotation(
            x=1.02, xanchor="left", y=place, showarrow=False, font={"size": 12},
            text=t("lab.gap_short", gap=f"{gaps[scorer]:+.2f}".replace("-", "−")),
        )  # fmt: skip
    below = -80 / (90 * len(scorers) + 40)
    lay_out(figure, t("lab.distribution_title"), height=190 + 90 * len(scorers), legend_y=below)
    figure.update_xaxes(
        title=t("lab.distribution_x"),
        range=[-0.03, 1.2],
        tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1],
        zeroline=False,
    )
    name_lines(figure, (html(scorer_name(scorer)) for scorer in scorers))
    return figure
