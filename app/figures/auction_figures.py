"""Figures of one query's ranking, and of two rankings of it."""

from __future__ import annotations

import math

import numpy as np
import plotly.graph_objects as go
import polars as pl
from numpy.typing import NDArray

from app.language import t_html as t
from app.texts import html, plotted
from app.wording import numbered_grade
from scenarios.reporting.theme import GRADE_COLOURS, GREY, OUTLINE, dotted, grade_colours, lay_out

FloatArray = NDArray[np.float64]

DEEPEST = 10
"""Ranks that are drawn, at least; further ones only of ads that either ranking shows."""

LONGEST = 17
"""Characters of a title beside the figure."""


def ranking(
    auction: pl.DataFrame,
    *,
    exponent: float | None,
    threshold: float = 0.0,
    bid_exponent: float = 1.0,
    pctr_exponent: float = 1.0,
) -> go.Figure:
    """One query's candidates: what an ad offers against how relevant the scorer says it is.

    The fused score is offer x relevance^exponent, so ads on one curve score alike; the drawn curve is that of
    the last shown ad, and everything to its right is shown.

    Args:
        auction: as of `scenarios.inspect_query`.
        exponent: of relevance; None: the score is no product of powers, so there is no such curve.
        threshold: ads of less relevance are not admitted; 0 admits all.
    """
    offer = auction["bid"].to_numpy() ** bid_exponent * auction["pctr"].to_numpy() ** pctr_exponent
    table = auction.with_columns(pl.Series("offer", 1000.0 * offer))
    shown = table.filter(pl.col("slot").is_not_null())
    figure = go.Figure()
    if len(shown) and exponent is not None:
        _add_border(figure, table, shown, exponent, threshold)
    unknown = [None] if table["grade"].null_count() else []
    for grade in unknown or range(len(GRADE_COLOURS)):
        colour, on_colour = grade_colours(grade)
        ads = table.filter(pl.col("grade").eq_missing(grade))
        in_slot = ads["slot"].is_not_null().to_list()
        figure.add_scatter(
            x=ads["offer"],
            y=ads["relevance"],
            mode="markers+text",
            name=numbered_grade(grade),
            text=[f"<b>{slot}</b>" if slot else "" for slot in ads["slot"]],
            textposition="middle center",
            textfont={"color": on_colour, "size": 13},
            marker={
                "color": colour,
                "size": [24 if s else 10 for s in in_slot],
                "line": {"width": 1, "color": OUTLINE},
            },
            customdata=[(str(ad), html(title)) for ad, title in ads.select("ad", "title").rows()],
            hovertemplate=t(
                "inspector.figure_hover",
                ad=plotted("customdata[0]"),
                title=plotted("customdata[1]"),
                offer=plotted("x:.3g"),
                relevance=plotted("y:.2f"),
            )
            + "<extra></extra>",
            showlegend=True,
        )
    if threshold > 0:
        figure.add_hline(y=threshold, line=dotted())
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=threshold, yanchor="top", showarrow=False,
            text=t("inspector.not_admitted"), font={"color": GREY, "size": 12},
        )  # fmt: skip
    lay_out(
        figure,
        t("inspector.figure_title"),
        height=430,
        legend_y=-0.2,
        legend={"itemsizing": "constant"},
    )
    plain = bid_exponent == pctr_exponent == 1.0
    offers = (
        t("inspector.offer") if plain else t("inspector.offer_power", bid=bid_exponent, pctr=pctr_exponent)
    )
    ticks = _log_ticks(table["offer"].to_numpy())
    figure.update_xaxes(
        title=t("inspector.figure_x", offer=offers),
        type="log",
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    figure.update_yaxes(title=t("inspector.figure_y"), range=[-0.05, 1.08], zeroline=False)
    return figure


def slots(both: pl.DataFrame, names: tuple[str, str]) -> go.Figure:
    """The ranks of the same candidates under A and B, one line an ad; numbers are slots.

    Args:
        both: as of `app.parts.comparison.compare`.
        names: of the two rankings, for the reader.
    """
    figure = go.Figure()
    shown = pl.col("slot_1").is_not_null() | pl.col("slot_2").is_not_null()
    drawn = both.filter(shown | ((pl.col("rank_1") <= DEEPEST) & (pl.col("rank_2") <= DEEPEST)))
    seen: set[int | None] = set()
    for row in drawn.iter_rows(named=True):
        in_slot = [row["slot_1"] is not None, row["slot_2"] is not None]
        colour, on_colour = grade_colours(row["grade"])
        places = [_place(row[f"slot_{side}"]) for side in (1, 2)]
        figure.add_scatter(
            x=[0, 1],
            y=[row["rank_1"], row["rank_2"]],
            mode="lines+markers+text",
            name=numbered_grade(row["grade"]),
            legendgroup=str(row["grade"]),
            legendrank=row["grade"],
            showlegend=row["grade"] not in seen,
            line={"color": colour, "width": 3 if any(in_slot) else 1},
            opacity=1.0 if any(in_slot) else 0.55,
            marker={"size": [24 if s else 8 for s in in_slot], "color": colour, "opacity": 1,
                    "line": {"width": 1, "color": OUTLINE}},
            text=[f"<b>{row[name]}</b>" if row[name] else "" for name in ("slot_1", "slot_2")],
            textposition="middle center",
            textfont={"color": on_colour, "size": 13},
            hovertemplate=t(
                "inspector.slots_hover", ad=row["ad"], title=row["title"], first=names[0],
                first_slot=places[0], second=names[1], second_slot=places[1],
            )
            + "<extra></extra>",
        )  # fmt: skip
        seen.add(row["grade"])
        for side, x, anchor, shift in ((1, 0.0, "right", -16), (2, 1.0, "left", 16)):
            if row[f"slot_{side}"] is not None:
                figure.add_annotation(
                    x=x, xshift=shift, y=row[f"rank_{side}"], xanchor=anchor, showarrow=False,
                    text=html(_short(row["title"])), font={"size": 12},
                )  # fmt: skip
    filled = [int(both[f"slot_{side}"].is_not_null().sum()) for side in (1, 2)]
    for x, n in zip((0.0, 1.0), filled, strict=True):
        figure.add_shape(
            type="line", x0=x - 0.1, x1=x + 0.1, y0=n + 0.5, y1=n + 0.5,
            line={"color": GREY, "width": 2, "dash": "dash"},
        )  # fmt: skip
    deepest = max(drawn["rank_1"].to_list() + drawn["rank_2"].to_list(), default=1)
    lay_out(figure, t("inspector.slots_title"), height=150 + 34 * deepest, legend_y=-0.02)
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=[f"<b>{name}</b>" for name in names], range=[-1.2, 2.2], side="top",
        showgrid=False, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(
        title=t("inspector.slots_y"), range=[deepest + 0.7, 0.3], showgrid=False, zeroline=False,
        tickvals=[*range(filled[0] + 1, deepest + 1)],  # above are slots, numbered, with names beside them
    )  # fmt: skip
    return figure


def _place(slot: int | None) -> str:
    return t("compare.not_shown") if slot is None else t("compare.slot", slot=slot)


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1].rstrip()}…"


