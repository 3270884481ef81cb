"""Page 2, auction inspector: one query's auction in full, and why each ad is where it is."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import polars as pl
import streamlit as st

from app import cards, figures, session
from app.session import Opened
from app.setting import in_words, market_settings, offer_exponents
from app.theme import GRADE_NAMES, scorer_style
from scenarios import Prepared, inspect_event, inspect_query

QUERY = "query"

# How the columns of a table's auction are named
_COLUMNS: dict[str, Any] = {
    "slot": "Slot",
    "price": st.column_config.NumberColumn("Price", format="%.4f"),
    "ad_id": "Ad",
    "advertiser_id": "Advertiser",
    "bid": st.column_config.NumberColumn("Bid per click", format="%.2f"),
    "pctr": st.column_config.NumberColumn("pCTR", format="%.4f"),
    "grade": "True grade",
}


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title("One auction, from query to price")
    if session.is_table(opened.scenario):
        _events(opened)
        return
    query = _choose_query(opened.prepared)
    setting = opened.setting
    label = scorer_style(setting.scorer).label
    try:
        relevance = session.relevance(opened.prepared, setting.scorer)
        auction = inspect_query(opened.prepared, relevance, query, market_settings(setting, opened.scenario))
    except ValueError as error:
        st.error(f"{label} cannot rank.\n\n{error}")
        st.write("Choose another relevance scorer in the sidebar.")
        return
    if not len(auction):
        st.info("No advertiser bids on these words, so no ad can be shown. Choose another query above.")
        return
    shown = auction.filter(pl.col("slot").is_not_null())
    rest = auction.filter(pl.col("slot").is_null())
    st.markdown(f"#### {_summary(auction, shown, in_words(setting, label), opened.scenario.auction.payment)}")
    exponent = 0.0 if setting.scorer == session.BASELINE else setting.exponent
    bid, pctr = offer_exponents(opened.scenario)
    frames = {ad: opened.prepared.world.corpus.frames[ad] for ad in auction["ad"]}
    if len(shown):
        exponents, payment = (bid, pctr, exponent), opened.scenario.auction.payment
        st.html(cards.auction_cards(shown.rows(named=True), frames, exponents, payment))
    else:
        st.info("No candidate may be shown. Lower the reserve or the least relevance in the sidebar.")
    st.plotly_chart(
        figures.ranking(
            auction, exponent=exponent, threshold=setting.threshold, bid_exponent=bid, pctr_exponent=pctr
        ),
        config={"displayModeBar": False},
    )
    st.caption(
        "Numbers are slots. Ads on one curve score alike: what lies to the right of the dashed curve is "
        "shown. Bids are the opening bids of the day, in currency units per click, with every budget whole."
    )
    with st.expander("What the true grades mean"):
        st.html(cards.grade_legend())
    if len(rest):
        st.subheader(f"Not shown: {len(rest)} candidates, best first")
        st.html(cards.rest_table(rest.rows(named=True), frames))


def _events(opened: Opened) -> None:
    """What there is of a table's auctions: numbers, and what the scenario's own run made of them."""
    prepared = opened.prepared
    st.info(
        "This market is a table of auctions: numbers, without texts and key frames. So there are no pictures "
        "here. Below is what the table holds of each event, and who was shown in the scenario's own run."
    )
    n_events = session.total_queries(prepared)
    event = (
        int(st.number_input(f"Event, in order of time (1 to {n_events:,})", 1, n_events, 1, key="event")) - 1
    )
    try:
        auction = inspect_event(prepared, session.settled(prepared), event)
    except ValueError as error:
        st.error(str(error))
        return
    shown = auction["slot"].drop_nulls().len()
    st.markdown(f"#### {auction['query_id'][0]}: of {len(auction)} candidates {shown} shown")
    st.dataframe(auction.drop("query_id"), hide_index=True, column_config=_COLUMNS)
    st.download_button(
        "This auction (CSV)", auction.write_csv(), "auction.csv", "text/csv", icon=":material/download:"
    )


def _choose_query(prepared: Prepared) -> int:
    popularity = prepared.world.query_popularity
    texts = prepared.world.corpus.query_text
    order = np.argsort(-popularity, kind="stable").tolist()
    if not 0 <= st.session_state.get(QUERY, -1) < len(texts):
        st.session_state[QUERY] = order[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = st.selectbox(
            "Query: type to search; most popular first",
            order,
            format_func=lambda q: f"{texts[q]}   ({popularity[q]:.2%} of traffic)",
            key=QUERY,
        )
        st.button("Random query", icon=":material/shuffle:", on_click=_random_query, args=(len(texts),))
    return int(query)


def _random_query(n_queries: int) -> None:
    st.session_state[QUERY] = random.SystemRandom().randrange(n_queries)


def _summary(auction: pl.DataFrame, shown: pl.DataFrame, name: str, payment: str) -> str:
    """The auction in one sentence."""
    eligible = int(auction["score"].is_not_null().sum())
    found = f"Ranked by {name}: of {len(auction)} candidate{'s' * (len(auction) > 1)}"
    if not len(shown):
        return f"{found} none may be shown."
    times_paid = 1.0 if payment == "impression" else shown["p_click"]
    revenue = 1000 * float((shown["price"] * times_paid).sum())
    counts = ((grade, int((shown["grade"] == grade).sum())) for grade in reversed(range(len(GRADE_NAMES))))
    mix = ", ".join(f"{count} {GRADE_NAMES[grade]}" for grade, count in counts if count)
    return (
        f"{found} {eligible} {'is' if eligible == 1 else 'are'} eligible and {len(shown)} shown ({mix}), "
        f"worth {revenue:,.0f} in revenue per 1,000 such queries."
    )


if __name__ == "__main__":
    page(session.current())
