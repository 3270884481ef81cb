"""The languages of the interface: every text that a reader sees, by its key, from one catalogue file each.

A new text is a line in each of `languages/en.yaml` and `languages/zh.yaml`, and `t("page.name")` where it is
shown. Placeholders are named, `{revenue:,.2f}`; a text that depends on a number has the forms `one` and
`other`, told apart by the placeholder `n`.

`t` is for what Streamlit reads as Markdown, `t_html` for figures and our own HTML: what fills a placeholder
is shown to the letter there (see `app.texts`). `t_plain` is for what is read as it stands, such as tables and
options, and for parts of other texts. A file that writes one kind alone may import it as `t`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from pathlib import Path
from typing import TypeVar

import streamlit as st
import yaml
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.texts import Html, Markdown, html, markdown

LANGUAGES = {"en": "English", "zh": "中文"}
"""Languages of the interface by their codes, as they call themselves."""

DEFAULT = "en"
KEY, ADDRESS = "language", "lang"
"""Of the switch in the session's state, and of the language in the page's address (`?lang=zh`)."""

Option = TypeVar("Option")
Message = str | Mapping[str, str]


def t(key: str, **values: object) -> Markdown:
    """The text of a key in the reader's language, as Markdown; what is not Markdown in it is escaped."""
    return Markdown(t_plain(key, **{name: _filling(markdown, value) for name, value in values.items()}))


def t_html(key: str, **values: object) -> Html:
    """The text of a key in the reader's language, as HTML; what is not HTML in it is escaped."""
    return Html(t_plain(key, **{name: _filling(html, value) for name, value in values.items()}))


def t_plain(key: str, **values: object) -> str:
    """The text of a key in the reader's language, with its values as they are."""
    return say(current(), key, **values)


def _filling(escape: Callable[[object], str], value: object) -> object:
    return value if isinstance(value, Number) else escape(value)  # numbers have formats in the catalogue


def say(language: str, key: str, **values: object) -> str:
    """The text of a key in a language.

    Raises:
        KeyError: the catalogue has no such key, or the text has a placeholder without a value.
    """
    message = catalogue(language)[key]
    if not isinstance(message, str):
        message = message.get("one", message["other"]) if values["n"] == 1 else message["other"]
    return message.format(**values)


def current() -> str:
    """The language of the reader whose session runs; the default outside of one."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return DEFAULT
    return str(st.session_state.get(KEY, DEFAULT))


def names(options: Iterable[Option], name: Callable[[Option], str]) -> Callable[[Option], str]:
    """What a widget calls its options, as its `format_func`.

    They are named at once: Streamlit asks for names outside of a session, too, where the language is not
    known.
    """
    return {option: name(option) for option in options}.__getitem__


def begin() -> None:
    """At the start of a run: take the language from the address, if the reader has chosen none yet."""
    if st.session_state.get(KEY) not in LANGUAGES:
        wanted = st.query_params.get(ADDRESS, DEFAULT)
        st.session_state[KEY] = wanted if wanted in LANGUAGES else DEFAULT


def switch() -> None:
    """The switch; `app.address` keeps it in the address."""
    st.radio("Language · 语言", list(LANGUAGES), format_func=LANGUAGES.__getitem__, key=KEY, horizontal=True)


@st.cache_resource(show_spinner=False)
def catalogue(language: str) -> Mapping[str, Message]:
    """All texts of a language by their keys, "page.name"."""
    text = (Path(__file__).parent / "languages" / f"{language}.yaml").read_text(encoding="utf-8")
    pages: Mapping[str, Mapping[str, Message]] = yaml.safe_load(text)
    return {f"{page}.{name}": message for page, part in pages.items() for name, message in part.items()}
