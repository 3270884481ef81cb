"""The bar on top of every page: the two formulas that all pages compare, the result, and the language.

A is today's, B is mine. The widgets' values are the state, and `app.address` keeps them in the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import address, language, notes
from app.bar import tour
from app.files import results_root
from app.language import names, t
from app.setting import (
    BASELINE,
    Setting,
    fault_of,
    in_words,
    normal,
    product,
    scenario_setting,
    scorers,
)
from app.texts import markdown, message
from app.wording import scorer_name
from scenarios import FormulaError, Scenario, ScenarioError, StoreError

FIELDS = ("formula", "scorer", "threshold", "reserve")
"""Fields of a setting; the widgets' keys are the same for B, and begin with `a_` for A."""

POWERS = ("power_bid", "power_pctr", "exponent")
RESULT, NOTE, SHOWN_OF, SAID, FAULT = "result", "note", "bar-of", "bar-ignored", "bar-fault"
KEYS = (RESULT, *FIELDS, *(f"a_{name}" for name in FIELDS), *POWERS)

PRESETS = ("b", "b*q", "b*q*r^0.25", "b*q*r^0.5", "b*q*r", "gate", "b*q*max(r,0.1)", "linear(cost=0.5)",
           "b*q*exp(2*(r-1))")  # fmt: skip
GATE_AT = 0.3


def choose_result(folders: Sequence[Path]) -> Path:
    """The result that is open: that of the address, or the one chosen, or the newest."""
    known = {folder.name: folder for folder in folders}
    if address.followed() and (named := address.result_from(folders)):
        st.session_state[RESULT] = named.name
    if st.session_state.get(RESULT) not in known:
        st.session_state[RESULT] = folders[0].name
    return known[str(st.session_state[RESULT])]


def begin(folder: Path, scenario: Scenario, starts: tuple[Setting, Setting]) -> None:
    """Before the bar is drawn: the formulas of the address or, of a result just opened, those to start from.

    Args:
        starts: A and B where the address says nothing.
    """
    opened = st.session_state.get(SHOWN_OF) == folder.name and "formula" in st.session_state
    if opened and not address.followed():
        for name, start in zip("ab", starts, strict=True):
            _fill(st.session_state.get(f"kept-{name}", start), name)
        return
    ignored = []
    for name, start in zip("ab", starts, strict=True):
        found, wrong = address.setting_from(name, start, scenario)
        write(found, name)
        ignored += wrong
    st.session_state[SHOWN_OF] = folder.name
    if ignored:
        say_ignored(*ignored)


def say_ignored(*parameters: str) -> None:
    """Say with the bar that parameters of the address mean nothing here."""
    kept = st.session_state.setdefault(SAID, [])
    kept += [one for one in parameters if one not in kept]


def settings(scenario: Scenario, starts: tuple[Setting, Setting]) -> tuple[Setting, Setting]:
    """A and B, as they can be simulated: of a formula that cannot be read, the last one that could."""
    return _read("a", scenario, starts[0])[0], _read("b", scenario, starts[1])[0]


def draw(scenario: Scenario, folders: Sequence[Path], starts: tuple[Setting, Setting]) -> DeltaGenerator:
    """The bar with both formulas; returns the place of the verdicts."""
    a, b = settings(scenario, starts)
    with st.container(key="bar", horizontal=True, vertical_alignment="bottom"):
        st.text_input(t("bar.mine"), key="formula", on_change=_typed, args=("b",), help=t("bar.formula_help"))
        _scorer(scenario, "b")
        with st.popover(t("bar.adjust"), icon=":material/tune:", key="adjust", help=t("bar.adjust_help")):
            _adjust(scenario, b)
        st.button(
            "", icon=":material/swap_horiz:", key="swap", on_click=_swap, args=(a, b), help=t("bar.swap")
        )
        with st.popover(t("bar.today", name=in_words(a)), key="today", help=t("bar.today_help")):
            _today(scenario, a, b, starts[0])
        verdicts = st.empty()
        view(folders, with_tour=True)
    for name in "ab":
        fault = _read(name, scenario, starts["ab".index(name)])[1]
        if fault is not None:
            typed = st.session_state[address.prefix_of(name) + "formula"]
            kept = (a, b)["ab".index(name)].formula
            st.error(t("bar.not_taken", typed=typed, fault=fault.rstrip(".。"), kept=kept))
    if ignored := st.session_state.pop(SAID, []):
        st.info(t("bar.ignored", names=t("words.comma").join(ignored)))
    if fault := st.session_state.pop(FAULT, None):
        st.error(message(fault))
    return verdicts


def view(folders: Sequence[Path] = (), *, with_tour: bool = False) -> None:
    """What is open, with its note, and the language; results only where there are any to choose."""
    with st.popover("", icon=":material/settings:", help=t("bar.view_help")):
        if folders:
            root = results_root()
            called = notes.titles(root, folders)
            name = st.selectbox(
                t("bar.result"),
                [folder.name for folder in folders],
                format_func=called.__getitem__,
                key=RESULT,
            )
            note = notes.read(root).get(str(name), "")
            st.text_input(
                t("bar.note"),
                note,
                key=f"{NOTE}-{name}",
                max_chars=notes.LONGEST,
                placeholder=t("bar.note_placeholder"),
                on_change=_noted,
                args=(root, str(name)),
            )
        language.switch()
        if with_tour:
            tour.again()


def write(setting: Setting, name: str = "b") -> None:
    """Set the widgets of A or B; only before they are drawn, or in a callback."""
    prefix = address.prefix_of(name)
    for field in FIELDS:
        st.session_state[prefix + field] = getattr(setting, field)
    st.session_state[f"kept-{name}"] = setting
    if name == "b":
        _move_powers(setting)


