"""The click model fitted on the simulator's own log."""

import numpy as np
import pytest

from scenarios import ScenarioError, load_scenario, override, prepare, relevance_of, run_scenario, simulate
from scenarios.markets.click_model import PreparedCtr, pair_features, read_ctr_file, with_fitted_ctr
from scenarios.markets.simulation import market_of
from scenarios.models.click_model_fit import figures, fit_clicks, fit_ctr, log_of, scenario_of, write_ctr_file
from scenarios.runs.results import write_result
from simulator.pctr import FittedCtr, refine
from tests.scenarios.test_cli import relbid

BIASED = ["scorer=none", "pctr.bias=0.5", "pctr.signal=1", "pctr.sigma=0", "traffic.n_queries=20000"]


@pytest.fixture(scope="module")
def biased(tiny_cache, tmp_path_factory, tiny_text):
    """A scenario whose platform overestimates click rates by exp(0.5), and the model fitted on its log."""
    path = tmp_path_factory.mktemp("biased") / "tiny.yaml"
    path.write_text(tiny_text)
    scenario = scenario_of(path, BIASED)
    return scenario, fit_ctr(scenario, cache=tiny_cache)


def test_coefficients_and_examination_are_recovered_from_clicks():
    rng = np.random.default_rng(5)
    n, weight, looked = 200_000, np.array([-1.0, 0.8, 0.5]), np.array([1.0, 0.6, 0.3])
    slot = rng.integers(0, 3, n)
    # Better ads stand higher, as in an auction: rates by slot alone would confuse ads with slots.
    design = np.column_stack([np.ones(n), rng.normal(-1.5 - 0.3 * slot, 0.7), rng.random(n)])
    p = looked[slot] / (1 + np.exp(-design @ weight))
    found, examination = fit_clicks(design, slot, rng.random(n) < p, np.array([1.0, 0.9, 0.9]))
    assert found == pytest.approx(weight, abs=0.1)
    assert examination == pytest.approx(looked, rel=0.05)
    # Of a slot that was never filled nothing can be said but what was assumed.
    four = fit_clicks(
        design[:5000], slot[:5000], rng.random(5000) < p[:5000], np.array([0.9, 0.9, 0.9, 0.2])
    )[1]
    assert four[[0, 3]] == pytest.approx([0.9, 0.2])
    by_slot = np.bincount(slot, weights=p) / np.bincount(slot)
    assert by_slot[2] / by_slot[0] < 0.3 * 0.8  # what counting clicks by slot would say


def test_defaults_leave_a_prediction_as_it_is():
    p = np.array([0.0, 0.01, 0.3, 0.9])
    assert refine(FittedCtr(), p, np.ones(4), np.array([0, 1, 2, 0])) == pytest.approx(p)


def test_a_known_bias_is_calibrated_away(biased, tiny_cache):
    """Predictions are exp(0.5) = 1.65 times too high; fitted, they are right on average within 5%."""
    scenario, fitted = biased
    assert fitted.before.predicted_to_clicked == pytest.approx(np.exp(0.5), rel=0.1)
    assert fitted.after.predicted_to_clicked == pytest.approx(1.0, abs=0.1)
    assert fitted.after.log_loss < fitted.before.log_loss
    assert fitted.after.calibration_error < 0.4 * fitted.before.calibration_error
    # Against the truth, which no log shows, over all pairs that were shown.
    prepared = prepare(scenario, cache=tiny_cache)
    relevance = relevance_of(prepared, scenario.scorer, cache=tiny_cache)
    simulation = simulate(prepared, relevance)
    features = pair_features(prepared.world, prepared.candidate, None)
    refined = with_fitted_ctr(simulation.market, PreparedCtr(fitted.coefficients, features))
    log = simulation.log
    column = np.argmax(prepared.candidate[log.query] == log.ad[:, None], axis=1)
    true = simulation.market.attraction[log.query, column].mean()
    assert simulation.market.pctr[log.query, column].mean() / true == pytest.approx(np.exp(0.5), rel=0.02)
    assert refined.pctr[log.query, column].mean() / true == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(refined.budget_micros, simulation.market.budget_micros)
    assert ((refined.pctr > 0) == (prepared.candidate >= 0)).all()


