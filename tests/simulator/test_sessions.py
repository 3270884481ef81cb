import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from simulator.arrivals import query_of
from simulator.random import uniforms
from simulator.sessions import SessionModel, Visits, session_lengths, single_visits, user_of, visits

DAY_S = 1000.0
INTENT = np.array([0, 1, 0, 2, 1, 0])
POPULARITY = np.array([0.1, 0.2, 0.15, 0.25, 0.25, 0.05])


def drawn(model: SessionModel, total: int, seed: int = 1, days: int = 1) -> tuple[Visits, np.ndarray]:
    """Visits with exactly `total` queries, started at random, and the starts of the sessions."""
    length = session_lengths(model, uniforms(seed, "length", 0, 1, total)[0], total)
    n = length.size
    start_s = np.sort(uniforms(seed, "start", 0, 1, n)[0]) * DAY_S * days
    first = query_of(uniforms(seed, "first", 0, 1, n)[0], POPULARITY)
    follow, who = uniforms(seed, "follow", 0, total, 2), uniforms(seed, "who", 0, 1, n)[0]
    return visits(model, start_s, length, first, INTENT, POPULARITY, DAY_S, follow, who), start_s


def test_by_default_a_query_is_a_session_is_a_user() -> None:
    came, start_s = drawn(SessionModel(), 500, days=3)
    assert np.array_equal(came.arrival_s, start_s)
    assert np.array_equal(came.query, query_of(uniforms(1, "first", 0, 1, 500)[0], POPULARITY))
    assert came.session.tolist() == came.user.tolist() == list(range(500))


@settings(max_examples=40)
@given(
    mean=st.floats(1.0, 8.0),
    total=st.integers(1, 300),
    think=st.floats(0.0, 5 * DAY_S),
    population=st.integers(0, 20),
    seed=st.integers(0, 10_000),
)
def test_sessions_hold_together(mean: float, total: int, think: float, population: int, seed: int) -> None:
    model = SessionModel(queries_per_session=mean, think_time_s=think, population=population)
    came, _ = drawn(model, total, seed, days=3)
    assert came.arrival_s.size == total
    assert (np.diff(came.arrival_s) >= 0).all()
    assert came.arrival_s.min() >= 0
    assert came.arrival_s.max() < 3 * DAY_S
    n = came.session.max() + 1
    assert set(came.session.tolist()) == set(range(n))
    for session in range(n):
        own = came.session == session
        assert len(set(INTENT[came.query[own]].tolist())) == 1
        assert len(set(came.user[own].tolist())) == 1
        assert len(set((came.arrival_s[own] // DAY_S).tolist())) == 1  # no visit runs past midnight


def test_session_lengths_are_geometric() -> None:
    count = 200_000
    length = session_lengths(SessionModel(queries_per_session=2.5), uniforms(1, "length", 0, 1, count)[0])
    assert length.min() == 1
    assert length.mean() == pytest.approx(2.5, abs=4 * length.std() / np.sqrt(count))
    for n in range(1, 5):  # P(length > n) = (1 - 1 / mean)^n
        assert (length > n).mean() == pytest.approx(0.6**n, abs=4 * np.sqrt(0.25 / count))


def test_a_total_is_met_by_cutting_the_last_session() -> None:
    model, u = SessionModel(queries_per_session=3.0), uniforms(4, "length", 0, 1, 50)[0]
    free, cut = session_lengths(model, u), session_lengths(model, u, 50)
    assert cut.sum() == 50
    assert np.array_equal(cut[:-1], free[: cut.size - 1])
    assert 1 <= cut[-1] <= free[cut.size - 1]
    with pytest.raises(ValueError, match="too few"):
        session_lengths(SessionModel(), u, 51)


def test_queries_keep_their_share_of_the_traffic() -> None:
    count = 200_000
    came, start_s = drawn(SessionModel(queries_per_session=4.0, think_time_s=1.0), count)
    share = np.bincount(came.query, minlength=6) / count
    # Queries of a session are not independent: as many as there are sessions are, at least.
    assert share == pytest.approx(POPULARITY, abs=4 * np.sqrt(0.25 / start_s.size))


def test_think_times_are_exponential() -> None:
    came, _ = drawn(SessionModel(queries_per_session=2.0, think_time_s=0.5), 100_000)
    order = np.lexsort((came.arrival_s, came.session))
    same = np.diff(came.session[order]) == 0
    gap = np.diff(came.arrival_s[order])[same]
    assert gap.mean() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(gap.size))
    assert (gap > 1.0).mean() == pytest.approx(np.exp(-2.0), abs=4 * np.sqrt(0.25 / gap.size))


def test_active_users_search_more() -> None:
    count, u = 200_000, uniforms(1, "who", 0, 1, 200_000)[0]
    users = np.bincount(user_of(SessionModel(population=4, activity_exponent=1.0), u)) / count
    assert users == pytest.approx(np.array([12, 6, 4, 3]) / 25, abs=4 * np.sqrt(0.25 / count))
    equal = np.bincount(user_of(SessionModel(population=4, activity_exponent=0.0), u)) / count
    assert equal == pytest.approx([0.25] * 4, abs=4 * np.sqrt(0.25 / count))


def test_the_same_draws_give_the_same_visits() -> None:
    model = SessionModel(queries_per_session=2.0, population=30)
    one, again = drawn(model, 400)[0], drawn(model, 400)[0]
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))


@pytest.mark.parametrize(
    "settings",
    [{"queries_per_session": 0.5}, {"think_time_s": -1.0}, {"population": -1}, {"population": 10**9}],
)
def test_impossible_sessions_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"sessions\."):
        SessionModel(**settings)


@pytest.mark.parametrize("population", [0, 50])
@pytest.mark.parametrize("day_s", [86_400.0, 1000.1])
def test_sessions_of_one_query_are_what_visits_makes_of_them(population, day_s):
    rng = np.random.default_rng(3)
    model = SessionModel(population=population)
    start_s = np.sort(np.minimum(rng.random(3000), np.nextafter(1.0, 0.0))) * day_s + 2 * day_s
    query, intent, popularity = rng.integers(0, 40, 3000), np.arange(40) % 7, np.full(40, 1 / 40)
    user_u = rng.random(3000)
    ones = np.ones(3000, dtype=np.int64)
    long_way = visits(model, start_s, ones, query, intent, popularity, day_s, rng.random((3000, 2)), user_u)
    for short, long in zip(single_visits(model, start_s, query, user_u), long_way, strict=True):
        assert short.dtype == long.dtype
        assert np.array_equal(short, long)
