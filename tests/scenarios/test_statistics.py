"""Intervals against textbook answers and against how often they hold what is true."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmarks.coverage import Spread, coverage, replicates, stein_of_a_change
from scenarios.studies.experiments.random_effects import (
    components,
    mean_interval,
    prediction_interval,
    units_of,
)
from scenarios.studies.experiments.statistics import (
    compare,
    detectable,
    linearised_change,
    power,
    seeds_for_half_width,
    t_interval,
    t_quantile,
)

# Student 1908: additional hours of sleep by two drugs in ten patients. R's t.test(..., paired = TRUE) gives a
# mean difference of 1.58, 95% interval 0.7001142 to 2.4598858.
DRUG_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
DRUG_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def binomial_bounds(n: int, p: float, errors: float = 4.0) -> tuple[float, float]:
    spread = errors * math.sqrt(p * (1 - p) / n)
    return p - spread, p + spread


def test_student_s_sleep_data():
    mean, low, high = t_interval(DRUG_2 - DRUG_1)
    assert (mean, low, high) == pytest.approx((1.58, 0.7001142, 2.4598858))
    found = compare(DRUG_1, DRUG_2)
    assert found.n == 10
    assert (found.difference.value, found.difference.t_low) == pytest.approx((1.58, 0.7001142))
    assert found.difference.standard_error == pytest.approx(1.58 / 4.062128)  # R's t
    assert found.change.value == pytest.approx(1.58 / 0.75)


def test_t_quantiles_of_the_table():
    assert [t_quantile(0.95, n) for n in (2, 11, 31)] == pytest.approx([12.706, 2.228, 2.042], abs=5e-4)


def test_power_as_r_computes_it():
    # power.t.test(n = 20, delta = 1, sd = 1): two samples, 38 degrees of freedom, power 0.8689528
    assert power(1 / math.sqrt(2 / 20), 38) == pytest.approx(0.8689528, abs=1e-6)
    # pwr.t.test(d = 0.5, power = 0.8, type = "one.sample") needs n = 33.37
    assert detectable(1 / math.sqrt(33), 32) > 0.5 > detectable(1 / math.sqrt(34), 33)


def test_the_relative_change_of_proportional_arms_is_known_exactly():
    baseline = np.array([9.0, 10.0, 10.0, 13.0])
    found = compare(baseline, 1.1 * baseline)
    assert (found.change.value, found.change.t_low, found.change.t_high) == pytest.approx((0.1, 0.1, 0.1))
    assert found.difference.t_low < 1.05 < found.difference.t_high
    loss = compare(-baseline, -0.9 * baseline)
    assert loss.change.value == pytest.approx(0.1), "a smaller loss is a rise"
    assert loss.change.t_high == pytest.approx(0.1)


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=2, max_size=12))
def test_a_change_and_its_residuals(pairs):
    a, b = np.array(pairs).T
    residuals, change = linearised_change(a, b)
    assert residuals.sum() == pytest.approx(0.0, abs=1e-9)
    assert a.mean() * (1 + change) == pytest.approx(b.mean())


def test_fieller_s_interval_is_the_set_of_ratios_that_a_t_test_keeps():
    rng = np.random.default_rng(6)
    a = rng.lognormal(1.0, 0.5, 12)
    b = a * rng.lognormal(0.1, 0.2, 12)
    found = compare(a, b).change
    for bound in (found.t_low, found.t_high):
        _, low, high = t_interval(b - a - bound * a)
        assert min(abs(low), abs(high)) == pytest.approx(0.0, abs=1e-12)
    # It misses zero exactly where the difference's interval does, which the delta method's need not.
    for draw in rng.lognormal(0.0, 1.0, (300, 2, 6)):
        both = compare(*draw)
        assert (both.change.t_low > 0) == (both.difference.t_low > 0)
    nothing_there = compare(np.array([1.0, -1.1, 2.0]), np.array([3.0, 1.0, 0.5])).change
    assert (nothing_there.t_low, nothing_there.t_high) == (-math.inf, math.inf)


def test_identical_arms_differ_by_exactly_nothing():
    found = compare(DRUG_2 + 1.0, DRUG_2 + 1.0)
    for estimate in (found.difference, found.change):
        assert (estimate.value, estimate.t_low, estimate.t_high) == (0.0,) * 3


def test_pairs_without_a_value_are_left_out_and_too_few_leave_no_interval():
    found = compare(np.array([1.0, math.nan, 2.0]), np.array([2.0, 5.0, math.nan]))
    assert (found.n, found.difference.value) == (1, 1.0)
    assert math.isnan(found.difference.t_low)
    assert math.isnan(compare(np.array([math.nan] * 2), np.ones(2)).change.value)
    assert math.isnan(compare(np.array([1.0, -1.0]), np.ones(2)).change.value), "relative to nothing"


@pytest.mark.parametrize("n", [3, 20])
def test_the_t_interval_holds_the_mean_as_often_as_it_says(n):
    draws = np.random.default_rng(1).normal(2.0, 3.0, (4000, n))
    missed = sum(not low <= 2.0 <= high for _, low, high in map(t_interval, draws)) / len(draws)
    low, high = binomial_bounds(len(draws), 0.05)
    assert low <= missed <= high


@pytest.mark.parametrize(
    "mixture",
    [
        "few worlds that differ much",
        "worlds differ much",
        "worlds differ a little",
        "worlds do not differ",
        "all differ",
        "worlds differ, trainings do not",
        "trainings differ much",
        "one world, trainings differ",
    ],
)
def test_the_random_effects_interval_holds_the_mean_as_often_as_it_says(mixture):
    assert 0.935 <= coverage(mixture, 1000) <= 0.965


@pytest.mark.parametrize("mixture", ["few worlds, all differ", "nothing but noise"])
def test_it_holds_it_more_often_where_negative_components_are_cut(mixture):
    assert 0.935 <= coverage(mixture, 1000) <= 0.985


def test_days_alone_hold_the_mean_too_rarely_where_worlds_differ():
    """Why the unit is the world."""
    rng, held = np.random.default_rng(8), 0
    for _ in range(1000):
        _, low, high = t_interval(replicates(rng, (8, 1, 5), Spread(world=1.0, day=0.3)).ravel())
        held += low <= 0.0 <= high
    assert held / 1000 < 0.75


def test_one_world_and_one_training_are_students_interval_over_the_days():
    found = mean_interval(units_of((DRUG_2 - DRUG_1)[None, None, :]))
    assert found[:3] == t_interval(DRUG_2 - DRUG_1)
    assert found.df == 9
    assert compare(DRUG_1, DRUG_2) == compare(DRUG_1[None, None], DRUG_2[None, None])


def test_one_training_is_students_interval_over_the_worlds():
    values = np.random.default_rng(3).normal(size=(6, 1, 4))
    assert mean_interval(units_of(values))[:3] == pytest.approx(t_interval(values.mean(axis=(1, 2))))


def test_the_interval_is_never_narrower_than_units_or_trainings_alone():
    for draw in np.random.default_rng(4).normal(size=(200, 5, 3)):
        draw += np.random.default_rng(5).normal(size=3)
        found, units = mean_interval(draw), t_interval(draw.mean(axis=1))
        assert found.high - found.low >= (units[2] - units[1]) * (1 - 1e-12)
        assert found.df >= 2


def test_one_training_predicts_as_student_does():
    values = np.array([[1.0], [2.0], [4.0], [5.0]])
    low, high = prediction_interval(values, 0.9)
    # mean 3, standard deviation sqrt(10 / 3), t(3) at .95 is 2.3534
    half = 2.3534 * math.sqrt(10 / 3 * (1 + 1 / 4))
    assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-3)
    assert all(math.isnan(bound) for bound in prediction_interval(values[:1]))
    assert prediction_interval(np.full((3, 2), 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("shape", "spread"),
    [
        ((8, 5), Spread(world=1, training=0.5, both=0.3)),
        ((8, 5), Spread(world=0.2, training=1, both=0.3)),
        ((8, 1), Spread(world=1)),
    ],
)
def test_a_new_world_with_a_new_training_is_predicted_as_often_as_it_says(shape, spread):
    rng, held, n = np.random.default_rng(3), 0, 4000
    for _ in range(n):
        drawn = replicates(rng, (shape[0] + 1, shape[1] + (shape[1] > 1), 1), spread)[:, :, 0]
        low, high = prediction_interval(drawn[: shape[0], : shape[1]], 0.9)
        held += low <= drawn[-1, -1] <= high
    assert 0.88 <= held / n <= 0.94


def test_components_of_a_textbook_layout_and_of_many_replicates():
    # Searle et al. 1992, one-way with 2 groups of 2: group means 1 and 3, mean squares 4 and 2.
    found = components(np.array([[[0.0, 2.0]], [[2.0, 4.0]]]))
    assert (found.world, found.day) == pytest.approx((1.0, 2.0))
    spread = Spread(2.0, 1.0, 0.5, 1.5, 0.7)
    found = components(replicates(np.random.default_rng(9), (300, 300, 4), spread))
    assert np.sqrt(found) == pytest.approx(spread, rel=0.1)
    assert components(np.ones((3, 2, 2))) == (0.0,) * 5


def test_missing_days_leave_the_world_and_a_world_without_days_is_left_out():
    values = np.arange(12.0).reshape(3, 1, 4)
    values[0, 0, 0] = math.nan
    values[1] = math.nan
    assert units_of(values)[:, 0] == pytest.approx([2.0, 9.5])
    found = compare(np.ones((3, 1, 4)), values)
    assert (found.n, found.difference.value) == (2, pytest.approx(4.75))


def test_a_change_over_worlds_and_trainings_is_linearised():
    rng = np.random.default_rng(11)
    a = 5.0 + replicates(rng, (6, 3, 4), Spread(world=0.3, day=0.2))
    b = 1.1 * a
    found = compare(a, b).change
    assert (found.value, found.t_low, found.t_high) == pytest.approx((0.1, 0.1, 0.1))
    b = b + replicates(rng, (6, 3, 4), Spread(0.2, 0.3, 0.1, 0.1, 0.1))
    found = compare(a, b).change
    values = units_of(b - (1 + found.value) * a)
    expected = mean_interval(values / a.mean())
    assert found.t_high - found.value == pytest.approx(expected.high - expected.value)


# More seeds until the interval is narrow


def test_stein_s_rule_has_the_width_and_the_coverage():
    rng, n_pilot, half_width, trials = np.random.default_rng(3), 5, 0.8, 3000
    missed, sizes = 0, []
    for _ in range(trials):
        pilot = rng.normal(0.0, 1.0, n_pilot)
        n = seeds_for_half_width(pilot, half_width)
        values = np.concatenate([pilot, rng.normal(0.0, 1.0, n - n_pilot)])
        found = compare(np.full(n, 7.0), 7.0 + values, pilot=n_pilot).difference
        assert (found.t_high - found.t_low) / 2 <= half_width + 1e-12
        missed += not found.t_low <= 0.0 <= found.t_high
        sizes.append(n)
    assert missed / trials <= binomial_bounds(trials, 0.05)[1]
    assert min(sizes) == n_pilot < max(sizes)


def test_stein_s_rule_of_a_change_keeps_the_width_always_and_the_coverage_nearly():
    held, kept = stein_of_a_change(1000)
    assert kept == 1.0
    assert 0.93 <= held <= 0.97


def test_looking_until_something_is_found_finds_something():
    """Why `until` takes a half-width and looks at the spread once."""
    rng, trials, found = np.random.default_rng(4), 1000, 0
    for _ in range(trials):
        values = rng.normal(0.0, 1.0, 60)
        looks = (t_interval(values[:n]) for n in range(5, 61, 5))
        found += any(low > 0 or high < 0 for _, low, high in looks)
    assert found / trials > 0.12


def test_arguments_of_an_interval_are_named():
    for make, words in (
        (lambda: t_quantile(95, 5), "confidence must be from"),
        (lambda: t_interval(DRUG_1, 1), "confidence must be from"),
        (lambda: t_interval(np.ones((2, 2))), r"values must be an array \[n\]"),
        (lambda: compare(DRUG_1, DRUG_2[:3]), r"baseline and arm must both be \[n\]"),
        (lambda: compare(DRUG_1, DRUG_2, pilot=99), "pilot must be from 1 to 10"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
