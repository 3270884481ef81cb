"""Ads as HTML: cards for the shown ones, a compact table for the others. Pure; every text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.language import t_html as t, t_plain
from app.texts import html
from app.wording import grade_name, numbered_grade, why
from scenarios.reporting.theme import GRADE_COLOURS, ON_GRADE, grade_colours

Row = Mapping[str, Any]
"""One row of `scenarios.AskedPage.ads`."""

Frames = NDArray[np.uint8]
"""Key frames of one ad, [F, H, W, 3]."""

Exponents = tuple[float, float, float]

Markers = Mapping[int, Sequence[tuple[str, float]]]
"""Of each ad: the tokens of the query, and how much its frames speak for each."""


def auction_cards(
    rows: Sequence[Row],
    frames: Mapping[int, Frames],
    exponents: Exponents | None,
    payment: str = "click",
    markers: Markers | None = None,
    *,
    of_corpus: bool = False,
) -> str:
    """Cards of the shown ads, one below the other.

    Args:
        rows: in order of slot.
        frames: of each row's ad.
        exponents: of bid, pCTR and relevance in the fused score; None: it is no product of their powers.
        payment: what is paid for, "click" or "impression".
        markers: of each row's ad, where the model has them.
        of_corpus: the ads are a corpus's: their texts may be any, nobody bids on keywords, and grades mean
            what its graders took them to mean.
    """
    drawn = "".join(
        _card(row, frames[row["ad"]], exponents, payment, (markers or {}).get(row["ad"], ()), of_corpus)
        for row in rows
    )
    return f'<div class="rb-cards">{drawn}</div>'


def rest_table(rows: Sequence[Row], frames: Mapping[int, Frames], *, of_corpus: bool = False) -> str:
    """The ads that are not shown, one line each; see `auction_cards`."""
    body = "".join(
        f"<tr><td>{pictures(frames[row['ad']], row['ad'])}</td>"
        f"<td><b>{html(row['title'])}</b> {ad_number(row['ad'])}<br>"
        f"<span class='rb-soft'>{html(_why(row))} {'' if of_corpus else html(_brought(row))}</span>"
        f"<span class='rb-narrow rb-soft'>{_narrow(row)}</span></td>"
        f"<td>{grade_chip(row['grade'], explained=not of_corpus)}</td>"
        f"<td class='rb-n'>{row['bid']:.2f}</td><td class='rb-n'>{row['pctr']:.2%}</td>"
        f"<td class='rb-n'>{row['relevance']:.2f}</td>"
        f"<td class='rb-n'>{_score(row['score'])}</td></tr>"
        for row in rows
    )
    texts = "".join(f"<th>{t(f'cards.head_{name}')}</th>" for name in ("frames", "why", "grade"))
    names = ("cards.head_bid", "inspector.column_pctr", "cards.head_relevance", "cards.head_score")
    numbers = "".join(f'<th class="rb-n">{t(name)}</th>' for name in names)
    return (
        f'<div class="rb-scroll"><table class="rb-table"><thead><tr>{texts}{numbers}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def grade_legend() -> str:
    """The four grades with their definitions."""
    items = "".join(
        f"<li>{grade_chip(grade)} {html(_definition(grade))}</li>" for grade in range(len(GRADE_COLOURS))
    )
    return f'<ul class="rb-legend">{items}</ul>'


def png(frame: Frames) -> str:
    """A picture [H, W, 3] as a data URI."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _card(
    row: Row,
    frames: Frames,
    exponents: Exponents | None,
    per: str,
    markers: Sequence[tuple[str, float]],
    of_corpus: bool,
) -> str:
    price = f"{row['price']:.4f}" if per == "impression" else f"{row['price']:.2f}"
    keywords = (
        "".join(f'<span class="rb-word">{html(word)}</span>' for word in row["keywords"].split())
        if row["keywords"]
        else None
    )
    said = "".join(
        f'<span class="rb-word">{html(token)} <b>{marker:+.1f}</b></span>' for token, marker in markers
    )
    clicked = "" if row["p_click"] is None else t("cards.clicked", share=row["p_click"])
    texts = [
        (t("cards.second_text" if of_corpus else "cards.ocr"), html(row["ocr"])),
        (t("cards.third_text" if of_corpus else "cards.asr"), html(row["asr"])),
        (t("cards.keywords"), keywords),
        (t("cards.bid_keyword"), "" if of_corpus else html(_matched(row))),
        (t("cards.markers"), said),
    ]
    details = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in texts if text)
    values = f"{row['bid']:.2f}", f"{row['pctr']:.2%}", f"{row['relevance']:.2f}"
    if exponents is None:
        heads = ("cards.head_bid", "inspector.column_pctr", "cards.head_relevance")
        numbers: list[tuple[str, str]] = [(t(head), value) for head, value in zip(heads, values, strict=True)]
    else:
        heads = ("cards.bid", "cards.pctr", "cards.relevance")
        numbers = [
            _factor(t(head), value, power)
            for head, value, power in zip(heads, values, exponents, strict=True)
        ]
    numbers.append((t("cards.score"), _score(row["score"])))
    sums = "".join(f"<div><span>{name}</span><b>{text}</b></div>" for name, text in numbers)
    meaning = "" if of_corpus else html(_definition(row["grade"]))
    return f"""<article class="rb-card">
<header><span class="rb-slot">{t("cards.slot", slot=row["slot"])}</span>
<h4>{html(row["title"])} {ad_number(row["ad"])}</h4>
<span class="rb-price">{t("cards.pays", price=price, per=t(f"payments.{per}"))}</span></header>
<div class="rb-body">
<div class="rb-left">{pictures(frames, row["ad"])}
<p class="rb-grade">{grade_chip(row["grade"], explained=not of_corpus)} {meaning}</p></div>
<dl class="rb-texts">{details}</dl>
<div class="rb-numbers">{sums}{probabilities(row)}</div>
</div>
<p class="rb-why">{html(_why(row))} {clicked}</p>
</article>"""


