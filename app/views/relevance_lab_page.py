"""Page Relevance lab: scorers offline, on held-out queries and ads, without money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import polars as pl
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import session
from app.figures import offline_figures as figures
from app.language import names, t, t_plain
from app.parts import gallery, offline_scores as offline
from app.parts.credit import picture_credit
from app.parts.download import chart_with_data, download
from app.session import Opened, Sample
from app.texts import message
from app.wording import MISSING, scorer_name
from scenarios import (
    PAIR_SETS,
    Labels,
    OfflineScores,
    PairSet,
    Progress,
    gap_of,
    offline_doubts,
    offline_scorers,
    reliability_of,
    worst_errors,
)

KEYS = ("lab-pairs", "lab-queries", "lab-scorers", "lab-errors", "lab-kind")
PAIRS, QUERIES, SCORERS, ERRORS, KIND = KEYS

SAMPLES = (50, 150, 300, 600, 0)
"""Queries to choose from; 0 is all of them."""

USUAL_PAIRS: PairSet = "meeting"
"""Those on which a ranking is decided; the others have equally many of each grade, which flatters."""

KINDS: tuple[Literal["over", "under"], ...] = ("over", "under")
SHOWN_ERRORS = 12


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("lab.title"))
    if not opened.prepared.source.has_texts:
        st.info(t("lab.table"))
        st.write(t("lab.table_remedy"))
        return
    sample, wanted = _ask(opened)
    if not wanted:
        st.info(t("lab.no_scorer"))
        return
    try:
        labels = session.offline_labels(opened.prepared, sample)
    except ValueError as error:
        st.error(message(error))
        st.write(t("lab.other_pairs"))
        return
    scores = _scored(opened, labels, sample, wanted)
    if not scores:
        return
    _metrics(opened, labels, sample, scores)
    curves = {name: reliability_of(labels, found) for name, found in scores.items()}
    gaps = {name: gap_of(labels, found) for name, found in scores.items()}
    no_probabilities = {name for name, found in scores.items() if found.grade_probabilities is None}
    reliability = offline.reliability_table(curves, no_probabilities)
    quantiles = offline.score_quantiles(labels, scores)
    with st.container(key="figures"):
        chart_with_data(figures.reliability(reliability), reliability, "reliability")
        chart_with_data(figures.score_distributions(quantiles, gaps), quantiles, "scores-by-grade")
    st.caption(t("lab.figures_caption"))
    _errors(opened, labels, scores)


def _ask(opened: Opened) -> tuple[Sample, list[str]]:
    known = offline_scorers(opened.scenario)
    st.session_state.setdefault(PAIRS, USUAL_PAIRS)
    st.session_state.setdefault(QUERIES, SAMPLES[1])
    kept = [name for name in st.session_state.get(SCORERS, ()) if name in known]
    st.session_state[SCORERS] = kept or [known[0], "bm25", "oracle"]
    with st.container(key="small-controls"):
        pairs = st.selectbox(
            t("lab.pairs"),
            PAIR_SETS,
            format_func=names(PAIR_SETS, lambda one: t(f"lab.pairs_{one}")),
            key=PAIRS,
            help=t("lab.pairs_help"),
        )
        n_queries = st.select_slider(
            t("lab.queries"),
            SAMPLES,
            format_func=names(SAMPLES, lambda n: str(n) if n else t("lab.all")),
            key=QUERIES,
            help=t("lab.queries_help"),
        )
    named, about = names(known, scorer_name), t("lab.scorers_help")
    wanted = st.multiselect(t("lab.scorers"), known, format_func=named, key=SCORERS, help=about)
    return (pairs, int(n_queries) or None), list(wanted)


def _scored(
    opened: Opened, labels: Labels, sample: Sample, wanted: Sequence[str]
) -> dict[str, OfflineScores]:
    """The scores of each scorer that can be had; says why of the others."""
    scores = {}
    for name in wanted:
        place = st.empty()
        try:
            scores[name] = session.offline_scores(
                opened.prepared, labels, sample, name, _reporter(place, scorer_name(name))
            )
        except ValueError as error:
            st.error(f"{t('scorers.cannot_score', scorer=scorer_name(name))}\n\n{message(error)}")
            st.write(t("lab.other_scorer"))
        place.empty()
    return scores


def _reporter(place: DeltaGenerator, scorer: str) -> Progress:
    """Progress as a bar. A reader who changes something meanwhile stops the scoring here."""

    def report(_: str, done: int, total: int) -> None:
        share = min(done / total, 1.0) if total else 0.0
        place.progress(share, t("lab.scoring", scorer=scorer, done=done, total=total))

    return report


def _metrics(
    opened: Opened,
    labels: Labels,
    sample: Sample,
    scores: dict[str, OfflineScores],
) -> None:
    evaluations = session.offline_evaluation(opened.prepared, sample, tuple(scores), labels, scores)
    table = offline.metrics_table(
        evaluations, {name: gap_of(labels, found) for name, found in scores.items()}
    )
    said = [
        t_plain("lab.orders", scorer=scorer_name(row["scorer"]), auc=row["auc"])
        for row in table.iter_rows(named=True)
        if math.isfinite(row["auc"])
    ]
    if said:
        st.markdown(f"#### {t('lab.summary', said=t('words.semicolon').join(said))}")
    basis = "lab.basis_corpus" if opened.scenario.market.kind == "corpus" else "lab.basis"
    st.caption(
        t(basis, pairs=len(labels), queries=len(set(labels.query.tolist())),
          ads=len(set(labels.ad.tolist())), positive=float((labels.grade >= 2).mean()),
          split=opened.scenario.split)
    )  # fmt: skip
    for doubt in offline_doubts(opened.scenario, scores, sample[0]):
        st.warning(
            t(f"lab.doubt_{doubt.kind}", checkpoint=doubt.checkpoint, field=doubt.field,
              trained=doubt.trained, here=doubt.here)
        )  # fmt: skip
    st.dataframe(_readable(table), hide_index=True)
    st.caption(t("lab.metrics_caption", first=scorer_name(next(iter(scores)))))
    download(t("download.metrics"), table.write_csv(), "offline-metrics.csv", type="tertiary")


def _readable(table: pl.DataFrame) -> pl.DataFrame:
    columns = {
        t("lab.column_scorer"): [scorer_name(scorer) for scorer in table["scorer"]],
        "AUC": table["auc"].round(3),
        t("lab.column_3_2"): table["auc_3_2"].round(3),
        t("lab.column_1_0"): table["auc_1_0"].round(3),
        "Spearman": table["spearman"].round(3),
        "NDCG@10": table["ndcg_10"].round(3),
        "PNR": [f"{x:.1f}" if math.isfinite(x) else "∞" for x in table["pnr"]],
        t("lab.column_gap"): table["gap"].round(3),
        t("lab.column_auc_lead"): _intervals(table, "auc_lead"),
        t("lab.column_ndcg_lead"): _intervals(table, "ndcg_lead"),
    }
    return pl.DataFrame(columns)


def _intervals(table: pl.DataFrame, name: str) -> list[str]:
    return [
        MISSING if value is None else f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
        for value, low, high in table.select(name, f"{name}_low", f"{name}_high").iter_rows()
    ]


def _errors(opened: Opened, labels: Labels, scores: dict[str, OfflineScores]) -> None:
    st.subheader(t("lab.errors"))
    known = list(scores)
    if st.session_state.get(ERRORS) not in known:
        st.session_state[ERRORS] = known[0]
    st.session_state.setdefault(KIND, "over")
    with st.container(key="small-controls-errors"):
        name = str(st.selectbox(t("lab.errors_of"), known, format_func=names(known, scorer_name), key=ERRORS))
        kind = st.radio(
            t("lab.errors_kind"), KINDS, format_func=names(KINDS, lambda one: t(f"lab.errors_{one}")),
            key=KIND, horizontal=True,
        )  # fmt: skip
    found = worst_errors(opened.prepared, labels, scores[name], kind, SHOWN_ERRORS)
    if not len(found):
        st.info(t("lab.no_errors", scorer=scorer_name(name)))
        return
    frames = {ad: opened.prepared.corpus.frames[ad] for ad in found["ad"]}
    st.html(gallery.gallery(found.rows(named=True), frames, scorer_name(name)))
    picture_credit(opened.scenario)
    st.caption(t("lab.errors_caption"))
    download(t("download.errors"), found.write_csv(), "worst-errors.csv", type="tertiary")


if __name__ == "__main__":
    page(session.current())
