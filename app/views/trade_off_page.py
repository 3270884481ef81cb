"""Page 1, trade-off: what my formula costs and earns against today's, over several days."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import polars as pl
import streamlit as st

from app import address, session, wording
from app.bar import formula_bar
from app.days import Days, held, missing_elsewhere, over_days, over_worlds
from app.export import measured, scenario_text
from app.figures import trade_off_figures as figures
from app.language import t
from app.opening import SHARE, cheapest, opening_setting, rounded_up, stored_bound
from app.parts import job_panel, uplift, why
from app.parts.download import chart_with_data, download
from app.session import Opened
from app.setting import (
    BASELINE,
    EXPONENT_FIELDS,
    Setting,
    chosen_scenario,
    in_words,
    product,
    setting_at,
    stored_scenario,
)
from app.texts import markdown, message
from app.wording import scorer_name
from scenarios.reporting.theme import QUIET

CHART, CURVE, WHOLE, POINT, BOUND = "trade-off", "curve", "whole", "opened-point", "bound"
TAKEN, PROPOSED, OWN_WORLD = "taken", "bound-proposed", "own-world"
KEYS = (WHOLE, BOUND, OWN_WORLD, *why.KEYS)
ADDRESS = {
    "whole": (WHOLE, address.switch),
    "bound": (BOUND, address.percent),
    "own_world": (OWN_WORLD, address.switch),
}

EXPONENTS = (0.25, 0.5, 1.0, 2.0)
"""Those of the curve where the stored result swept no exponent."""

POLL_S = 1.5
"""The curve is drawn again after so long while it is simulated."""

BETTER: Final = "blue"
WORSE: Final = "orange"
"""Streamlit's names of the colours of differences; many eyes cannot tell green from red."""

HEAD = ("revenue_rpm", "irrelevant_share")
"""Metrics that an exported scenario names at its head."""


def page(opened: Opened) -> None:
    """Draw the page."""
    st.title(t("trade_off.title"))
    whole = _whole(opened)
    headline, notice = st.empty(), st.container()
    with st.container(key="first-screen"):
        curve, side = st.container(), st.container()
    with side:
        bound_place = st.container()
        cards = st.empty()
        basis = st.container()
    below = st.container()
    n_days = session.n_days(opened.prepared)
    with curve:
        waiting = st.empty()

    def simulated(days: int) -> None:
        if days < n_days and not (_is_known(opened, opened.a, whole) and _is_known(opened, opened.b, whole)):
            waiting.progress(days / n_days, t("trade_off.days_running", done=days, total=n_days))

    def say(found: list[Days]) -> None:
        simulated(len(found[0].of))
        with headline.container():
            st.markdown(f"#### {markdown(_answer(*found, days=n_days))}")
        with cards.container():
            _cards(*found)

    try:
        simulated(0)
        own = over_days(opened.prepared, (opened.a, opened.b), whole=whole, after_day=say)
    except ValueError as error:
        with notice:
            names = " / ".join(scorer_name(one.scorer) for one in (opened.a, opened.b))
            st.error(f"{t('scorers.cannot_simulate', scorer=names)}\n\n{message(error)}")
            st.write(t("trade_off.points_below"))
        _stored_chart(opened, None)
        return
    finally:
        waiting.empty()
    with bound_place:  # what is proposed depends on the days
        bound = _bound(opened, whole=whole)
    with basis:
        shown = None
        if session.n_worlds(opened.prepared) > 1 and not _own_world(opened):
            shown = over_worlds(opened.prepared, (opened.a, opened.b), whole=whole)
            if shown is not None:
                say(shown)
        _basis(opened, shown, whole=whole)
    with curve:
        _curve(opened, own, shown, bound, whole=whole)
    with below:
        _below(opened, own, shown or own, whole=whole)


def _below(opened: Opened, own: list[Days], shown: list[Days], *, whole: bool) -> None:
    """What is below the first screen.

    Args:
        own: A and B over days of the scenario's own world.
        shown: A and B as the first screen shows them.
    """
    a, b = shown
    with st.container(key="figures"):
        changes = figures.changes_by_side(a, b)
        chart_with_data(figures.who_gains(changes), changes, "who-gains")
        both: dict[str, Days] = {t("trade_off.mix_today"): a, t("trade_off.mix_mine"): b}
        chart_with_data(figures.grades_seen(both), figures.grade_table(both), "true-grades")
    if opened.a != opened.b:
        why.draw(opened)
    with st.container(horizontal=True):
        _exports(opened, *own, whole=whole)
        uplift.offer(opened)
    with st.expander(t("trade_off.stored"), icon=":material/inventory_2:"):
        _stored_chart(opened, figures.ChosenPoint(in_words(opened.b), own[1].of[0]))
        if len(opened.result.points):
            st.dataframe(_table(opened.result.points), hide_index=True)
    st.caption(t("trade_off.simulated_market"))


