"""The dashboard's entry: opens a stored result, draws the shared sidebar, and runs one of the pages.

Started by `relbid app`, or `streamlit run app/main.py`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app import language, session
from app.language import t
from app.parts import sidebar, welcome
from app.views import (
    experiments_page,
    formula_page,
    inspector_page,
    market_page,
    relevance_lab_page,
    sweeps_page,
    trade_off_page,
)

HERE = Path(__file__).parent

VIEWS = (
    trade_off_page,
    inspector_page,
    relevance_lab_page,
    market_page,
    formula_page,
    experiments_page,
    sweeps_page,
)

# Files in `views/`, and their icons. Each has KEYS, of the widgets whose values outlive a change of the page.
PAGES = {
    "trade_off": "show_chart",
    "inspector": "search",
    "relevance_lab": "biotech",
    "market": "storefront",
    "formula": "function",
    "experiments": "science",
    "sweeps": "grid_on",
}

# Pages that need no result, and have their own choice.
WITHOUT_RESULT = ("experiments", "sweeps")

# Pages that do not follow the sidebar's sliders.
OF_THEIR_OWN = ("relevance_lab", "market", "formula")


def main() -> None:
    """Draw the dashboard."""
    st.set_page_config(page_title="relbid", page_icon=":material/balance:", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    language.begin()
    pages = {name: _page(name, icon) for name, icon in PAGES.items()}
    folders = session.stored_results()
    anything = bool(folders or session.stored_experiments() or session.stored_sweeps())
    page = st.navigation(list(pages.values()), position="top" if anything else "hidden")
    if anything and page in [pages[name] for name in WITHOUT_RESULT]:
        _keep_widgets()
        language.switch()
        page.run()
        return
    if not folders:
        language.switch()
        welcome.page()
        return
    for notice in welcome.notices(session.results_root()):
        st.warning(notice)
    _keep_widgets()
    folder = sidebar.choose_result(folders)
    sliders = st.sidebar.container()
    language.switch()
    try:
        result = session.result(folder)
        prepared = session.prepared(result.scenario)
    except (ValueError, OSError) as error:
        st.error(f"{t('main.cannot_open')}\n\n{error}")
        st.write(t("main.open_remedy"))
        return
    ranks = page not in [pages[name] for name in OF_THEIR_OWN]
    setting = sidebar.choose_setting(result.scenario, sliders, draw=ranks)
    session.open_for_pages(session.Opened(result, prepared, setting))
    page.run()


def _page(name: str, icon: str) -> StreamlitPage:
    """The page of a file in `views/`; its title is a text of the catalogue."""
    return st.Page(
        HERE / "views" / f"{name}_page.py",
        url_path=name,
        title=t(f"pages.{name}"),
        icon=f":material/{icon}:",
        default=name == "trade_off",
    )


def _keep_widgets() -> None:
    """Keep the values of the widgets of all pages: Streamlit forgets a widget that is not drawn."""
    for key in (language.KEY, sidebar.RESULT, *sidebar.KEYS, *(key for view in VIEWS for key in view.KEYS)):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


if __name__ == "__main__":
    main()
