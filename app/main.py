"""The dashboard's entry: opens a stored result, draws the bar of formulas, and runs one of the pages.

Started by `relbid app`, or `streamlit run app/main.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

# Whole, before a second session meets half of it in sys.modules.
import pandas  # type: ignore[import-untyped]  # noqa: F401
import streamlit as st
from streamlit.navigation.page import StreamlitPage

from app import address, language, session
from app.bar import formula_bar, lamps, tour, welcome
from app.language import t
from app.opening import opening_setting
from app.parts import replayed
from app.setting import without_relevance
from app.texts import message
from app.views import (
    experiments_page,
    formula_page,
    health_page,
    inspector_page,
    market_page,
    relevance_lab_page,
    sweeps_page,
    trade_off_page,
)
from scenarios import list_experiments, list_replays, list_results, list_sweeps

HERE = Path(__file__).parent

# The pages, and their icons. Each has KEYS, of the widgets whose values outlive a change of the page, and may
# have ADDRESS: parameters of its address, each with the key of the widget whose value it is and its reader.
PAGES = {
    trade_off_page: "show_chart",
    inspector_page: "search",
    relevance_lab_page: "biotech",
    market_page: "storefront",
    health_page: "health_and_safety",
    formula_page: "function",
    experiments_page: "science",
    sweeps_page: "grid_on",
}

# Pages that need no result.
WITHOUT_RESULT = (experiments_page, sweeps_page)


def main() -> None:
    """Draw the dashboard."""
    st.set_page_config(page_title="relbid", page_icon=":material/balance:", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    language.begin()
    pages = {view: _page(view, icon) for view, icon in PAGES.items()}
    root = session.results_root()
    replays = list_replays(root)
    folders = [*list_results(root), *replays]
    anything = bool(folders or list_experiments(root) or list_sweeps(root))
    page = st.navigation(list(pages.values()), position="top" if anything else "hidden")
    _keep_widgets()
    view = next(view for view, drawn in pages.items() if drawn == page)
    if not folders:
        _alone(page.run if anything and view in WITHOUT_RESULT else welcome.page)
        return
    for notice in welcome.notices(root):
        st.warning(message(notice))
    folder = formula_bar.choose_result(folders)
    if folder in replays:
        _alone(page.run if view in WITHOUT_RESULT else partial(replayed.draw, folder), folders, folder)
        return
    try:
        result = session.result(folder)
        starts = without_relevance(result.scenario), opening_setting(result)
    except (ValueError, OSError) as error:
        _alone(partial(_cannot_open, error), folders, folder)
        return
    _open_widgets(view)
    formula_bar.begin(folder, result.scenario, starts)
    signs = formula_bar.draw(result.scenario, folders, starts)
    a, b = formula_bar.settings(result.scenario, starts)
    lamps.draw(signs, result.scenario, (a, b))
    tour.draw(root, _name(view))

    def write_address() -> None:
        own = {
            name: address.written(st.session_state.get(key)) for name, (key, _) in _addressed(view).items()
        }
        named = {address.RESULT: address.result_name(folder, folders)}
        address.write({**formula_bar.parameters(a, b, starts), **own, **named})

    write_address()
    if view in WITHOUT_RESULT:
        page.run()
        return
    try:
        prepared = session.prepared(result.scenario)
    except (ValueError, OSError) as error:
        _cannot_open(error)
        return
    session.open_for_pages(session.Opened(result, prepared, a, b))
    page.run()
    lamps.draw(signs, result.scenario, (a, b), prepared)
    write_address()  # the page may have opened another query


def _alone(draw: Callable[[], None], folders: Sequence[Path] = (), opened: Path | None = None) -> None:
    """A page without formulas; the address names what is opened."""
    with st.container(key="bar-alone", horizontal=True, horizontal_alignment="right"):
        formula_bar.view(folders)
    address.write({} if opened is None else {address.RESULT: address.result_name(opened, folders)})
    draw()


def _cannot_open(error: Exception) -> None:
    st.error(f"{t('main.cannot_open')}\n\n{message(error)}")
    st.write(t("main.open_remedy"))


def _addressed(view: ModuleType) -> address.Parameters:
    """Parameters of the address that a page has of its own."""
    found: address.Parameters = getattr(view, "ADDRESS", {})
    return found


def _open_widgets(view: ModuleType) -> None:
    """Open what the address names of the page."""
    if address.followed():
        for name, (key, read) in _addressed(view).items():
            if text := st.query_params.get(name, ""):
                try:
                    st.session_state[key] = read(text)
                except ValueError:
                    formula_bar.say_ignored(name)


def _page(view: ModuleType, icon: str) -> StreamlitPage:
    """The page of a module in `views/`; its title is a text of the catalogue."""
    file, icon, name = Path(str(view.__file__)), f":material/{icon}:", _name(view)
    title = t(f"pages.{name}")
    return st.Page(file, url_path=name, title=title, icon=icon, default=view is trade_off_page)


def _name(view: ModuleType) -> str:
    """What a page is called in its address and in the catalogue."""
    return Path(str(view.__file__)).stem.removesuffix("_page")


def _keep_widgets() -> None:
    """Keep the values of the widgets of all pages: Streamlit forgets a widget that is not drawn."""
    for key in (language.KEY, *formula_bar.KEYS, *(key for view in PAGES for key in view.KEYS)):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


if __name__ == "__main__":
    main()