def _whole(opened: Opened) -> bool:
    """Whether to simulate all queries; asks where that takes longer than a slider should."""
    sample = session.live_queries(opened.prepared)
    if sample is None:
        return True
    total = session.total_queries(opened.prepared)
    return st.toggle(
        t("trade_off.whole", total=total, sample=sample), key=WHOLE, help=t("trade_off.whole_help")
    )


def _bound(opened: Opened, *, whole: bool) -> float:
    """The bound on irrelevant ads, a share; NaN where no share is known.

    The one proposed is that of the stored points, but never one that the formula opened at would miss by the
    figures that the page shows: it moves with these until somebody has typed another.
    """
    proposed = stored_bound(opened.result)
    if not math.isfinite(proposed):
        return math.nan
    if opened.b == opening_setting(opened.result) and _is_known(opened, opened.b, whole):
        shown = None
        if not st.session_state.get(OWN_WORLD):
            shown = over_worlds(opened.prepared, (opened.b,), whole=whole)
        mean = (shown or over_days(opened.prepared, (opened.b,), whole=whole))[0].mean(SHARE)
        proposed = max(proposed, rounded_up(mean))
    if st.session_state.setdefault(BOUND, st.session_state.get(PROPOSED)) == st.session_state.get(PROPOSED):
        st.session_state[BOUND] = st.session_state[PROPOSED] = round(100 * proposed, 1)
    typed = st.number_input(
        t("trade_off.bound"), 0.0, 100.0, step=0.1, format="%.1f", key=BOUND, help=t("trade_off.bound_help")
    )
    return float(typed) / 100


def _is_known(opened: Opened, setting: Setting, whole: bool) -> bool:
    """Whether all days of the scenario's own world are simulated."""
    days = range(session.n_days(opened.prepared))
    return all(session.is_known(opened.prepared, setting, whole=whole, day=day) for day in days)


def _own_world(opened: Opened) -> bool:
    """Whether the first screen is to show days of the scenario's own world alone."""
    return st.toggle(
        t("trade_off.own_world", n=session.n_worlds(opened.prepared) - 1),
        key=OWN_WORLD,
        help=t("trade_off.own_world_help"),
    )


def _answer(a: Days, b: Days, *, days: int) -> str:
    """What B costs and earns against A, in one sentence with its intervals."""
    if len(b.of) == 1:
        said = wording.answer(b.of[0], a.of[0])
        return said if days == 1 else t("trade_off.first_day", said=said, days=days)
    return wording.answer_over_days(
        held(a, b, "revenue_rpm"), held(a, b, SHARE), a.mean(SHARE), b.mean(SHARE)
    )


def _cards(a: Days, b: Days) -> None:
    with st.container(key=f"small-cards-days-{len(b.of)}-{b.each}"):
        for figure in wording.figures_over_days(a.of, b.of):
            st.metric(
                figure.label,
                figure.value,
                figure.difference,
                delta_color="off" if figure.better is None else BETTER if figure.better else WORSE,
                delta_arrow="off" if figure.better is None else "auto",
                help=figure.help,
            )


def _basis(opened: Opened, shown: list[Days] | None, *, whole: bool) -> None:
    days = session.n_days(opened.prepared)
    of = uplift.day_in_words(opened, whole=whole)
    if not whole:
        st.caption(t("trade_off.preview", n=days, day=of))
    elif shown is None:
        st.caption(t("trade_off.basis", n=days, day=of))
    else:
        st.caption(t("trade_off.basis_worlds", n=len(shown[0].of), days=days, day=of))


def _exponents_of(opened: Opened) -> list[float]:
    swept = opened.scenario.sweep
    return sorted(swept.values if swept is not None and swept.field in EXPONENT_FIELDS else EXPONENTS)


def candidates(opened: Opened) -> list[Setting]:
    """The formulas of the curve: powers of relevance by B's scorer, at B's reserve and without a gate."""
    scorer = opened.scenario.scorer if opened.b.scorer == BASELINE else opened.b.scorer
    if scorer == BASELINE:
        return []
    bid, pctr, _ = opened.b.exponents or (1.0, 1.0, 0.0)
    plain = replace(opened.b, scorer=scorer, threshold=0.0)
    return [replace(plain, formula=product(x, bid, pctr)) for x in _exponents_of(opened) if x > 0]