def _factor(name: str, value: str, exponent: float) -> tuple[str, str]:
    """A factor of the score; what is to the power of 0 is left out of account."""
    if exponent == 0:
        return name, t("cards.ignored")
    power = "" if exponent == 1 else f"<sup>{exponent:g}</sup>"
    return name, f"{value}{power}"


def pictures(frames: Frames, ad: int) -> str:
    """Key frames of an ad, side by side."""
    pictures = "".join(
        f'<img src="{png(frame)}" alt="{t("cards.frame", number=number, ad=ad)}">'
        for number, frame in enumerate(frames, start=1)
    )
    return f'<div class="rb-frames">{pictures}</div>'


def ad_number(ad: int) -> str:
    """The number by which reasons name an ad."""
    return f'<span class="rb-soft">{t("cards.ad", ad=ad)}</span>'


def grade_chip(grade: int | None, *, explained: bool = True) -> str:
    """A true grade in its colour; None: it is not known. With `explained`, its definition on hovering."""
    name, (colour, on_colour) = numbered_grade(grade), grade_colours(grade)
    told = f' title="{name}: {html(_definition(grade))}"' if explained else ""
    return f'<span class="rb-chip" style="background:{colour};color:{on_colour}"{told}>{name}</span>'


def _definition(grade: int | None) -> str:
    return t("grades.meaning_unknown" if grade is None else f"grades.meaning_{grade}")


def _matched(row: Row) -> str:
    """The keyword that brings an ad, and how it matches."""
    match = t_plain(f"cards.match_{row['match']}")
    return f"{row['bid_keyword']} ({match})"


def _brought(row: Row) -> str:
    return t_plain("cards.brought", keyword=_matched(row))


def probabilities(row: Row) -> str:
    """The model's probabilities of the four grades as one stacked bar; nothing for other scorers."""
    p = [row[f"p{grade}"] for grade in range(len(GRADE_COLOURS))]
    if any(value is None for value in p):
        return ""
    parts = "".join(
        f'<i style="width:{100 * value:.2f}%;background:{GRADE_COLOURS[grade]};color:{ON_GRADE[grade]}">'
        f"{f'{grade}' if value >= 0.12 else ''}</i>"
        for grade, value in enumerate(p)
    )
    words = t("words.comma").join(f"{grade_name(grade)} {value:.0%}" for grade, value in enumerate(p))
    return (
        f'<div class="rb-p"><span>{t("cards.probabilities")}</span>'
        f'<div class="rb-bar" role="img" aria-label="{words}" title="{words}">{parts}</div></div>'
    )


def _score(score: float | None) -> str:
    return t("cards.not_eligible") if score is None else f"{score:.3g}"


def _why(row: Row) -> str:
    return why(row["reason"], row["facts"])


def _narrow(row: Row) -> str:
    """The numbers of a line of the table where it has no room for columns."""
    return t(
        "cards.narrow", bid=row["bid"], pctr=row["pctr"], relevance=row["relevance"],
        score=_score(row["score"]),
    )  # fmt: skip
