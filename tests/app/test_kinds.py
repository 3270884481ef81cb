"""The dashboard on every kind of market: several days, other auctions, policies, servers, tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from scenarios import Scenario, list_results, load_scenario, override, run_scenario, write_result
from scenarios.corpora.own import import_corpus
from scenarios.replay.example import as_table, make_example
from tests.app.test_pages import MAIN, PATIENCE_S, as_read, asked, cards, chart, html
from tests.app.test_texts import HOSTILE
from tests.scenarios import miniature

PAGES = ("views/inspector_page.py", "views/market_page.py", "views/formula_page.py")

KINDS: dict[str, dict[str, object]] = {
    "no sweep, first price": {"sweep": None, "auction.mechanism": "first_price"},
    "vcg, swept threshold": {
        "auction.mechanism": "vcg",
        "fusion": {"rule": "gate"},
        "sweep": {"field": "fusion.threshold", "values": [0.2, 0.6], "scorers": ["bm25"]},
    },
    "per impression, soft gate": {
        "auction.payment": "impression",
        "fusion": {"rule": "soft_gate"},
        "sweep": {"field": "auction.reserve", "values": [0.0, 0.5], "scorers": ["oracle"]},
    },
    "days and policies": {
        "sweep": None,
        "traffic.days": 2,
        "traffic.n_queries": 1000,
        "traffic.sessions.population": 300,
        "users.return_rate": 0.8,
        "bidders.policies": [{"policy": "shading", "share": 0.5}, {"policy": "pid_pacing", "share": 0.5}],
    },
    "servers": {
        "traffic.horizon_s": 60,
        "serving.service_s": 0.05,
        "serving.batch_size": 2,
        "serving.timeout_s": 0.2,
        "serving.fallback": "bm25",
        "sweep": {"field": "serving.servers", "values": [1, 2], "scorers": ["oracle"]},
    },
}


@pytest.fixture
def store(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Scenario], AppTest]:
    """Run a scenario, store it, open the dashboard."""

    def stored(scenario: Scenario) -> AppTest:
        run = run_scenario(scenario, cache=results)
        (tmp_path / "results").mkdir()
        (tmp_path / "results" / ".cache").symlink_to(results / ".cache")
        write_result(tmp_path / "results", scenario, run.metrics, run.points, run.log)
        monkeypatch.setenv("RELBID_RESULTS", str(tmp_path / "results"))
        at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
        assert len(list_results(tmp_path / "results")) == 1
        return at

    return stored


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_draws(kind: str, store: Callable[[Scenario], AppTest], tiny_scenario: Scenario) -> None:
    at = store(override(tiny_scenario, KINDS[kind]))
    assert not at.exception
    assert not at.error
    assert chart(at, "Revenue against irrelevant ads")["data"]
    for page in PAGES:
        at.switch_page(page).run()
        assert not at.exception
        assert not at.error


def test_an_ad_that_pays_for_being_shown_says_so(
    store: Callable[[Scenario], AppTest], tiny_scenario: Scenario
) -> None:
    at = store(override(tiny_scenario, {"sweep": None, "auction.payment": "impression"}))
    at.session_state["sides"] = "b"
    at.switch_page("views/inspector_page.py").run()
    assert "</b> per impression" in html(at)
    assert "</b> per click" not in html(at)


@pytest.mark.parametrize("graded", [True, False])
def test_a_table_has_no_frames_and_says_so(
    graded: bool, store: Callable[[Scenario], AppTest], tmp_path: Path
) -> None:
    table = as_table(make_example(200, seed=2))
    (table if graded else table.drop("grade")).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "own.yaml").write_text(
        "schema: 1\nname: own\nmarket: {kind: table, auctions: log.parquet}\nauction: {reserve: 0.05}\n"
    )
    at = store(load_scenario(tmp_path / "own.yaml"))
    assert not at.exception
    assert not at.error
    assert cards(at)["Revenue per 1,000 queries"] != "–"
    assert (cards(at)["Irrelevant share"] == "–") is not graded
    at.selectbox(key="scorer").set_value("model").run()
    assert not at.exception
    for page in PAGES:
        at.switch_page(page).run()
        assert not at.exception
        assert not at.error
    at.switch_page("views/relevance_lab_page.py").run()
    assert not at.exception
    assert "without texts and key frames" in at.info[0].value
    at.switch_page("views/inspector_page.py").run()
    assert "without texts and key frames" in at.info[0].value
    shown = at.dataframe[0].value
    assert {"slot", "ad_id", "bid", "pctr", "relevance_model"} <= set(shown.columns)
    assert set(shown["ad_id"]) <= set(table["ad_id"].cast(str))
    at.number_input(key="event").set_value(7).run()
    assert not at.exception


def test_a_corpus_has_texts_and_pictures_and_any_query_can_be_asked(
    store: Callable[[Scenario], AppTest], tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "red.png")
    ads = [{"id": one["id"], "title": one["title"], "brand": one["supplier"]} for one in miniature.PRODUCTS]
    ads[0]["frames"] = [str(tmp_path / "red.png")]
    import_corpus(miniature.write_own(tmp_path / "tables", ads=ads), tmp_path / "corpus")
    (tmp_path / "own.yaml").write_text(
        "schema: 1\nname: own\nmarket: {kind: corpus, folder: corpus}\nscorer: bm25\n"
        "traffic: {n_queries: 800}\ncompare: [none, bm25, oracle]\n"
        "sweep: {field: fusion.relevance, values: [0.5, 1.0], scorers: [bm25]}\n"
    )
    at = store(load_scenario(tmp_path / "own.yaml"))
    for page in PAGES:
        at.switch_page(page).run()
        assert not at.exception
        assert not at.error
    at.switch_page("views/market_page.py").run()
    assert any("People have graded 100.0% of the ads shown" in one.value for one in at.caption)
    at.switch_page("views/inspector_page.py").run()
    assert at.selectbox(key="query").options[0].startswith(tuple(miniature.THINGS))
    at.selectbox(key="query").set_value(0).run()  # speaker
    assert not at.exception
    assert "Acme red speaker" in html(at)
    assert "data:image" in html(at)
    at.switch_page("views/relevance_lab_page.py").run()
    assert not at.exception
    at.multiselect(key="lab-scorers").set_value(["bm25", "oracle"]).run()
    assert not at.exception
    assert not at.error
    at = asked(tmp_path / "results", "blue tent by cato")
    assert "Cato blue tent" in html(at)


def test_texts_of_a_corpus_are_shown_to_the_letter(
    store: Callable[[Scenario], AppTest], tmp_path: Path
) -> None:
    ads = [
        {"id": one["id"], "title": f"{HOSTILE} {one['title']}", "brand": one["supplier"]}
        for one in miniature.PRODUCTS
    ]
    queries = [{"id": thing, "text": f"{HOSTILE} {thing}"} for thing in miniature.THINGS]
    import_corpus(miniature.write_own(tmp_path / "tables", ads=ads, queries=queries), tmp_path / "corpus")
    (tmp_path / "own.yaml").write_text(
        "schema: 1\nname: own\nmarket: {kind: corpus, folder: corpus}\nscorer: bm25\n"
        "traffic: {n_queries: 800}\ncompare: [none, bm25]\n"
    )
    at = store(load_scenario(tmp_path / "own.yaml"))
    at.text_input(key="formula").set_value(HOSTILE).run()
    assert HOSTILE in as_read(at.error[0].value)
    assert HOSTILE not in at.error[0].value
    at.text_input(key="formula").set_value("b*q*r^2").run()
    kept = unescape(json.dumps(chart(at, "Parts of the difference")))
    assert HOSTILE[:20] in kept
    for page in PAGES:
        at.switch_page(page).run()
        assert not at.exception
        drawn = [found.proto.spec for found in at.get("plotly_chart")] + [html(at)]
        assert not any(mark in text for text in drawn for mark in ("<b>q</b>", "%{x} "))
    at.switch_page("views/inspector_page.py").run()
    assert at.selectbox(key="query").options[0].startswith(HOSTILE)
    assert HOSTILE in unescape(html(at))