def _curve(opened: Opened, own: list[Days], shown: list[Days] | None, bound: float, *, whole: bool) -> None:
    """The trade-off over the days; it is simulated beside the page, which answers meanwhile.

    Other worlds come after the scenario's own. They are drawn once all that the page shows is known in them.
    """
    market, wanted = opened.prepared, candidates(opened)
    days = range(session.n_days(market))
    several = session.n_worlds(market) > 1 and not st.session_state.get(OWN_WORLD)
    elsewhere = list(dict.fromkeys([opened.a, opened.b, *wanted])) if several else []

    def missing() -> list[tuple[Setting, int]]:
        pairs = ((setting, day) for setting in wanted for day in days)
        return [pair for pair in pairs if not session.is_known(market, pair[0], whole=whole, day=pair[1])]

    def far() -> tuple[int, int]:
        return missing_elsewhere(market, elsewhere, whole=whole) if elsewhere else (0, 0)

    at_first, far_at_first = missing(), far()[0]
    session.simulate_later(market, at_first, whole=whole, elsewhere=elsewhere if far_at_first else ())

    def draw() -> None:
        left, (left_far, far_total) = missing(), far()
        dropped = left_far and not session.worker().busy and session.world_job(market) is None
        finished = (at_first or far_at_first) and not left and not left_far
        if st.session_state.pop(TAKEN, False) or finished or (dropped and not session.world_fault(market)):
            st.rerun()
        unfinished = {setting for setting, _ in left}
        ready = [setting for setting in wanted if setting not in unfinished]
        a, b = shown or own
        points = over_worlds(market, ready, whole=whole) if shown else None
        if points is None:
            (a, b), points = own, [over_days(market, (setting,), whole=whole)[0] for setting in ready]
        found = [
            figures.CurvePoint(setting.formula, one, a, setting)
            for setting, one in zip(ready, points, strict=True)
        ]
        _draw_curve(opened, found, figures.CurvePoint(in_words(opened.b), b, a, opened.b), bound)
        if left:
            n = len(wanted) * len(days)
            st.progress(1 - len(left) / n, t("trade_off.curve_running", done=n - len(left), total=n))
        elif left_far:
            _elsewhere(opened, far_total - left_far, far_total)

    st.fragment(draw, run_every=POLL_S if at_first or far_at_first else None)()


def _elsewhere(opened: Opened, done: int, total: int) -> None:
    """How far other worlds are."""
    market, others = opened.prepared, session.n_worlds(opened.prepared) - 1
    if fault := session.world_fault(market):
        st.warning(t("trade_off.world_fault", fault=fault))
    elif (found := session.world_job(market)) is not None:
        title = t("trade_off.world_prepared", world=found[0], n=others)
        job_panel.show(found[1], title, t("trade_off.world_again"))
    else:
        st.progress(done / total, t("trade_off.worlds_running", n=others, done=done, total=total))


def _draw_curve(
    opened: Opened, found: list[figures.CurvePoint], mine: figures.CurvePoint, bound: float
) -> None:
    best = cheapest([point.row for point in found], bound)
    marked = next((point for point in found if best is not None and point.row == best), None)
    drawn = figures.curve(found, mine, in_words(opened.a), marked, bound)
    st.plotly_chart(drawn, key=CURVE, on_select=_take_clicked, selection_mode="points", config=QUIET)
    with st.container(horizontal=True, vertical_alignment="center"):
        if marked is None:
            st.caption(t("trade_off.none_under") if found and math.isfinite(bound) else "")
        elif marked.setting == opened.b:
            st.caption(t("trade_off.is_cheapest", bound=bound))
        else:
            said = wording.point_over_days(marked.change, marked.days.mean(SHARE))
            st.markdown(t("trade_off.cheaper", formula=marked.setting.formula, said=said, bound=bound))
            st.button(
                t("trade_off.take", formula=marked.setting.formula),
                key="take",
                type="primary",
                on_click=_take,
                args=(marked.setting,),
            )


def _take_clicked() -> None:
    """Take the clicked formula of the curve."""
    clicked = figures.selected_id(st.session_state.get(CURVE))
    opened = session.current()
    found = next((one for one in candidates(opened) if one.formula == clicked), None)
    if found is not None:
        _take(found)


def _take(setting: Setting) -> None:
    """Make a formula of the curve mine; the curve is a part of the page, so the page has to be drawn, too."""
    formula_bar.write(setting)
    st.session_state[TAKEN] = True


