"""The dashboard's entry: opens a stored result, draws the shared sidebar, and runs one of the pages.

Started by `relbid app`, or `streamlit run app/main.py`.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

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
from scenarios import list_experiments, list_results, list_sweeps

HERE = Path(__file__).parent

# The pages, and their icons. Each has KEYS, of the widgets whose values outlive a change of the page.
PAGES = {
    trade_off_page: "show_chart",
    inspector_page: "search",
    relevance_lab_page: "biotech",
    market_page: "storefront",
    formula_page: "function",
    experiments_page: "science",
    sweeps_page: "grid_on",
}

# Pages that need no result, and have their own choice.
WITHOUT_RESULT = (experiments_page, sweeps_page)

# Pages that do not follow the sidebar's sliders.
OF_THEIR_OWN = (relevance_lab_page, market_page, formula_page)


def main() -> None:
    """Draw the dashboard."""
    st.set_page_config(page_title="relbid", page_icon=":material/balance:", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    language.begin()
    pages = {view: _page(view, icon) for view, icon in PAGES.items()}
    root = session.results_root()
    folders = list_results(root)
    anything = bool(folders or list_experiments(root) or list_sweeps(root))
    page = st.navigation(list(pages.values()), position="top" if anything else "hidden")
    if anything and page in [pages[view] for view in WITHOUT_RESULT]:
        _keep_widgets()
        language.switch()
        page.run()
        return
    if not folders:
        language.switch()
        welcome.page()
        return
    for notice in welcome.notices(root):
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
    ranks = page not in [pages[view] for view in OF_THEIR_OWN]
    setting = sidebar.choose_setting(result.scenario, sliders, draw=ranks)
    session.open_for_pages(session.Opened(result, prepared, setting))
    page.run()


def _page(view: ModuleType, icon: str) -> StreamlitPage:
    """The page of a module in `views/`; its title is a text of the catalogue."""
    file, icon = Path(str(view.__file__)), f":material/{icon}:"
    name = file.stem.removesuffix("_page")
    title = t(f"pages.{name}")
    return st.Page(file, url_path=name, title=title, icon=icon, default=view is trade_off_page)


def _keep_widgets() -> None:
    """Keep the values of the widgets of all pages: Streamlit forgets a widget that is not drawn."""
    for key in (language.KEY, sidebar.RESULT, *sidebar.KEYS, *(key for view in PAGES for key in view.KEYS)):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


if __name__ == "__main__":
    main()