def _fill(setting: Setting, name: str) -> None:
    """Set the widgets that have no value: Streamlit forgets those of a run that was cut off before them."""
    for field in FIELDS:
        st.session_state.setdefault(address.prefix_of(name) + field, getattr(setting, field))
    if name == "b" and not all(key in st.session_state for key in POWERS):
        _move_powers(setting)


def parameters(a: Setting, b: Setting, starts: tuple[Setting, Setting]) -> dict[str, str]:
    """Both settings as parameters of the address."""
    return {**address.parameters_of("b", b, starts[1]), **address.parameters_of("a", a, starts[0])}


def _read(name: str, scenario: Scenario, start: Setting) -> tuple[Setting, str | None]:
    """The setting of the widgets, and what is wrong with it; then the setting is the last that was right."""
    prefix = address.prefix_of(name)
    last = st.session_state.get(f"kept-{name}", start)
    values = {field: st.session_state.get(prefix + field, getattr(last, field)) for field in FIELDS}
    if values["scorer"] not in scorers(scenario):
        values["scorer"] = start.scorer
    wanted = Setting(**values)
    fault = fault_of(wanted, scenario)
    if fault is None:
        st.session_state[f"kept-{name}"] = wanted
        return wanted, None
    kept = replace(last, scorer=wanted.scorer, threshold=wanted.threshold, reserve=wanted.reserve)
    return (kept if fault_of(kept, scenario) is None else last), fault


def _scorer(scenario: Scenario, name: str) -> None:
    known = scorers(scenario)
    key = address.prefix_of(name) + "scorer"
    if st.session_state.get(key) not in known:
        st.session_state[key] = scenario.scorer
    named = names(known, scorer_name)
    st.selectbox(t("bar.scorer"), known, format_func=named, key=key, help=t("bar.scorer_help"), width=150)


def _adjust(scenario: Scenario, b: Setting) -> None:
    """Sliders of the formula's exponents, of the gate and the reserve; and presets."""
    ignored = b.scorer == BASELINE
    for key, most, off in zip(POWERS, (2.0, 2.0, 4.0), (False, False, ignored), strict=True):
        st.session_state.setdefault(key, 1.0)
        most, least = max(most, st.session_state[key]), 0.05 if key == "power_bid" else 0.0
        st.slider(
            t(f"bar.{key}"), least, most, None, 0.05, key=key, on_change=_slid,
            disabled=off or b.exponents is None,
        )  # fmt: skip
    _gate_and_reserve(scenario, "b")
    st.caption(t("bar.presets"))
    with st.container(horizontal=True, key="presets"):
        for preset in PRESETS:
            label = t("bar.preset_gate", threshold=GATE_AT) if preset == "gate" else markdown(preset)
            st.button(label, key=f"preset-{preset}", on_click=_preset, args=(preset, b), type="tertiary")
    own = scenario_setting(scenario)
    st.button(t("bar.own"), on_click=write, args=(own,), width="stretch", help=markdown(in_words(own)))


def _gate_and_reserve(scenario: Scenario, name: str) -> None:
    prefix, own = address.prefix_of(name), float(scenario.auction.reserve)
    most = max(2.0, own, st.session_state[prefix + "reserve"])
    scorer = st.session_state[prefix + "scorer"]
    st.slider(
        t("bar.threshold"), 0.0, 1.0, None, 0.05, key=prefix + "threshold", help=t("bar.threshold_help"),
        disabled=scorer == BASELINE,
    )  # fmt: skip
    about = t("bar.reserve_help", reserve=own)
    st.slider(t("bar.reserve"), 0.0, most, None, 0.01, key=prefix + "reserve", help=about)


def _today(scenario: Scenario, a: Setting, b: Setting, start: Setting) -> None:
    about = t("bar.formula_help")
    st.text_input(t("bar.today_formula"), key="a_formula", on_change=_typed, args=("a",), help=about)
    _scorer(scenario, "a")
    _gate_and_reserve(scenario, "a")
    st.button(t("bar.copy_from_today"), on_click=write, args=(a,), width="stretch")
    st.button(t("bar.copy_to_today"), on_click=write, args=(b, "a"), width="stretch")
    st.button(
        t("bar.today_start"),
        on_click=write,
        args=(start, "a"),
        width="stretch",
        help=markdown(in_words(start)),
    )


def _swap(a: Setting, b: Setting) -> None:
    write(b, "a")
    write(a, "b")


def _typed(name: str) -> None:
    """A formula was typed: a gate in it becomes the threshold, and the sliders move to its exponents."""
    prefix = address.prefix_of(name)
    wanted = Setting(
        *(st.session_state[prefix + field] for field in ("scorer", "formula", "threshold", "reserve"))
    )
    try:
        wanted = normal(wanted)
    except (FormulaError, ScenarioError):
        return  # the bar says what is wrong with it
    for field in ("formula", "threshold"):
        st.session_state[prefix + field] = getattr(wanted, field)
    if name == "b":
        _move_powers(wanted)


def _slid() -> None:
    bid, pctr, relevance = (st.session_state[key] for key in POWERS)
    st.session_state["formula"] = product(relevance, bid, pctr)


def _preset(preset: str, b: Setting) -> None:
    gate = preset == "gate"
    write(replace(b, formula="b*q" if gate else preset, threshold=GATE_AT if gate else 0.0))


def _move_powers(setting: Setting) -> None:
    plain = replace(setting, scorer="")  # the exponent stands in the formula though no scorer may use it
    for key, value in zip(POWERS, plain.exponents or (), strict=False):
        st.session_state[key] = value


def _noted(root: Path, folder: str) -> None:
    try:
        notes.write(root, folder, str(st.session_state[f"{NOTE}-{folder}"]))
    except StoreError as error:
        st.session_state[FAULT] = str(error)
