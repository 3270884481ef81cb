"""The figure of a replay: what each way to rank would have earned, against its irrelevant ads."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from app.language import t_html as t
from app.texts import Html, html, plotted
from app.wording import MISSING, hover, scorer_name
from scenarios import SCORERS
from scenarios.reporting.theme import REFERENCE, Style, lay_out, marker, scorer_style, series_style


def earned(rows: pl.DataFrame) -> go.Figure:
    """Revenue of each way to rank with its standard error, and what the log earned.

    Args:
        rows: as of `app.parts.replayed.rows_of`: first the log, then each way. Where no share of irrelevant
            ads is known, the ways stand side by side.
    """
    graded = rows["irrelevant"].drop_nulls().len() == rows.height
    figure = go.Figure()
    for number, ((scorer,), own) in enumerate(rows.group_by("scorer", maintain_order=True)):
        logged = scorer is None
        named = t("replayed.log") if logged else html(scorer_name(str(scorer)))
        style = Style(REFERENCE, "diamond") if logged else _style(str(scorer), number)
        figure.add_scatter(
            x=own["irrelevant"] if graded else [_rule(rule) for rule in own["rule"]],
            y=own["revenue"],
            mode="markers+text" if graded else "markers",
            text=[html(rule or "") for rule in own["rule"]],
            textposition="top center",
            name=named,
            marker=marker(style, 13 if logged else 11),
            error_y={"array": own["error"], "color": style.colour, "thickness": 1.5, "width": 4},
            customdata=[[_rule(row["rule"]), _amount(row["error"])] for row in own.to_dicts()],
            hovertemplate=hover(
                "replayed.hover", Html(f"<b>{named}</b> "), rule=plotted("customdata[0]"),
                revenue=plotted("y:,.2f"), error=plotted("customdata[1]"),
            ),
        )  # fmt: skip
    title = t("replayed.figure_title" if graded else "replayed.figure_title_ungraded")
    lay_out(figure, title, height=460, legend_y=-0.2)
    across = t("trade_off.figure_x" if graded else "replayed.column_rule")
    figure.update_xaxes(title=across, zeroline=False)
    figure.update_yaxes(title=t("trade_off.figure_y"), zeroline=False)
    return figure


def _style(scorer: str, number: int) -> Style:
    """A column of the table that is no scorer of ours has the style of its series."""
    return scorer_style(scorer) if scorer in (*SCORERS, "shipped") else series_style(number)


def _rule(rule: str | None) -> Html:
    return html(rule) if rule else t("replayed.log")


def _amount(error: float | None) -> str:
    return MISSING if error is None else f"{error:,.2f}"