def test_a_scenario_names_the_fitted_model(biased, tiny_cache, tmp_path):
    scenario, fitted = biased
    path = tmp_path / "models" / "pctr.yaml"
    write_ctr_file(path, fitted)
    assert read_ctr_file(path) == fitted
    using = override(scenario, {"pctr.model": str(path)})
    prepared = prepare(using, cache=tiny_cache)
    relevance = relevance_of(prepared, "oracle")
    plain = market_of(prepare(scenario, cache=tiny_cache), relevance)
    fitted_market = market_of(prepared, relevance)
    ratio = fitted_market.pctr.sum() / plain.pctr.sum()
    assert ratio == pytest.approx(np.exp(-0.5), rel=0.15)
    with pytest.raises(ScenarioError, match=r"pctr\.model"):
        simulate(prepared, relevance, {"pctr.model": None})


def test_the_same_log_gives_the_same_model(biased, tiny_cache, tmp_path):
    scenario, fitted = biased
    result = run_scenario(scenario, cache=tiny_cache, sweep=False)
    folder = write_result(tmp_path, scenario, result.metrics, result.points, result.log)
    assert fit_ctr(scenario_of(folder), log_of(folder), cache=tiny_cache) == fitted


def test_the_relevance_of_a_scorer_is_a_feature(tiny_file, tiny_cache):
    scenario = scenario_of(tiny_file, ["traffic.n_queries=6000", "pctr.signal=0"], scorer="bm25")
    fitted = fit_ctr(scenario, cache=tiny_cache)
    assert fitted.scorer == "bm25"
    assert fitted.coefficients.relevance != 0
    assert fitted.coefficients.match[0] == 0
    knowing = override(scenario, {"scorer": "oracle"})  # no platform's
    assert fit_ctr(knowing, cache=tiny_cache).scorer is None


def test_figures_by_hand():
    """Two groups, .1 and .3 predicted, .2 and .2 clicked: both are off by .1."""
    p = np.repeat([0.1, 0.3], 100)
    clicked = np.tile([True, False, False, False, False], 40)
    found = figures(p, clicked)
    assert found.calibration_error == pytest.approx(0.1)
    assert found.predicted_to_clicked == pytest.approx(1.0)
    assert found.auc == pytest.approx(0.5)
    assert found.log_loss == pytest.approx(
        -0.5 * (0.2 * np.log(0.1 * 0.3) + 0.8 * np.log(0.9 * 0.7)), rel=1e-6
    )


def test_from_the_command_line(tiny_file, tiny_cache, tmp_path):
    more = ("--set", "traffic.n_queries=4000", "--cache", tiny_cache)
    done = relbid("fit-pctr", tiny_file, *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the fitted model" in done.stdout
    assert "models/pctr-tiny.yaml" in done.stdout
    fitted = read_ctr_file(tmp_path / "models" / "pctr-tiny.yaml")
    assert fitted.scenario == "tiny"
    run = run_scenario(
        load_scenario(tiny_file, [f"pctr.model={tmp_path}/models/pctr-tiny.yaml"]),
        cache=tiny_cache,
        sweep=False,
    )
    assert run.metrics["clicks"] > 0


def test_what_cannot_be_used_is_said_in_words(tiny_file, tiny_cache, tmp_path, biased):
    with pytest.raises(
        ScenarioError, match=r"tiny, traffic\.n_queries: \d+ clicks to fit on, 200 are needed"
    ):
        fit_ctr(scenario_of(tiny_file, ["traffic.n_queries=50"]), cache=tiny_cache)
    with pytest.raises(ScenarioError, match=r"no\.yaml: no such file; relbid fit-pctr SCENARIO makes one"):
        prepare(load_scenario(tiny_file, [f"pctr.model={tmp_path}/models/no.yaml"]), cache=tiny_cache)
    broken = tmp_path / "broken.yaml"
    write_ctr_file(broken, biased[1])
    broken.write_text(broken.read_text().replace("intercept: ", "intercept: x"))
    with pytest.raises(ScenarioError, match=r"broken\.yaml, line 6, coefficients\.intercept: needs a number"):
        read_ctr_file(broken)
    with pytest.raises(ScenarioError, match=r"pctr\.model.*--set pctr\.model=null"):
        scenario_of(tiny_file, ["pctr.model=x.yaml"])
    with pytest.raises(ScenarioError, match="cannot be changed"):
        scenario_of(tmp_path, ["seed=3"])
