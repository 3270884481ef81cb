"""A scorer's worst errors as pictures, in HTML. Pure; every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.language import t_html as t
from app.parts.cards import Frames, grade_chip, pictures, probabilities
from app.texts import html

Row = Mapping[str, Any]
"""One row of `scenarios.worst_errors`."""


def gallery(rows: Sequence[Row], frames: Mapping[int, Frames], scorer: str) -> str:
    """Query, key frames, words, true grade and score of each pair, side by side.

    Args:
        frames: of each row's ad.
        scorer: its name, for the reader.
    """
    drawn = "".join(_tile(row, frames[row["ad"]], scorer) for row in rows)
    return f'<div class="rb-gallery">{drawn}</div>'


def _tile(row: Row, frames: Frames, scorer: str) -> str:
    words = " · ".join(row["keywords"].split()) if row["keywords"] else ""
    keywords = f"<p class='rb-soft'>{t('lab.keywords', words=words)}</p>" if words else ""
    return f"""<article class="rb-tile">
<h4>{html(row["query"])}</h4>
{pictures(frames, row["ad"])}
<p>{html(row["title"])}</p>{keywords}
<p>{t("lab.truly")} {grade_chip(row["grade"])}</p>
<p>{t("lab.says", scorer=scorer)} <b>{row["score"]:.2f}</b>
<span class="rb-soft">({t("lab.off_by", error=f"{row['error']:+.2f}".replace("-", "−"))})</span></p>
{probabilities(row)}
</article>"""
