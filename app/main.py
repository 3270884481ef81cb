"""The dashboard's entry: opens a stored result, draws the shared sidebar, and runs one of the pages.

Started by `relbid app`, or `streamlit run app/main.py`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import session, sidebar, welcome

HERE = Path(__file__).parent


def main() -> None:
    """Draw the dashboard."""
    st.set_page_config(page_title="relbid", page_icon=":material/balance:", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    pages = [
        st.Page(
            HERE / "views" / "trade_off.py", title="Trade-off", icon=":material/show_chart:", default=True
        ),
        st.Page(HERE / "views" / "inspector.py", title="Auction inspector", icon=":material/search:"),
        st.Page(HERE / "views" / "market.py", title="Market", icon=":material/storefront:"),
        st.Page(HERE / "views" / "formula.py", title="Formula", icon=":material/function:"),
        st.Page(HERE / "views" / "experiments.py", title="Experiments", icon=":material/science:"),
        st.Page(HERE / "views" / "sweeps.py", title="Sweeps", icon=":material/grid_on:"),
    ]
    folders = session.stored_results()
    anything = bool(folders or session.stored_experiments() or session.stored_sweeps())
    page = st.navigation(pages, position="top" if anything else "hidden")
    if page.title in ("Experiments", "Sweeps") and anything:  # they need no result, and have their own choice
        _keep_widgets()
        page.run()
        return
    if not folders:
        welcome.page()
        return
    for notice in welcome.notices(session.results_root()):
        st.warning(notice)
    _keep_widgets()
    folder = sidebar.choose_result(folders)
    try:
        result = session.result(folder)
        prepared = session.prepared(result.scenario)
    except (ValueError, OSError) as error:
        st.error(f"This result cannot be opened.\n\n{error}")
        st.write("Run it again (`make run`), or choose another result in the sidebar.")
        return
    ranks = page.title not in ("Market", "Formula")
    setting = sidebar.choose_setting(result.scenario, draw=ranks)
    session.open_for_pages(session.Opened(result, prepared, setting))
    page.run()


def _keep_widgets() -> None:
    """A page's own widget is forgotten when its page is left; writing it back keeps it."""
    for key in (
        "query",
        "event",
        "expression",
        "formula-scorer",
        "rate",
        "experiment",
        "result",
        "whole",
        "sweep",
        "sweep-other",
        "sweep-bound",
        "sweep-point",
        "sweep-seed",
        *sidebar.KEYS,
    ):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


if __name__ == "__main__":
    main()
