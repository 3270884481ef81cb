"""Searches: what they ask for, what they learn, and that they continue where they were."""

import json
import random
import sys

import numpy as np
import pytest

from benchmarks.kills import torture
from benchmarks.search import hypervolume
from relevance.extras import MissingExtraError
from scenarios import ScenarioError, StoreError, load_sweep, read_sweep, run_sweep
from scenarios.reporting.sweep_report import report_html
from scenarios.reporting.sweep_tables import points_text, sweep_tables
from scenarios.reporting.words import estimate_text
from scenarios.studies.study import read_status
from scenarios.studies.sweeps.asked import Asked, read_asked
from scenarios.studies.sweeps.axes import unit_points
from scenarios.studies.sweeps.folder import sweep_folder
from scenarios.studies.sweeps.sweep_file import SweepFile
from scenarios.studies.sweeps.sweep_run import estimate
from tests.scenarios.test_sweeps import HEAD, write

pytest.importorskip("optuna", reason="pip install 'relbid[search]'")

from scenarios.studies.sweeps.search import Search

METHODS = ["nsga2", "tpe"]
HUNT = (
    HEAD
    + "common: {fusion.rule: gate}\n"
    + "over:\n  fusion.threshold: {uniform: [0, 0.6]}\n  fusion.within.relevance: {uniform: [0, 3]}\n"
    + "  auction.reserve: {loguniform: [0.05, 0.8]}\n  scorer: [bm25, oracle]\n"
    + "method: nsga2\npoints: 20\ngeneration: 8\nseeds: 2\nconstraints: [irrelevant_share <= 0.02]\n"
)


def space(method, axes=None, **more):
    axes = axes or {f"fusion.{name}": {"uniform": [0, 1]} for name in "abcd"}
    file = {"schema": 1, "name": "t", "method": method, "points": 96, "generation": 16, "over": axes, **more}
    return SweepFile.model_validate_json(json.dumps(file))


def zdt1(settings):
    """Zitzler, Deb and Thiele 2000, the first of their test problems, with four variables."""
    x = np.array(list(settings.values()))
    g = 1 + 9 * x[1:].mean()
    return {"revenue_rpm": -x[0], "irrelevant_share": g * (1 - np.sqrt(x[0] / g))}


def go_through(file, of, n=6, before=()):
    """(generations asked for, figures of all points) of n generations, the first of which are given."""
    search, asked, found = Search(file), [], []
    for place in range(n):
        again = before[place] if place < len(before) else None
        asked.append(search.ask(16, again))
        figures = [of(settings) for settings in asked[-1]]
        search.tell(figures)
        found += figures
    return asked, found


def area(found):
    gain, harm = (np.array([one[name] for one in found]) for name in ("revenue_rpm", "irrelevant_share"))
    return hypervolume(gain, harm, -1.1, 6.0)


# What is asked for


