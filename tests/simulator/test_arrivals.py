import numpy as np
import pytest

from simulator.arrivals import DAY_SHAPE, arrival_times, query_of


def test_poisson_counts_follow_the_rate() -> None:
    rng = np.random.default_rng(1)
    rate = np.array([0.5, 2.0, 0.0, 1.0])
    times = [arrival_times(rng.poisson(rate.mean() * 400.0), rate, 400.0, rng) for _ in range(2000)]
    counts = np.array([np.histogram(day, bins=4, range=(0, 400))[0] for day in times])
    assert counts.mean(axis=0) == pytest.approx(rate * 100, abs=4 * np.sqrt(200 / 2000))
    assert counts.var(axis=0) == pytest.approx(rate * 100, rel=0.15), "a Poisson count's variance is its mean"


def test_fixed_count_has_the_same_shape() -> None:
    times = arrival_times(200_000, DAY_SHAPE, 86_400.0, np.random.default_rng(2))
    assert times.shape == (200_000,)
    assert (np.diff(times) >= 0).all()
    assert times.min() >= 0
    assert times.max() < 86_400
    expected = 200_000 * np.array(DAY_SHAPE) / sum(DAY_SHAPE)
    counted = np.histogram(times, bins=24, range=(0, 86_400))[0]
    assert (np.abs(counted - expected) < 5 * np.sqrt(expected)).all()


def test_gaps_of_a_constant_rate_are_exponential() -> None:
    gaps = np.diff(arrival_times(100_000, [2.0], 50_000.0, np.random.default_rng(3)))
    assert gaps.mean() == pytest.approx(0.5, rel=0.02)
    assert np.mean(gaps > 0.5) == pytest.approx(np.exp(-1.0), abs=0.01)


@pytest.mark.parametrize("rate", [[], [0.0], [-1.0, 2.0]])
def test_impossible_rates_are_refused(rate: list[float]) -> None:
    with pytest.raises(ValueError, match="rate_per_s"):
        arrival_times(10, rate, 1.0, np.random.default_rng(0))


def test_queries_come_by_popularity() -> None:
    popularity = np.array([0.5, 0.3, 0.0, 0.2])
    drawn = query_of(np.random.default_rng(4).random(100_000), popularity)
    assert np.bincount(drawn, minlength=4) / 1e5 == pytest.approx(popularity, abs=0.01)
    assert query_of(np.array([0.0, 0.4999, 0.5, 0.8, np.nextafter(1, 0)]), popularity).tolist() == [
        0,
        0,
        1,
        3,
        3,
    ]
