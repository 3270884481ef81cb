"""What a stored replay found (`relbid replay`): its table, and the figure of revenue and irrelevant ads."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl
import streamlit as st

from app import session
from app.figures import replay_figures as figures
from app.language import t, t_plain
from app.parts.download import chart_with_data
from app.texts import message
from app.wording import scorer_name
from scenarios import Replay


def draw(folder: Path) -> None:
    """Draw the page of a replay, or say why it cannot be opened."""
    st.title(t("replayed.title"))
    try:
        found = session.replay(folder)
    except (ValueError, OSError) as error:
        st.error(f"{t('main.cannot_open')}\n\n{message(error)}")
        st.write(t("replayed.remedy"))
        return
    rows = rows_of(found)
    queries = int(found.points["queries"][0])
    st.markdown(f"#### {_best(rows)}")
    st.caption(t("replayed.basis", n=queries, table=found.source, days=found.days))
    for warning in found.warnings:
        st.warning(message(warning))
    chart_with_data(figures.earned(rows), found.points, "replay")
    st.caption(t("replayed.caption"))
    st.dataframe(_table(rows), hide_index=True)
    st.caption(t("replayed.columns"))
    slots = ", ".join(f"{one:.3g}" for one in found.examination)
    st.caption(t("replayed.examination", slots=slots))
    st.info(t("replayed.fixed"))


def rows_of(replay: Replay) -> pl.DataFrame:
    """The log, then one row for each way to rank.

    Columns: scorer and rule (null of the log); revenue and error, its standard error: of the log what it
    earned, otherwise by DR, or by the model where the log does not say what it showed; change and
    change_error, by IPS against the log, in per cent; irrelevant, fill and covered in per cent; price;
    effective, the effective number of logged impressions. Money is in currency units per 1,000 queries, the
    price per click. What is not known is null.
    """
    logged, known = pl.col("kind") == "log", pl.col("revenue_dr").is_not_null()

    def per_thousand(name: str) -> pl.Expr:
        return 1000 * pl.col(name) / pl.col("queries")

    revenue = pl.coalesce("revenue_dr", "revenue_model")
    error = pl.when(known).then(pl.col("revenue_dr_se")).otherwise(pl.col("revenue_model_se"))
    points = replay.points.with_columns(
        revenue=pl.when(logged).then(pl.coalesce("revenue", "revenue_model")).otherwise(revenue),
        error=pl.when(logged).then(None).otherwise(error),
    )
    return points.select(
        "scorer",
        "rule",
        revenue=per_thousand("revenue"),
        error=per_thousand("error"),
        change=100 * pl.col("change"),
        change_error=100 * pl.col("change_se"),
        irrelevant=100 * pl.col("irrelevant_share"),
        price=pl.col("mean_price"),
        fill=100 * pl.col("fill"),
        covered=100 * pl.col("covered"),
        effective=pl.col("effective_impressions"),
    )


def _best(rows: pl.DataFrame) -> str:
    """What earns most among the ways that show no more irrelevant ads than the log did."""
    log, ways = rows.row(0, named=True), rows[1:]
    if log["irrelevant"] is not None:
        ways = ways.filter(pl.col("irrelevant") <= log["irrelevant"] + 1e-9)
    ways = ways.filter(pl.col("revenue").is_not_null())
    if not ways.height or log["revenue"] is None:
        return t("replayed.nothing")
    best = ways.sort("revenue", descending=True).row(0, named=True)
    share = "" if best["irrelevant"] is None else t_plain("replayed.share", share=best["irrelevant"])
    error = best["error"] or 0.0
    return t(
        "replayed.best", scorer=scorer_name(best["scorer"]), rule=best["rule"], revenue=best["revenue"],
        error=error, logged=log["revenue"], share=share,
    )  # fmt: skip


def _table(rows: pl.DataFrame) -> pl.DataFrame:
    name = partial(_named, rows)
    numbers = [one for one in rows.columns if one not in ("scorer", "rule")]
    return rows.select(
        name("scorer").alias(t("replayed.column_scorer")),
        pl.col("rule").fill_null("").alias(t("replayed.column_rule")),
        *(pl.col(one).round(2).alias(t(f"replayed.column_{one}")) for one in numbers),
    )


def _named(rows: pl.DataFrame, column: str) -> pl.Series:
    """Names of scorers in the reader's language. Not by Polars' threads, which know of no reader."""
    named = [t("replayed.log") if one is None else scorer_name(one) for one in rows[column]]
    return pl.Series(column, named, dtype=pl.String)