@pytest.mark.parametrize("method", METHODS)
def test_a_search_finds_more_than_a_design_of_as_many_points(method):
    _, found = go_through(space(method), zdt1)
    cube = unit_points("latin_hypercube", 4, 96, 1)
    spread = [zdt1(dict(zip("abcd", row, strict=True))) for row in cube]
    assert area(found) > area(spread) + 0.2


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_asks_for_the_same_points(method):
    asked, _ = go_through(space(method), zdt1, n=4)
    assert go_through(space(method), zdt1, n=4)[0] == asked
    assert go_through(space(method, design_seed=2), zdt1, n=1)[0] != asked[:1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kept", [1, 3])
def test_a_search_that_goes_on_asks_for_the_same_points(method, kept):
    axes = {
        "fusion.a": {"uniform": [0, 1]},
        "fusion.b": {"loguniform": [0.1, 1]},
        "fusion.c": [0, 0.5, 1],
        "fusion.d": {"choice": [0.25, 0.75]},
        "scorer": ["bm25", "oracle"],
    }

    def of(settings):
        numbers = {name: value for name, value in settings.items() if name != "scorer"}
        return zdt1(numbers) if settings["scorer"] == "oracle" else None

    asked, _ = go_through(space(method, axes), of, n=5)
    stored = json.loads(json.dumps(asked[:kept]))
    assert go_through(space(method, axes), of, n=5, before=stored)[0] == asked


@pytest.mark.parametrize("method", METHODS)
def test_what_a_newer_library_would_not_have_asked_for_is_kept_to(method):
    others, _ = go_through(space(method, design_seed=7), zdt1, n=2)
    asked, _ = go_through(space(method), zdt1, n=4, before=others)
    assert asked[:2] == others
    assert go_through(space(method), zdt1, n=4, before=asked[:3])[0] == asked


@pytest.mark.parametrize("method", METHODS)
def test_constraints_are_learnt(method):
    file = space(method, constraints=["irrelevant_share <= 1", "fusion.a >= 0.25"])
    asked, found = go_through(file, zdt1)
    assert all(settings["fusion.a"] >= 0.25 for generation in asked for settings in generation)
    feasible = [one["irrelevant_share"] <= 1 for one in found]
    assert sum(feasible[-32:]) > 2 * sum(feasible[:32])


@pytest.mark.parametrize("method", METHODS)
def test_points_without_figures_are_kept_away_from(method):
    def of(settings):
        if settings["fusion.b"] > 0.5:
            return None
        return {
            **zdt1(settings),
            **({"irrelevant_share": float("nan")} if settings["fusion.c"] > 0.5 else {}),
        }

    asked, _ = go_through(space(method), of)

    def known(generation):
        return sum(settings["fusion.b"] <= 0.5 and settings["fusion.c"] <= 0.5 for settings in generation)

    assert known([*asked[-2], *asked[-1]]) > known([*asked[0], *asked[1]])


@pytest.mark.parametrize("method", METHODS)
def test_more_objectives_than_two(method):
    file = space(method, further={"fill": "minimise"})

    def of(settings):
        return {**zdt1(settings), "fill": settings["fusion.d"]}

    asked, _ = go_through(file, of, n=3)
    assert [len(generation) for generation in asked] == [16, 16, 16]


def test_the_first_generation_fills_the_box_evenly():
    [first] = go_through(space("tpe"), zdt1, n=1)[0]
    for name in ("fusion.a", "fusion.d"):
        found = sorted(int(settings[name] * 16 * 0.9999) for settings in first)
        assert found == list(range(16))


# Runs


@pytest.fixture(scope="module")
def hunted(tmp_path_factory):
    """A finished search: (sweep, results folder, sweep's folder)."""
    root = tmp_path_factory.mktemp("search")
    sweep = load_sweep(write(root, HUNT))
    return sweep, root / "results", run_sweep(sweep, root / "results", workers=2)


def test_a_search_has_as_many_points_as_it_says(hunted):
    result = read_sweep(hunted[2])
    assert result.points.height == 20
    assert result.replicates.height == 40
    assert [len(generation) for generation in read_asked(hunted[2], hunted[0])][:2] == [8, 8]
    status = read_status(hunted[2])
    assert (status.state, status.done, status.total) == ("done", 40, 40)
    for point, row in zip(result.sweep.points, result.points.iter_rows(named=True), strict=True):
        assert {name: row[name] for name in point.settings} == point.settings
        assert point.scenario.fusion.threshold == point.settings["fusion.threshold"]
        assert point.scenario.scorer == row["scorer"]
    assert sweep_tables(result)[0].title.startswith("s: Pareto front of 20 points, 2 seeds each, ")
    assert "nsga2; seeds: 1, 2" in report_html(result)


def test_the_number_of_processes_does_not_change_a_byte(hunted, tmp_path):
    alone = run_sweep(hunted[0], tmp_path, workers=1)
    for name in ("points.parquet", "asked.json", "sweep.yaml"):
        assert (alone / name).read_bytes() == (hunted[2] / name).read_bytes()


def test_a_finished_search_is_not_done_again(hunted):
    _, out, folder = hunted
    before = {path: path.read_bytes() for path in (folder / "points.parquet", folder / "asked.json")}
    run_sweep(load_sweep(folder / "sweep.yaml"), out, workers=1)
    assert read_status(folder).reused == 40
    assert all(path.read_bytes() == text for path, text in before.items())


def test_a_search_of_which_only_the_results_are_left_asks_again(hunted, tmp_path):
    sweep, out, folder = hunted
    text = (folder / "asked.json").read_bytes()
    (folder / "asked.json").unlink()
    assert run_sweep(sweep, out, workers=1) == folder
    assert (folder / "asked.json").read_bytes() == text
    assert read_status(folder).reused == 40
    (folder / "asked.json").write_bytes(text[:50])
    with pytest.raises(StoreError, match=r"asked\.json: cannot be read .* remove it"):
        read_sweep(folder)
    (folder / "asked.json").write_text('[[{"scorer": "bm25"}]]')
    for read in (lambda: run_sweep(sweep, out, workers=1), lambda: read_sweep(folder)):
        with pytest.raises(StoreError, match="no values of this sweep; remove it"):
            read()
    (folder / "asked.json").write_text("[[{}]]")
    with pytest.raises(StoreError, match=r"holds \{\}, which are no values of this sweep; remove it"):
        read_sweep(folder)
    for other in ("[1]", '[["bm25"]]'):
        (folder / "asked.json").write_text(other)
        with pytest.raises(StoreError, match=r"asked.json: needs lists of settings; remove it"):
            read_sweep(folder)
    (folder / "asked.json").unlink()  # what has been simulated is still in the table
    with pytest.raises(StoreError, match=r"row 1: has a point 0, and the sweep has 0; points.parquet and"):
        read_sweep(folder)
    (folder / "asked.json").write_bytes(text)


def test_kills_do_not_change_what_a_search_finds(tmp_path):
    file = write(tmp_path, HUNT.replace("points: 20", "points: 60").replace("seeds: 2", "seeds: 1"))
    tally = torture(file, kills=2, rng=random.Random(7))
    assert min(tally.kills_of_workers, tally.kills_of_the_command) == 1
    assert (tally.points, tally.failed, tally.written_again) == (60, 0, 0)
    assert tally.same_bytes


def test_a_small_space_is_searched_to_its_end(tmp_path):
    text = HEAD + "over: {fusion.relevance: [0, 1], scorer: [bm25, oracle]}\nmethod: tpe\npoints: 60\n"
    sweep = load_sweep(write(tmp_path, text + "generation: 4\n"))
    folder = run_sweep(sweep, tmp_path / "results", workers=1)
    points = read_sweep(folder).points
    assert sorted(zip(points["fusion.relevance"], points["scorer"], strict=True)) == [
        (0, "bm25"), (0, "oracle"), (1, "bm25"), (1, "oracle"),
    ]  # fmt: skip
    status = read_status(folder)
    assert (status.state, status.done, status.total) == ("done", 4, 4)


def test_combinations_that_make_no_scenario_are_passed_over(tmp_path):
    # VCG is not defined for a rule that is not affine in the bid.
    text = "over:\n  auction.mechanism: [gsp, vcg]\n  fusion.bid: [1, 2]\nmethod: nsga2\npoints: 9\n"
    sweep = load_sweep(write(tmp_path, HEAD + text))
    asked = Asked(sweep)
    both = [{"auction.mechanism": name, "fusion.bid": bid} for name in ("vcg", "gsp") for bid in (1, 2, 1)]
    assert asked.add(both) == [0, None, 0, 1, 2, 1]
    assert [point.scenario.fusion.bid for point in asked.sweep.points] == [1, 1, 2]
    folder = run_sweep(sweep, tmp_path / "results", workers=1)
    assert read_sweep(folder).points.height == 3


def test_failures_do_not_end_a_search_and_are_retried_on_request(tmp_path, monkeypatch):
    (tmp_path / "picky_rule.py").write_text(
        "from pathlib import Path\nfrom simulator.fusion import Product\n\n\n"
        "def make(exponent):\n"
        f"    if exponent > 1 and not Path({str(tmp_path / 'mended')!r}).exists():\n"
        "        raise RuntimeError('too much')\n"
        "    return Product(relevance=exponent)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    text = HEAD + "common: {fusion.rule: custom, fusion.object: 'picky_rule:make'}\n"
    text += "over: {fusion.settings.exponent: {uniform: [0, 2]}}\nmethod: nsga2\npoints: 12\ngeneration: 4\n"
    sweep = load_sweep(write(tmp_path, text))
    folder = run_sweep(sweep, tmp_path / "results", workers=1)
    result = read_sweep(folder)
    asked = read_asked(folder, sweep)
    above = [point for point in result.sweep.points if point.settings["fusion.settings.exponent"] > 1]
    assert {one["point"] for one in result.failures} == {point.index for point in above}
    assert 2 <= len(above) < 8, "half of the first four, and fewer later"
    assert read_status(folder).failed == len(above)
    (tmp_path / "mended").touch()
    run_sweep(sweep, tmp_path / "results", workers=1, retry_failed=True)
    assert read_asked(folder, sweep) == asked
    assert (read_status(folder).done, read_sweep(folder).failures) == (12, ())


def test_an_estimate_says_what_is_searched(tmp_path):
    sweep = load_sweep(write(tmp_path, HUNT))
    found = estimate(sweep, tmp_path / "results", clock=iter([0.0, 1.0]).__next__)
    text = points_text(sweep)
    assert "fusion.within.relevance: 1,001 values from 0.0 to 3.0" in text
    assert "scorer: bm25, oracle" in text
    assert "nsga2 asks for 8 points at a time" in text
    assert "20 points x 2 seeds = 40 simulations" in estimate_text(found, 2)
    assert found.models == ("bm25", "oracle")
    assert not sweep_folder(tmp_path / "results", sweep).exists()


def test_without_optuna_the_message_says_what_to_install(tmp_path, monkeypatch):
    sweep = load_sweep(write(tmp_path, HUNT))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(
        MissingExtraError, match=r"s: the method nsga2: optuna .*; pip install 'relbid\[search\]'"
    ):
        run_sweep(sweep, tmp_path / "results")
    assert not (tmp_path / "results").exists()


MESSAGES = {
    "no points": ("points: 20\n", "", "points: is missing: how many points nsga2 draws"),
    "too many points": ("points: 20", "points: 20000", "points: a search tries at most 10,000"),
    "generations of a grid": (
        "method: nsga2\npoints: 20\n",
        "",
        "generation: only a search (nsga2, tpe) has generations; leave it out",
    ),
    "a new world for every point": (
        "fusion.threshold: {uniform: [0, 0.6]}",
        "world.stuffed_share: {uniform: [0, 0.6]}",
        "world.stuffed_share decides which pairs there are",
    ),
    "a field that there is not": (
        "fusion.threshold:",
        "fusion.threshhold:",
        "line 6, over.fusion.threshhold: at the point fusion.threshhold=0.0",
    ),
    "an end out of range": (
        "within.relevance: {uniform: [0, 3]}",
        "within.relevance: {uniform: [0, 30]}",
        "fusion.within.relevance=30: must be at most 20",
    ),
    "a text that is none": ("[bm25, oracle]", "[bm25, orcle]", "unknown scorer 'orcle'"),
    "no value left": (
        "[irrelevant_share <= 0.02]",
        "[fusion.threshold >= 0.7]",
        "constraints: no value of fusion.threshold keeps to them; loosen a bound",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_wrong_with_a_search_is_said(tmp_path, case):
    text, other, message = MESSAGES[case]
    assert text in HUNT
    with pytest.raises(ScenarioError) as caught:
        load_sweep(write(tmp_path, HUNT.replace(text, other)))
    assert message in str(caught.value)
