"""Stored replays are opened like any other result."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app.parts.replayed import rows_of
from scenarios import StoreError, list_replays, list_results, read_replay
from scenarios.replay.example import write_example
from scenarios.replay.replay_run import replay_file, write_replay
from tests.app.test_pages import MAIN, PATIENCE_S, chart


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("replays")
    write_example(root / "log.parquet", n_rows=2000, seed=3, cache=root)
    return write_replay(root / "results", *replay_file(root / "log.parquet", reserve=0.05))


def test_a_stored_replay_is_read_back(folder: Path) -> None:
    assert list_replays(folder.parent) == [folder]
    found, again = read_replay(folder), read_replay(folder)
    assert found.points.equals(again.points)
    assert found.source.endswith("log.parquet")
    assert found.examination[0] == 1.0
    assert found.warnings  # the log is short


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda one: (one / "replay.json").unlink(), "no replay.json"),
        (lambda one: (one / "replay.json").write_text("[]"), "cannot be read"),
        (lambda one: (one / "replay.json").write_text('{"table": 3}'), "table"),
        (lambda one: (one / "replay.parquet").write_bytes(b"x"), "cannot be read"),
        (lambda one: pl.DataFrame({"kind": ["log"]}).write_parquet(one / "replay.parquet"), "column"),
    ],
)
def test_a_damaged_one_is_refused(folder: Path, tmp_path: Path, damage: object, said: str) -> None:
    copy = tmp_path / folder.name
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert callable(damage)
    damage(copy)
    with pytest.raises(StoreError, match=said):
        read_replay(copy)


def test_rows_are_the_table_of_the_terminal(folder: Path) -> None:
    found = read_replay(folder)
    rows, points = rows_of(found), found.points
    assert rows["scorer"].to_list() == points["scorer"].to_list()
    assert rows["revenue"][0] == pytest.approx(1000 * points["revenue"][0] / points["queries"][0])
    assert rows["revenue"][1] == pytest.approx(1000 * points["revenue_dr"][1] / points["queries"][1])
    assert rows["error"][1] == pytest.approx(1000 * points["revenue_dr_se"][1] / points["queries"][1])
    assert rows["error"][0] is None


@pytest.mark.parametrize("graded", [True, False])
def test_the_page_of_a_replay(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graded: bool
) -> None:
    root = folder.parent
    if not graded:
        table = pl.read_parquet(folder.parent.parent / "log.parquet").drop("grade")
        table.write_parquet(tmp_path / "ungraded.parquet")
        root = write_replay(tmp_path / "results", *replay_file(tmp_path / "ungraded.parquet")).parent
    monkeypatch.setenv("RELBID_RESULTS", str(root))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert not at.exception
    assert not at.error
    assert at.title[0].value == "What would other rules have earned?"
    shown = at.dataframe[0].value
    drawn = chart(at, "Revenue against irrelevant ads, by rule" if graded else "Revenue by rule")
    stored = read_replay(list_replays(root)[0])
    assert {trace["name"] for trace in drawn["data"]} == {*shown["Ranked by"]}
    assert len(drawn["data"]) > 3
    assert all(trace["error_y"]["array"] for trace in drawn["data"])
    assert len(shown) == len(stored.points)
    assert shown["Ranked by"][0] == "as logged"


def test_a_replay_stands_beside_results(
    folder: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (*(one for one in results.iterdir() if one.name != "dashboard.log"), folder):
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.setenv("RELBID_RESULTS", str(tmp_path))
    at = AppTest.from_file(MAIN, default_timeout=PATIENCE_S).run()
    assert at.title[0].value == "What does relevance cost, and what does it earn?"
    at.selectbox(key="result").set_value(folder.name).run()
    assert not at.exception
    assert at.title[0].value == "What would other rules have earned?"
    assert at.query_params["result"] in (folder.name, [folder.name])
    at.selectbox(key="result").set_value(list_results(results)[0].name).run()
    assert not at.exception
    assert at.title[0].value == "What does relevance cost, and what does it earn?"