def _stored_chart(opened: Opened, chosen: figures.ChosenPoint | None) -> None:
    """The stored points of the scenario's own day, by all scorers."""
    points = opened.result.points
    if not len(points):
        st.info(t("trade_off.no_points"))
        return
    drawn = figures.trade_off(points, chosen)
    st.plotly_chart(drawn, key=CHART, on_select=choose_clicked, selection_mode="points", config=QUIET)
    if not points["irrelevant_share"].is_finite().any():
        st.info(t("trade_off.no_grades"))
        return
    field = points["field"][0]
    meaning = t("trade_off.exponent") if field in EXPONENT_FIELDS else field
    numbers = t("trade_off.numbers", meaning=meaning) if field else ""
    st.caption(numbers + t("trade_off.click"))
    _stored_point(opened)


def choose_clicked() -> None:
    """Open the clicked point: as my formula or, where no formula is it, as it is stored."""
    clicked = figures.selected_id(st.session_state.get(CHART))
    if clicked is None:
        return
    opened = session.current()
    setting = setting_at(opened.scenario, *figures.parse_point_id(clicked))
    if setting is None:
        st.session_state[POINT] = (opened.result.folder.name, clicked)
    else:
        st.session_state.pop(POINT, None)
        formula_bar.write(setting)


def _stored_point(opened: Opened) -> None:
    """A clicked point that no formula reaches: its stored figures, and its exact scenario."""
    folder, clicked = st.session_state.get(POINT, ("", ""))
    if folder != opened.result.folder.name:
        return
    scorer, field, value = figures.parse_point_id(clicked)
    label = scorer_name(scorer)
    points = opened.result.points
    rows = points.filter(
        (pl.col("scorer") == scorer) & (pl.col("field") == field) & (pl.col("value") == value)
    )
    baseline = points.filter((pl.col("kind") == "compare") & (pl.col("scorer") == session.BASELINE))
    if not len(rows):
        return
    with st.container(border=True):
        st.markdown(f"#### {t('trade_off.stored_point', scorer=label, field=field, value=value)}")
        st.caption(t("trade_off.stored_point_caption"))
        row = rows.row(0, named=True)
        _cards_of(row, baseline.row(0, named=True) if len(baseline) else row)
        scenario = stored_scenario(opened.scenario, scorer, field, value)
        text = scenario_text(scenario, row, HEAD)
        file = f"{opened.scenario.name}-{scorer.rpartition(':')[2]}-{value:g}.yaml"
        download(t("download.point"), text, file, help=t("download.point_help"))


def _cards_of(row: wording.Metrics, baseline: wording.Metrics) -> None:
    with st.container(horizontal=True):
        for figure in wording.key_figures(row, baseline)[:4]:
            st.metric(figure.label, figure.value, figure.difference, delta_color="off", help=figure.help)


def _exports(opened: Opened, a: Days, b: Days, *, whole: bool) -> None:
    """The days behind the figures as a table, and my formula as a scenario that gives them."""
    rows = [
        {"formula": setting.formula, "scorer": setting.scorer, "threshold": setting.threshold,
         "reserve": setting.reserve, "seed": opened.scenario.seed + day, **metrics}
        for setting, found in ((opened.a, a), (opened.b, b))
        for day, metrics in enumerate(found.of)
    ]  # fmt: skip
    download(t("download.chart"), pl.DataFrame(rows).write_csv(), "trade-off.csv")
    scenario = chosen_scenario(opened.b, opened.scenario)
    text = scenario_text(scenario, b.of[0], HEAD, measured(opened, a, b, HEAD))
    about = t("download.scenario_exact" if whole else "download.scenario_preview")
    download(t("download.scenario"), text, "scenario.yaml", disabled=not whole, help=about)


def _table(points: pl.DataFrame) -> pl.DataFrame:
    field = points["field"][0]
    return points.select(
        pl.col("scorer").alias(t("trade_off.column_scorer")),
        *([pl.when(pl.col("kind") == "sweep").then("value").alias(field)] if field else []),
        pl.col("revenue_rpm").round(2).alias(t("trade_off.column_revenue")),
        (100 * pl.col("irrelevant_share")).round(2).alias(t("trade_off.column_irrelevant")),
        (100 * pl.col("ctr")).round(2).alias(t("trade_off.column_ctr")),
        pl.col("mean_price").round(3).alias(t("trade_off.column_price")),
        (1000 * pl.col("advertiser_surplus") / pl.col("queries"))
        .round(2)
        .alias(t("trade_off.column_surplus")),
        (1000 * pl.col("user_utility") / pl.col("queries")).round(2).alias(t("trade_off.column_utility")),
        pl.col("pareto").alias(t("trade_off.column_front")),
    )


if __name__ == "__main__":
    page(session.current())
