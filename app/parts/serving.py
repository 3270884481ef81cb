"""How queries are served in the opened scenario: latency, utilisation, and what another server is worth."""

from __future__ import annotations

import math

import polars as pl
import streamlit as st

from app import session
from app.language import t
from app.session import Opened
from app.setting import Setting, market_settings
from app.wording import MISSING, metric_name
from scenarios import Prepared, Relevance, Simulation, simulate

ASKED = "serving-asked"
"""In the session's state: the result for which other numbers of servers have been asked for."""
SHOWN = {
    "latency_p50_s": "{:.0f} ms",
    "latency_p95_s": "{:.0f} ms",
    "latency_p99_s": "{:.0f} ms",
    "timeout_share": "{:.2%}",
    "cache_hit_share": "{:.1%}",
    "utilisation": "{:.0%}",
    "served_per_s": "{:,.0f}",
    "capacity_per_s": "{:,.0f}",
    "cost_per_million": "{:,.2f}",
}
"""Figures of serving, and how they are written; one that a run does not have is left out."""
OWN_NAMES = (
    "latency_p50_s",
    "latency_p95_s",
    "latency_p99_s",
    "utilisation",
    "served_per_s",
    "capacity_per_s",
    "cost_per_million",
)


def draw(opened: Opened, simulation: Simulation) -> None:
    """The section Serving of a market whose queries wait for servers."""
    serving = opened.scenario.serving
    st.markdown(f"#### {t('serving.title')}")
    key = "serving.basis_measured" if serving.clock == "measured" else "serving.basis"
    st.caption(t(key, n=serving.servers, batch=serving.batch_size))
    own = serving_figures(simulation)
    with st.container(key="small-cards-serving"):
        for name, form in SHOWN.items():
            if math.isfinite(own.get(name, math.nan)):
                st.metric(_name(name), _written(name, own[name], form), border=True)
    if serving.clock == "measured":
        st.info(t("serving.measured"))
        return
    asked = st.session_state.get(ASKED) == opened.result.folder.name
    if not asked:
        st.button(t("serving.ask"), icon=":material/dns:", on_click=_ask, args=(opened.result.folder.name,))
        return
    counts = [n for n in (serving.servers - 1, serving.servers, serving.servers + 1) if n]
    relevance = session.relevance(opened.prepared, opened.b.scorer)
    with st.spinner(t("spinner.day")):
        figures = {
            n: own if n == serving.servers else _with_servers(opened.prepared, opened.b, n, relevance)
            for n in counts
        }
    st.markdown(in_a_sentence(own, figures[serving.servers + 1], serving.price_per_hour))
    st.dataframe(table(figures), hide_index=True)
    st.caption(t("serving.more"))


def serving_figures(simulation: Simulation) -> dict[str, float]:
    """A run's metrics, with the share of their time that servers worked."""
    log, market = simulation.log, simulation.market
    span_s = float(log.answered_s.max(initial=market.days * market.horizon_s))
    return {"utilisation": float(log.busy_s.sum() / (log.busy_s.size * span_s)), **simulation.metrics}


def in_a_sentence(own: dict[str, float], more: dict[str, float], price: float | None) -> str:
    """What one server more brings."""
    said = t(
        "serving.worth",
        revenue=f"{more['revenue_rpm'] - own['revenue_rpm']:+,.2f}",
        was=f"{1000 * own['latency_p95_s']:.0f}",
        now=f"{1000 * more['latency_p95_s']:.0f}",
        late=f"{own['timeout_share']:.2%}",
        later=f"{more['timeout_share']:.2%}",
    )
    return said if price is None else f"{said} {t('serving.price', price=price)}"


def table(figures: dict[int, dict[str, float]]) -> pl.DataFrame:
    """One row per number of servers."""
    further = {"revenue_rpm": "{:,.2f}", "irrelevant_share": "{:.2%}"}
    shown = {name: form for name, form in SHOWN.items() if name in next(iter(figures.values()))} | further
    return pl.DataFrame(
        [
            {t("serving.servers"): n}
            | {_name(name): _written(name, of[name], form) for name, form in shown.items()}
            for n, of in figures.items()
        ]
    )


@st.cache_resource(show_spinner=False, max_entries=32, hash_funcs=session.KEYS)
def _with_servers(market: Prepared, setting: Setting, n: int, _relevance: Relevance) -> dict[str, float]:
    return serving_figures(simulate(market, _relevance, {**market_settings(setting), "serving.servers": n}))


def _ask(result: str) -> None:
    st.session_state[ASKED] = result


def _name(name: str) -> str:
    return t(f"serving.{name}") if name in OWN_NAMES else metric_name(name)


def _written(name: str, value: float, form: str) -> str:
    if not math.isfinite(value):
        return MISSING
    return form.format(1000 * value if name.startswith("latency") else value)
