"""Page 2, auction inspector: one query's auction under A and B, and why each ad is where it is."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from app import address, session
from app.figures import auction_figures as figures
from app.language import names, t, t_plain
from app.parts import cards, comparison
from app.parts.credit import picture_credit
from app.parts.download import chart_with_data
from app.parts.why import EVENT, QUERY
from app.session import Opened
from app.setting import Setting, in_words, market_settings
from app.texts import message
from app.wording import grade_name, scorer_name
from scenarios import AskedPage, inspect_event, known_page
from scenarios.reporting.theme import GRADE_COLOURS

SIDES = "sides"
KEYS = (QUERY, SIDES, EVENT)
ADDRESS = {"query": ("query", address.number_or_text), "event": ("event", address.count)}
BOTH, ONLY_B, ONLY_A = "both", "b", "a"
"""What is shown: both rankings side by side, or one of them in full."""
MOST_LISTED = 500
"""Queries to choose from; any other may be typed."""


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("inspector.title"))
    if not opened.prepared.source.has_texts:
        _events(opened)
        return
    query = _choose(opened)
    sides = {"a": opened.a, "b": opened.b}
    wanted = ("b",) if opened.a == opened.b else ("a", "b")
    if opened.a != opened.b and (only := _ask_sides()) != BOTH:
        wanted = (only,)
    auctions = []
    for side in wanted:
        try:
            auctions.append((sides[side], _auction(opened, sides[side], query)))
        except ValueError as error:
            st.error(
                f"{t('scorers.cannot_rank', scorer=scorer_name(sides[side].scorer))}\n\n{message(error)}"
            )
            st.write(t("inspector.other_scorer"))
            return
    _reading(auctions[0][1])
    if not len(auctions[0][1].ads):
        st.info(t("inspector.nobody_bids"))
        return
    if len(auctions) == 2:
        _two(opened, *auctions)
    else:
        _one(opened, *auctions[0])


def _ask_sides() -> str:
    options = (BOTH, ONLY_B, ONLY_A)
    if st.session_state.get(SIDES) not in options:
        st.session_state[SIDES] = BOTH
    named = names(options, lambda one: t(f"inspector.sides_{one}"))
    st.segmented_control(
        t("inspector.sides"), options, format_func=named, key=SIDES, label_visibility="collapsed"
    )
    return str(st.session_state[SIDES] or BOTH)


def _auction(opened: Opened, setting: Setting, query: int | str) -> AskedPage:
    """The auction of a query of the world, by its number, or of any text."""
    settings = market_settings(setting)
    if isinstance(query, str):
        return session.asker(opened.prepared, setting.scorer).ask(query, settings)
    relevance = session.relevance(opened.prepared, setting.scorer)
    return known_page(opened.prepared, relevance, query, settings)


def _reading(page: AskedPage) -> None:
    """How a typed query is understood, where that is not plain."""
    read = [
        t_plain("inspector.read_as", typed=typed, word=word) for typed, word in page.words if typed != word
    ]
    said = [t("inspector.corrected", words=t("words.comma").join(read))] if read else []
    said += [] if page.graded or not len(page.ads) else [t("inspector.unknown")]
    if said:
        st.info(" ".join(said))


def _one(opened: Opened, setting: Setting, page: AskedPage) -> None:
    """One scorer's auction: cards of the shown ads, the ranking, and the others."""
    payment, auction = opened.scenario.auction.payment, page.ads
    shown = auction.filter(pl.col("slot").is_not_null())
    rest = auction.filter(pl.col("slot").is_null())
    st.markdown(f"#### {_summary(auction, in_words(setting), payment)}")
    frames, of_corpus = _frames(opened, auction), opened.scenario.market.kind == "corpus"
    if len(shown):
        rows, markers = shown.rows(named=True), _markers(page)
        st.html(cards.auction_cards(rows, frames, setting.exponents, payment, markers, of_corpus=of_corpus))
        picture_credit(opened.scenario)
    else:
        st.info(t("inspector.nobody_shown"))
    _ranking(opened, setting, auction, "ranking")
    st.caption(t("inspector.caption"))
    if not of_corpus:
        with st.expander(t("inspector.grades")):
            st.html(cards.grade_legend())
    if len(rest):
        st.subheader(t("inspector.not_shown", n=len(rest)))
        st.html(cards.rest_table(rest.rows(named=True), frames, of_corpus=of_corpus))


