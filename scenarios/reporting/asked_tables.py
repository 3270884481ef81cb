"""What `relbid ask` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from scenarios.reporting.terminal import Section, section
from scenarios.reporting.words import cell, number, percent, scorer_name
from scenarios.runs.asking import AskedPage

NOT_SHOWN = 5
"""Ads without a slot that are listed."""

_HEADINGS = ("ad", "bid keyword", "slot", "grade", "relevance", "bid", "pCTR", "score", "price")


def asked_tables(page: AskedPage, payment: str = "click") -> list[Section]:
    """The auction, why each ad is where it is, and what frames say of the words of the query.

    Args:
        payment: what is paid for, "click" or "impression".
    """
    n_shown = len(page.ads.drop_nulls("slot"))
    listed = page.ads.head(n_shown + NOT_SHOWN)
    rows = list(listed.iter_rows(named=True))
    title = (
        f"'{page.text}', ranked by {scorer_name(page.scorer)}: {len(page.ads)} ads bid on it, "
        f"{n_shown} are shown"
    )
    note = _note(page, payment)
    if len(page.ads) > len(rows):
        note = f"of the ads without a slot the first {NOT_SHOWN} are listed\n{note}"
    sections = [section(title, _HEADINGS, map(_row, rows), note, left=2)]
    if rows:
        why = [(str(row["ad"]), row["why"]) for row in rows]
        sections.append(section("Why", ["ad", "reason"], why, "", left=2))
    if page.markers is not None:
        sections.append(_markers(page.markers, listed))
    return sections


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['ad']} {row['title']}",
        f"{row['bid_keyword']} ({row['match']})",
        str(row["slot"] or "-"),
        "?" if row["grade"] is None else str(row["grade"]),
        f"{row['relevance']:.3f}",
        number(row["bid"]),
        percent(row["pctr"]),
        cell(row["score"], lambda score: f"{score:.4g}"),
        cell(row["price"], lambda price: f"{price:.4f}"),
    )


def _note(page: AskedPage, payment: str) -> str:
    read = [f"'{typed}' as '{word}'" for typed, word in page.words if typed != word]
    reading = [f"retrieval reads {', '.join(read)}"] if read else []
    if not len(page.ads):
        return "\n".join(["no advertiser bids on these words, so no ad can be shown", *reading])
    known = (
        "grade: true fit, 0 to 3"
        if page.graded
        else "grade ?: what these words ask for is not known; pCTR is then the ad's average over the day"
    )
    money = f"bids at the start of the day, every budget whole; bid per click, price per {payment}"
    return "\n".join([money, known, *reading])


def _markers(markers: pl.DataFrame, listed: pl.DataFrame) -> Section:
    of_ad = {ad: found for (ad,), found in markers.group_by("ad", maintain_order=True)}
    tokens = of_ad[listed["ad"][0]]["token"].to_list()
    rows = [
        [f"{ad} {title}", *(f"{marker:+.2f}" for marker in of_ad[ad]["marker"])]
        for ad, title in listed.select("ad", "title").iter_rows()
    ]
    note = (
        "how much likelier the frames of an ad make a word: log P(word | frames) - log P(word | no frames), "
        "within +-6;\na word that the model's vocabulary lacks is read in pieces"
    )
    return section("What the frames say of the query", ["ad", *tokens], rows, note)
