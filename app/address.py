"""The page's address holds the view: result, formulas, opened query and language.

    ?b=b*q*r^0.3&scorer=hcmrm&gate=0.2&query=17&lang=zh

What is as at the opening is left out, but for the formula. Reload, back and a pasted link give the same view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import language
from app.setting import Setting, fault_of, normal, scorers
from scenarios import FormulaError, Scenario, ScenarioError

WRITTEN = "address"
"""In the session's state: the parameters as they were last written."""

RESULT = "result"

NAMES = {"scorer": "scorer", "threshold": "gate", "reserve": "reserve"}
"""Fields of a setting, and of what parameter each is the value; those of A begin with `a_`."""

MOST_LETTERS = 500


def followed() -> bool:
    """Whether the address has changed by the reader's hand since it was last written."""
    now = dict(st.query_params)
    ours = {name for name in now if name != language.ADDRESS}
    return bool(ours) and now != st.session_state.get(WRITTEN)


def write(values: Mapping[str, str]) -> None:
    """Make these the parameters of the address, besides those that Streamlit itself reads."""
    wanted = {name: value for name, value in values.items() if value}
    if language.current() != language.DEFAULT:
        wanted[language.ADDRESS] = language.current()
    st.session_state[WRITTEN] = wanted
    if dict(st.query_params) != wanted:
        st.query_params.from_dict(wanted)


def of_page(own: Mapping[str, str]) -> dict[str, str]:
    """The parameters of another page that is opened now: what all pages have, and its own.

    They are taken for written, so that opening the page is one step of the browser's history.
    """
    everywhere = {
        RESULT,
        language.ADDRESS,
        *(prefix + name for name in NAMES.values() for prefix in ("", "a_")),
    }
    kept = {name: text for name, text in st.query_params.items() if name in everywhere | {"a", "b"}}
    st.session_state[WRITTEN] = {**kept, **own}
    return {**kept, **own}


def setting_from(name: str, start: Setting, scenario: Scenario) -> tuple[Setting, list[str]]:
    """The setting "a" or "b" of the address, and the parameters of it that mean nothing, which are ignored.

    Args:
        start: the setting where the address says nothing.
    """
    prefix, found, ignored = prefix_of(name), start, list[str]()

    def take(parameter: str, read: Callable[[str], Setting]) -> None:
        nonlocal found
        text = st.query_params.get(parameter)
        if text is None:
            return
        try:
            wanted = read(text[: MOST_LETTERS + 1])
        except (ValueError, FormulaError, ScenarioError):
            ignored.append(parameter)
            return
        if fault_of(wanted, scenario) is None:
            found = wanted
        else:
            ignored.append(parameter)

    take(name, lambda text: normal(replace(found, formula=text)))
    take(prefix + "scorer", lambda text: replace(found, scorer=_one_of(text, scorers(scenario))))
    take(prefix + "gate", lambda text: replace(found, threshold=_number(text, 1.0)))
    take(prefix + "reserve", lambda text: replace(found, reserve=_number(text, 100.0)))
    return found, ignored


def parameters_of(name: str, setting: Setting, start: Setting) -> dict[str, str]:
    """A setting as parameters; the formula of B stands there always, of anything else what differs."""
    prefix = prefix_of(name)
    found = {name: setting.formula} if name == "b" or setting.formula != start.formula else {}
    for field, parameter in NAMES.items():
        value = getattr(setting, field)
        if value != getattr(start, field):
            found[prefix + parameter] = value if isinstance(value, str) else f"{value:g}"
    return found


def result_from(folders: Sequence[Path]) -> Path | None:
    """The result that the address names: by its folder, or by as much of it as is needed."""
    text = st.query_params.get(RESULT, "")
    return next((folder for folder in folders if text and folder.name.startswith(text)), None)


def result_name(folder: Path, folders: Sequence[Path]) -> str:
    """A result as a parameter; nothing where it is the newest, which opens by itself."""
    return "" if folder == folders[0] else folder.name


def prefix_of(name: str) -> str:
    """What the names of a setting's parameters and widgets begin with."""
    return "" if name == "b" else f"{name}_"


Parameters = Mapping[str, tuple[str, Callable[[str], object]]]
"""What a page adds to the address: by name, the key of a widget, and what reads it or raises ValueError."""


def written(value: object) -> str:
    """A widget's value as a parameter; nothing where there is none."""
    if value is None or value is False or value == "":
        return ""
    return "1" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def percent(text: str) -> float:
    """0 to 100."""
    return _number(text, 100.0)


def switch(text: str) -> bool:
    """1 or 0."""
    return _one_of(text, ("0", "1")) == "1"


def count(text: str) -> int:
    """1, 2, ..."""
    number = int(text)
    if not 1 <= number <= 10**9:
        raise ValueError(text)
    return number


def number_or_text(text: str) -> int | str:
    """A number such as that of a query, or any text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text[:MOST_LETTERS]


def _one_of(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise ValueError(text)
    return text


def _number(text: str, most: float) -> float:
    number = float(text)
    if not math.isfinite(number) or not 0 <= number <= most:
        raise ValueError(text)
    return number