def _markers(page: AskedPage) -> dict[int, list[tuple[str, float]]]:
    """What the frames of each ad say of the query."""
    if page.markers is None:
        return {}
    of_ads = page.markers.group_by("ad", maintain_order=True)
    return {int(ad): found.select("token", "marker").rows() for (ad,), found in of_ads}


def _two(opened: Opened, *pages: tuple[Setting, AskedPage]) -> None:
    """The auctions of the same candidates under A and B, side by side."""
    payment, of_corpus = opened.scenario.auction.payment, opened.scenario.market.kind == "corpus"
    first, second = ((setting, page.ads) for setting, page in pages)
    names = "A", "B"
    both = comparison.compare(first[1], second[1])
    seen = pl.col("slot_1").is_not_null() | pl.col("slot_2").is_not_null()
    shown, rest = both.filter(seen), both.filter(~seen)
    if not len(shown):
        st.info(f"{t('compare.none')} {t('inspector.nobody_shown')}")
        return
    moved = comparison.moves(shown)
    said = (
        t("compare.differ", moved=moved, shown=len(shown)) if moved else t("compare.same_slots", n=len(shown))
    )
    st.markdown(f"#### {said} {_money(first[1], second[1], payment)}")
    with st.container(key="figures-summaries"):
        for name, (setting, auction) in zip(names, (first, second), strict=True):
            st.markdown(f"**{name}.** {_summary(auction, in_words(setting), payment)}")
    frames = _frames(opened, both)
    used = (_uses_relevance(first[0]), _uses_relevance(second[0]))
    st.subheader(t("compare.both", first=names[0]))
    st.html(
        comparison.side_by_side(shown.rows(named=True), frames, names, payment, used, of_corpus=of_corpus)
    )
    picture_credit(opened.scenario)
    chart_with_data(figures.slots(both, names), both.drop("facts_1", "facts_2"), "comparison")
    with st.container(key="figures"):
        for number, (setting, auction) in enumerate((first, second)):
            with st.container():
                st.markdown(f"**{names[number]}**")
                _ranking(opened, setting, auction, f"ranking-{number}")
    st.caption(t("inspector.caption"))
    if not of_corpus:
        with st.expander(t("inspector.grades")):
            st.html(cards.grade_legend())
    if len(rest):
        with st.expander(t("compare.others")):
            st.html(
                comparison.side_by_side(
                    rest.rows(named=True), frames, names, payment, used, of_corpus=of_corpus
                )
            )


def _money(first: pl.DataFrame, second: pl.DataFrame, payment: str) -> str:
    """How the expected revenue of this query changes; nothing where click rates are not known."""
    if any(auction.drop_nulls("slot")["p_click"].null_count() for auction in (first, second)):
        return ""
    was, now = (comparison.revenue(auction, payment) for auction in (first, second))
    return t("compare.money", was=was, now=now, change=now - was)


def _uses_relevance(setting: Setting) -> bool:
    """Whether the ranking looks at relevance at all: without a scorer every ad has 1, which says nothing."""
    return setting.scorer != session.BASELINE


def _ranking(opened: Opened, setting: Setting, auction: pl.DataFrame, key: str) -> None:
    bid, pctr, relevance = setting.exponents or (1.0, 1.0, None)
    drawn = figures.ranking(
        auction,
        exponent=relevance,
        threshold=setting.threshold,
        bid_exponent=bid,
        pctr_exponent=pctr,
    )
    st.plotly_chart(drawn, config={"displayModeBar": False}, key=key)


