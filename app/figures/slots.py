"""The figure of one query under two scorers."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from app.figures.common import OUTLINE, lay_out
from app.language import t
from app.theme import GRADE_COLOURS, GREY, ON_GRADE
from app.wording import grade_name

DEEPEST = 10
"""Ranks that are drawn, at least; further ones only of ads that either scorer shows."""

LONGEST = 17
"""Characters of a title beside the figure."""


def slots(both: pl.DataFrame, names: tuple[str, str]) -> go.Figure:
    """The ranks of the same candidates under two scorers, one line an ad; numbers are slots.

    Args:
        both: as of `app.comparison.compare`.
        names: of the two scorers, for the reader.
    """
    figure = go.Figure()
    shown = pl.col("slot_1").is_not_null() | pl.col("slot_2").is_not_null()
    drawn = both.filter(shown | ((pl.col("rank_1") <= DEEPEST) & (pl.col("rank_2") <= DEEPEST)))
    seen: set[int] = set()
    for row in drawn.iter_rows(named=True):
        in_slot = [row["slot_1"] is not None, row["slot_2"] is not None]
        colour = GRADE_COLOURS[row["grade"]]
        places = [_place(row[f"slot_{side}"]) for side in (1, 2)]
        figure.add_scatter(
            x=[0, 1],
            y=[row["rank_1"], row["rank_2"]],
            mode="lines+markers+text",
            name=f"{row['grade']} {grade_name(row['grade'])}",
            legendgroup=str(row["grade"]),
            legendrank=row["grade"],
            showlegend=row["grade"] not in seen,
            line={"color": colour, "width": 3 if any(in_slot) else 1},
            opacity=1.0 if any(in_slot) else 0.55,
            marker={"size": [24 if s else 8 for s in in_slot], "color": colour, "opacity": 1,
                    "line": {"width": 1, "color": OUTLINE}},
            text=[f"<b>{row[name]}</b>" if row[name] else "" for name in ("slot_1", "slot_2")],
            textposition="middle center",
            textfont={"color": ON_GRADE[row["grade"]], "size": 13},
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
                    text=_short(row["title"]), font={"size": 12},
                )  # fmt: skip
    for side, x in ((1, 0.0), (2, 1.0)):
        n = int(both[f"slot_{side}"].is_not_null().sum())
        figure.add_shape(
            type="line", x0=x - 0.1, x1=x + 0.1, y0=n + 0.5, y1=n + 0.5,
            line={"color": GREY, "width": 2, "dash": "dash"},
        )  # fmt: skip
    deepest = max(drawn["rank_1"].to_list() + drawn["rank_2"].to_list(), default=1)
    lay_out(figure, t("inspector.slots_title"), height=150 + 34 * deepest)
    figure.update_layout(legend={"y": -0.02})
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=[f"<b>{name}</b>" for name in names], range=[-0.95, 1.95], side="top",
        showgrid=False, zeroline=False,
    )  # fmt: skip
    figure.update_yaxes(
        title=t("inspector.slots_y"), range=[deepest + 0.7, 0.3], dtick=1, showgrid=False, zeroline=False
    )
    return figure


def _place(slot: int | None) -> str:
    return t("compare.not_shown") if slot is None else t("compare.slot", slot=slot)


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1].rstrip()}…"