def _add_border(
    figure: go.Figure, table: pl.DataFrame, shown: pl.DataFrame, exponent: float, threshold: float
) -> None:
    """The curve of equal score through the shown ad that scores least."""
    last = shown.sort("slot").row(-1, named=True)
    least = float(last["offer"]) * float(last["relevance"]) ** exponent
    if least <= 0:
        return
    relevance = np.linspace(max(threshold, 0.02), 1.0, 80)
    offer = least * relevance**-exponent
    limit = 3.0 * float(np.max(table["offer"].to_numpy()))
    inside = offer <= limit
    figure.add_scatter(
        x=offer[inside],
        y=relevance[inside],
        mode="lines",
        name=t("inspector.last_slot"),
        line={"color": GREY, "width": 2, "dash": "dash"},
        hoverinfo="skip",
    )


def _log_ticks(values: FloatArray) -> list[float]:
    """Ticks at 1, 2 and 5 times the powers of ten that values span; at the powers alone if they span many."""
    positive = values[values > 0]
    if not positive.size:
        return []
    low, high = math.floor(math.log10(positive.min())), math.ceil(math.log10(positive.max()))
    steps = (1, 2, 5) if high - low <= 3 else (1,)
    return [step * 10.0**power for power in range(low, high + 1) for step in steps]