def _frames(opened: Opened, auction: pl.DataFrame) -> dict[int, cards.Frames]:
    return {ad: opened.prepared.corpus.frames[ad] for ad in auction["ad"]}


def _events(opened: Opened) -> None:
    """What there is of a table's auctions: numbers, and what the scenario's own run made of them."""
    prepared = opened.prepared
    st.info(t("inspector.table"))
    n_events = session.total_queries(prepared)
    st.session_state[EVENT] = min(st.session_state.get(EVENT, 1), n_events)
    event = int(st.number_input(t("inspector.event", n=n_events), 1, n_events, 1, key=EVENT)) - 1
    try:
        auction = inspect_event(prepared, session.whole_day(prepared), event)
    except ValueError as error:
        st.error(message(error))
        return
    shown = auction["slot"].drop_nulls().len()
    summary = t("inspector.event_summary", query=auction["query_id"][0], candidates=len(auction), shown=shown)
    st.markdown(f"#### {summary}")
    st.dataframe(auction.drop("query_id"), hide_index=True, column_config=_columns())
    st.download_button(
        t("download.auction"), auction.write_csv(), "auction.csv", "text/csv", icon=":material/download:"
    )


def _columns() -> dict[str, Any]:
    """How the columns of a table's auction are named."""
    return {
        "slot": t("inspector.column_slot"),
        "price": st.column_config.NumberColumn(t("inspector.column_price"), format="%.4f"),
        "ad_id": t("inspector.column_ad"),
        "advertiser_id": t("inspector.column_advertiser"),
        "bid": st.column_config.NumberColumn(t("inspector.column_bid"), format="%.2f"),
        "pctr": st.column_config.NumberColumn(t("inspector.column_pctr"), format="%.4f"),
        "grade": t("inspector.column_grade"),
    }


def _choose(opened: Opened) -> int | str:
    """The query, by its number or as a text that the world does not have."""
    popularity, texts = opened.prepared.popularity, opened.prepared.corpus.query_text
    has_ads = (opened.prepared.candidate >= 0).any(axis=1)
    commonest = np.argsort(np.where(has_ads, -popularity, 0.0), kind="stable")
    order = commonest[:MOST_LISTED].tolist()
    asked = st.session_state.get(QUERY)
    if isinstance(asked, int) and 0 <= asked < len(texts):
        order = list(dict.fromkeys((asked, *order)))
    elif not (isinstance(asked, str) and asked):
        st.session_state[QUERY] = order[0]
    called = {q: t_plain("inspector.of_traffic", query=texts[q], share=popularity[q]) for q in order}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.selectbox(
            t("inspector.query"),
            order,
            format_func=lambda asked: called.get(asked, asked),
            key=QUERY,
            accept_new_options=True,
        )
        st.button(
            t("inspector.random"), icon=":material/shuffle:", on_click=_random_query, args=(len(texts),)
        )
    number = {text: q for q, text in enumerate(texts)}
    return number.get(query, query) if isinstance(query, str) else int(query)


def _random_query(n_queries: int) -> None:
    st.session_state[QUERY] = random.SystemRandom().randrange(n_queries)


def _summary(auction: pl.DataFrame, name: str, payment: str) -> str:
    """The auction in one sentence."""
    shown = auction.filter(pl.col("slot").is_not_null())
    found = t("inspector.found", name=name, n=len(auction))
    if not len(shown):
        return t("inspector.none_shown", found=found)
    n = int(auction["score"].is_not_null().sum())
    if shown["grade"].null_count():
        return t("inspector.summary_unknown", found=found, n=n, shown=len(shown))
    counts = ((grade, int((shown["grade"] == grade).sum())) for grade in reversed(range(len(GRADE_COLOURS))))
    mix = t("words.comma").join(
        t_plain("inspector.mix", count=count, grade=grade_name(grade)) for grade, count in counts if count
    )
    return t(
        "inspector.summary",
        found=found,
        n=n,
        shown=len(shown),
        mix=mix,
        revenue=comparison.revenue(auction, payment),
    )


if __name__ == "__main__":
    page(session.current())
