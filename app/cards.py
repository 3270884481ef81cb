"""Ads as HTML: cards for the shown ones, a compact table for the others. Pure; every text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.theme import GRADE_COLOURS, GRADE_NAMES, ON_GRADE
from scenarios import GRADE_DEFINITIONS

Row = Mapping[str, Any]
"""One row of `scenarios.inspect_query`."""

Frames = NDArray[np.uint8]
"""Key frames of one ad, [F, H, W, 3]."""

Exponents = tuple[float, float, float]


def auction_cards(
    rows: Sequence[Row], frames: Mapping[int, Frames], exponents: Exponents, payment: str = "click"
) -> str:
    """Cards of the shown ads, one below the other.

    Args:
        rows: in order of slot.
        frames: of each row's ad.
        exponents: of bid, pCTR and relevance in the fused score.
        payment: what is paid for, "click" or "impression".
    """
    drawn = "".join(_card(row, frames[row["ad"]], exponents, payment) for row in rows)
    return f'<div class="rb-cards">{drawn}</div>'


def rest_table(rows: Sequence[Row], frames: Mapping[int, Frames]) -> str:
    """The ads that are not shown, one line each."""
    body = "".join(
        f"<tr><td>{_pictures(frames[row['ad']], row['ad'])}</td>"
        f"<td><b>{escape(row['title'])}</b><br><span class='rb-soft'>{escape(row['why'])}</span>"
        f"<span class='rb-narrow rb-soft'>bid {row['bid']:.2f} · pCTR {row['pctr']:.2%} · relevance "
        f"{row['relevance']:.2f} · score {_score(row['score'])}</span></td>"
        f"<td>{_grade_chip(row['grade'])}</td>"
        f"<td class='rb-n'>{row['bid']:.2f}</td><td class='rb-n'>{row['pctr']:.2%}</td>"
        f"<td class='rb-n'>{row['relevance']:.2f}</td>"
        f"<td class='rb-n'>{_score(row['score'])}</td></tr>"
        for row in rows
    )
    return (
        '<div class="rb-scroll"><table class="rb-table"><thead><tr><th>Key frames</th><th>Ad and why</th>'
        '<th>True grade</th><th class="rb-n">Bid</th><th class="rb-n">pCTR</th>'
        '<th class="rb-n">Relevance</th><th class="rb-n">Score</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def grade_legend() -> str:
    """The four grades with their definitions."""
    items = "".join(
        f"<li>{_grade_chip(grade)} {escape(_definition(grade))}</li>" for grade in range(len(GRADE_NAMES))
    )
    return f'<ul class="rb-legend">{items}</ul>'


def png(frame: Frames) -> str:
    """A picture [H, W, 3] as a data URI."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _card(row: Row, frames: Frames, exponents: Exponents, per: str) -> str:
    price = f"{row['price']:.4f}" if per == "impression" else f"{row['price']:.2f}"
    keywords = (
        "".join(f'<span class="rb-word">{escape(word)}</span>' for word in row["keywords"].split())
        if row["keywords"]
        else None
    )
    texts = [
        ("On screen (OCR)", escape(row["ocr"])),
        ("Spoken (ASR)", escape(row["asr"])),
        ("Keywords", keywords),
    ]
    details = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in texts if text)
    numbers = [
        _factor("bid", f"{row['bid']:.2f}", exponents[0]),
        _factor("× pCTR", f"{row['pctr']:.2%}", exponents[1]),
        _factor("× relevance", f"{row['relevance']:.2f}", exponents[2]),
        ("= score", _score(row["score"])),
    ]
    sums = "".join(f"<div><span>{name}</span><b>{text}</b></div>" for name, text in numbers)
    return f"""<article class="rb-card">
<header><span class="rb-slot">Slot {row["slot"]}</span><h4>{escape(row["title"])}</h4>
<span class="rb-price">pays <b>{price}</b> per {per}</span></header>
<div class="rb-body">
<div class="rb-left">{_pictures(frames, row["ad"])}
<p class="rb-grade">{_grade_chip(row["grade"])} {escape(_definition(row["grade"]))}</p></div>
<dl class="rb-texts">{details}</dl>
<div class="rb-numbers">{sums}{_probabilities(row)}</div>
</div>
<p class="rb-why">{escape(row["why"])} It is clicked by {row["p_click"]:.1%} of users.</p>
</article>"""


def _factor(name: str, value: str, exponent: float) -> tuple[str, str]:
    """A factor of the score; what is to the power of 0 is left out of account."""
    if exponent == 0:
        return name, "ignored"
    power = "" if exponent == 1 else f"<sup>{exponent:g}</sup>"
    return name, f"{value}{power}"


def _pictures(frames: Frames, ad: int) -> str:
    pictures = "".join(
        f'<img src="{png(frame)}" alt="Key frame {number} of ad {ad}">'
        for number, frame in enumerate(frames, start=1)
    )
    return f'<div class="rb-frames">{pictures}</div>'


def _grade_chip(grade: int) -> str:
    return (
        f'<span class="rb-chip" style="background:{GRADE_COLOURS[grade]};color:{ON_GRADE[grade]}"'
        f' title="{escape(GRADE_DEFINITIONS[grade])}">{grade} {GRADE_NAMES[grade]}</span>'
    )


def _definition(grade: int) -> str:
    return GRADE_DEFINITIONS[grade].partition(": ")[2]


def _probabilities(row: Row) -> str:
    """HCMRM's probabilities of the four grades as one stacked bar; nothing for other scorers."""
    p = [row[f"p{grade}"] for grade in range(len(GRADE_NAMES))]
    if any(value is None for value in p):
        return ""
    parts = "".join(
        f'<i style="width:{100 * value:.2f}%;background:{GRADE_COLOURS[grade]};color:{ON_GRADE[grade]}">'
        f"{f'{grade}' if value >= 0.12 else ''}</i>"
        for grade, value in enumerate(p)
    )
    words = ", ".join(f"{name} {value:.0%}" for name, value in zip(GRADE_NAMES, p, strict=True))
    return (
        f'<div class="rb-p"><span>P(grade) says HCMRM</span>'
        f'<div class="rb-bar" role="img" aria-label="{words}" title="{words}">{parts}</div></div>'
    )


def _score(score: float | None) -> str:
    return "not eligible" if score is None else f"{score:.3g}"
