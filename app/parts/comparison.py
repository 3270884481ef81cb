"""Two rankings of one query: the same candidates under A and B. Pure; every text in HTML is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from app.language import t_html as t
from app.parts.cards import Frames, ad_number, grade_chip, pictures
from app.texts import html
from app.wording import why

Row = Mapping[str, Any]
"""One row of `compare`."""

OF_A_RANKING = ("slot", "price", "relevance", "score", "reason", "facts", "rank")


def compare(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Two rankings of the same candidates, in the order of the first's slots, then the second's, then ranks.

    Args:
        first, second: as of `scenarios.inspect_query`, of one query.

    Returns:
        One row per candidate: ad, title, grade, bid, pctr; slot_1, price_1, relevance_1, score_1, reason_1,
        facts_1 and rank_1 (from 1, by slot and then score) of the first, and the like _2 of the second.
    """
    names = {name: f"{name}_1" for name in OF_A_RANKING}
    left = first.with_row_index("rank", 1).rename(names)
    right = second.with_row_index("rank", 1).select("ad", *OF_A_RANKING)
    right = right.rename({name: f"{name}_2" for name in OF_A_RANKING})
    return left.join(right, on="ad").sort("slot_1", "slot_2", "rank_1", nulls_last=True)


def moves(both: pl.DataFrame) -> int:
    """How many ads are in another slot under the second, or shown by one alone."""
    return both.filter(pl.col("slot_1").ne_missing(pl.col("slot_2"))).height


def revenue(auction: pl.DataFrame, payment: str) -> float:
    """Expected revenue per 1,000 such queries, in currency units, of an auction of `inspect_query`."""
    shown = auction.filter(pl.col("slot").is_not_null())
    times_paid = 1.0 if payment == "impression" else shown["p_click"]
    return 1000 * float((shown["price"] * times_paid).sum())


def side_by_side(
    rows: Sequence[Row],
    frames: Mapping[int, Frames],
    names: tuple[str, str],
    payment: str = "click",
    used: tuple[bool, bool] = (True, True),
    *,
    of_corpus: bool = False,
) -> str:
    """A table with both rankings beside each other: slots, prices, reasons, and who moves.

    Args:
        rows: of `compare`.
        frames: of each row's ad.
        names: of the two rankings, for the reader.
        payment: what is paid for, "click" or "impression".
        used: whether each ranking looks at relevance.
        of_corpus: grades are not explained, see `cards.auction_cards`.
    """
    body = "".join(
        f"<tr><td><div class='rb-ad'>{pictures(frames[row['ad']], row['ad'])}"
        f"<span><b>{html(row['title'])}</b> {ad_number(row['ad'])}<br>"
        f"{grade_chip(row['grade'], explained=not of_corpus)}</span></div></td>"
        f"<td data-of='{html(names[0])}'>{_place(row, 1, payment, used[0])}</td>"
        f"<td class='rb-move'>{_move(row)}</td>"
        f"<td data-of='{html(names[1])}'>{_place(row, 2, payment, used[1])}</td></tr>"
        for row in rows
    )
    change = t("compare.change", first=names[0], second=names[1])
    return (
        '<div class="rb-scroll"><table class="rb-table rb-compare"><thead><tr>'
        f"<th>{t('compare.ad')}</th><th>{html(names[0])}</th><th>{change}</th><th>{html(names[1])}</th>"
        f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _place(row: Row, side: int, payment: str, used: bool) -> str:
    slot, price, relevance = (row[f"{name}_{side}"] for name in ("slot", "price", "relevance"))
    reason = html(why(row[f"reason_{side}"], row[f"facts_{side}"]))
    if slot is None:
        said = t("compare.not_eligible" if row[f"score_{side}"] is None else "compare.not_shown")
        head = f"<span class='rb-out'>{said}</span>"
    else:
        paid = f"{price:.4f}" if payment == "impression" else f"{price:.2f}"
        pays = t("compare.pays", price=paid, per=t(f"payments.{payment}"))
        head = f"<span class='rb-slot'>{t('compare.slot', slot=slot)}</span> <b>{pays}</b>"
    soft = t("compare.relevance", relevance=relevance) if used else t("compare.no_relevance")
    return f"{head}<br><span class='rb-soft'>{soft}. {reason}</span>"


def _move(row: Row) -> str:
    was, now = row["slot_1"], row["slot_2"]
    if was == now:
        return "" if was is None else f"<span class='rb-same'>{t('compare.same')}</span>"
    if was is None:
        return f"<b class='rb-up'>{t('compare.enters')}</b>"
    if now is None:
        return f"<b class='rb-down'>{t('compare.leaves')}</b>"
    text = t("compare.up" if now < was else "compare.down", n=abs(now - was))
    return f"<b class='rb-{'up' if now < was else 'down'}'>{text}</b>"
