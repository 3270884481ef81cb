from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulator import users
from simulator.pctr import CtrModel, ad_average, predict
from simulator.random import normals, uniforms
from simulator.users import UserModel, attraction, browse, click_probability, clicks, expected_examination

POSITION = UserModel(examination=(1.0, 0.8, 0.6))
CASCADE = replace(POSITION, click_model="cascade")
DBN = replace(POSITION, click_model="dbn", perseverance=0.8)
ATTRACTION, SATISFACTION = np.array([0.3, 0.2, 0.1]), np.array([0.5, 0.5, 0.5])


def pages(model: UserModel, count: int, attraction=ATTRACTION, satisfaction=SATISFACTION, seed=1):
    """`count` pages with the same ads, browsed with uniforms of their own."""
    shape = (count, attraction.size)
    draws = [uniforms(seed, station, 0, *shape) for station in ("click", "satisfy", "continue")]
    return browse(model, np.broadcast_to(attraction, shape), np.broadcast_to(satisfaction, shape), *draws)


def test_position_based_clicks_known_answer() -> None:
    examination, quality, price = np.array([1, 0.8, 0.6]), np.array([0.3, 0.2, 0.1]), np.array([2, 1.5, 1])
    p = click_probability(examination, quality)
    assert p == pytest.approx([0.3, 0.16, 0.06])
    assert p.sum() == pytest.approx(0.52)
    assert (p * price).sum() == pytest.approx(0.90)
    count = 200_000
    hit = clicks(np.broadcast_to(p, (count, 3)), uniforms(1, "click", 0, count, 3))
    assert hit.mean(axis=0) == pytest.approx(p, abs=4 * np.sqrt(0.21 / count))
    assert hit.any(axis=1).mean() == pytest.approx(0.44728, abs=4 * np.sqrt(0.25 / count))
    assert (hit * price).sum(axis=1).mean() == pytest.approx(
        0.90, abs=4 * (hit * price).std() * 2 / np.sqrt(count)
    )


def test_positions_are_browsed_as_they_are_clicked() -> None:
    """One uniform decides on both, and the clicks are those of the click probability, bit for bit."""
    count = 200_000
    u = uniforms(1, "click", 0, count, 3)
    examination = np.asarray(POSITION.examination)
    seen = browse(POSITION, np.broadcast_to(ATTRACTION, u.shape), None, u)
    assert np.array_equal(seen.clicked, clicks(click_probability(examination, ATTRACTION), u))
    assert seen.examined.mean(axis=0) == pytest.approx(examination, abs=4 * np.sqrt(0.25 / count))
    for slot, expected in enumerate(ATTRACTION):  # P(click | examined) is the attraction
        looked = seen.examined[:, slot]
        rate, error = seen.clicked[looked, slot].mean(), np.sqrt(expected * (1 - expected) / looked.sum())
        assert rate == pytest.approx(expected, abs=4 * error)
    assert not seen.satisfied.any()


def test_cascade_known_answer() -> None:
    """By hand: 1, (1 - .3), (1 - .3)(1 - .2); a click somewhere with 1 - .7 x .8 x .9."""
    looked = expected_examination(CASCADE, ATTRACTION)
    assert np.array_equal(looked, expected_examination(CASCADE, ATTRACTION, SATISFACTION))
    assert looked == pytest.approx([1.0, 0.7, 0.56])
    assert looked * ATTRACTION == pytest.approx([0.3, 0.14, 0.056])
    seen = pages(CASCADE, count := 200_000)
    assert seen.examined.mean(axis=0) == pytest.approx(looked, abs=4 * np.sqrt(0.25 / count))
    assert seen.clicked.sum(axis=1).max() == 1
    assert seen.clicked.any(axis=1).mean() == pytest.approx(0.496, abs=4 * np.sqrt(0.25 / count))


def test_dbn_known_answer() -> None:
    """By hand: 1, .8 (1 - .3 x .5), .68 x .8 (1 - .2 x .5)."""
    looked = expected_examination(DBN, ATTRACTION, SATISFACTION)
    with pytest.raises(ValueError, match="needs satisfaction"):
        expected_examination(DBN, ATTRACTION)
    assert looked == pytest.approx([1.0, 0.68, 0.4896])
    seen = pages(DBN, count := 200_000)
    error = 4 * np.sqrt(0.25 / count)
    assert seen.examined.mean(axis=0) == pytest.approx(looked, abs=error)
    assert seen.clicked.mean(axis=0) == pytest.approx(looked * ATTRACTION, abs=error)
    assert seen.satisfied.mean(axis=0) == pytest.approx(looked * ATTRACTION * SATISFACTION, abs=error)
    assert seen.satisfied.sum(axis=1).max() == 1


@pytest.mark.parametrize("model", [CASCADE, DBN])
def test_the_best_order_of_ads_under_markovian_users(model: UserModel) -> None:
    """Ads in the order of a v / (1 - q), with q the chance that the user continues, are worth most.

    Kempe and Mahdian 2008, "A cascade model for externalities in sponsored search"; Aggarwal, Feldman,
    Muthukrishnan and Pal 2008, "Sponsored search auctions with Markovian users".
    """
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, s, value = rng.uniform(0.05, 0.9, 5), rng.uniform(0.05, 0.9, 5), rng.uniform(0.5, 3.0, 5)
        continues = 1 - a if model.click_model == "cascade" else model.perseverance * (1 - a * s)
        orders = np.array(list(permutations(range(5))))
        worth = (expected_examination(model, a[orders], s[orders]) * (a * value)[orders]).sum(axis=1)
        best = np.argsort(-a * value / (1 - continues))
        assert orders[worth.argmax()].tolist() == best.tolist()


def test_cascade_is_the_dbn_of_users_whom_every_click_satisfies() -> None:
    certain = np.ones_like(SATISFACTION)
    as_dbn = pages(replace(DBN, perseverance=1.0), 5000, satisfaction=certain)
    as_cascade = pages(CASCADE, 5000, satisfaction=certain)
    assert all(np.array_equal(one, other) for one, other in zip(as_dbn, as_cascade, strict=True))
    for one, other in (ATTRACTION, certain), (certain, certain), (0 * certain, certain):
        assert np.array_equal(
            expected_examination(replace(DBN, perseverance=1.0), one, other),
            expected_examination(CASCADE, one, other),
        )


PROBABILITY = st.floats(0.0, 1.0)
SLOTS = st.integers(1, 8).flatmap(
    lambda n: st.tuples(*(st.lists(PROBABILITY, min_size=n, max_size=n).map(np.array) for _ in range(6)))
)


@given(st.sampled_from(users.CLICK_MODELS), PROBABILITY, SLOTS)
def test_browsing_makes_sense(name: str, perseverance: float, slots: tuple) -> None:
    looked, attracted, satisfied, *draws = slots
    draws = [np.minimum(u, np.nextafter(1.0, 0.0)) for u in draws]
    model = UserModel(examination=tuple(looked), click_model=name, perseverance=perseverance)
    seen = browse(model, attracted, satisfied, *draws)
    assert (seen.satisfied <= seen.clicked).all()
    assert (seen.clicked <= seen.examined).all()
    assert not seen.clicked[attracted == 0].any()
    if name != "position":  # read from the top, without a gap, until something ends it
        assert seen.examined[0]
        assert (np.diff(seen.examined.astype(int)) <= 0).all()
    # A more attractive ad is clicked whenever a less attractive one would have been in its place.
    better = attracted.copy()
    better[0] = 1.0
    assert browse(model, better, satisfied, *draws).clicked[0] >= seen.clicked[0]
    # What stands below cannot matter to what is above, and what is not there is not clicked.
    cut = attracted.copy()
    cut[-1] = 0.0
    above = browse(model, cut, satisfied, *draws)
    assert np.array_equal(above.clicked[:-1], seen.clicked[:-1])
    assert not above.clicked[-1]


def test_dbn_asks_for_its_luck() -> None:
    with pytest.raises(ValueError, match="dbn"):
        browse(DBN, ATTRACTION, SATISFACTION, ATTRACTION)


def test_conversions_known_answer() -> None:
    """Rate .2 x worth .5 = .1; half of the conversions within ln 2 x 100 s."""
    model = UserModel(worth_of_click=(0.0, 0.5, 1.0, 1.5), conversion_rate=0.2, conversion_delay_s=100.0)
    assert users.conversion_probability(model, np.arange(4, dtype=np.int8)) == pytest.approx(
        [0, 0.1, 0.2, 0.3]
    )
    count = 200_000
    convert_u, delay_u = uniforms(1, "conversions", 0, count, 2).T
    for grade, p in enumerate((0.0, 0.1, 0.2, 0.3)):
        grades = np.full(count, grade, dtype=np.int8)
        delay = users.conversion_delay(model, grades, convert_u, delay_u)
        happened = delay[np.isfinite(delay)]
        assert happened.size / count == pytest.approx(p, abs=4 * np.sqrt(0.25 / count))
        if p:
            assert happened.mean() == pytest.approx(100.0, abs=4 * 100.0 / np.sqrt(happened.size))
            assert np.median(happened) == pytest.approx(100 * np.log(2), rel=0.03)
    # What a click brings is on average what it is worth: value x worth of the grade.
    value = users.conversion_value(model, np.array([3.0]))
    assert value * users.conversion_probability(model, np.array([3])) == pytest.approx([3.0 * 1.5])
    assert np.isinf(users.conversion_delay(UserModel(), grades, convert_u, delay_u)).all()


def test_satisfaction_known_answer() -> None:
    model = UserModel(
        value_of_seeing=(-2.0, -1.0, 1.0, 2.0),
        value_of_satisfaction=5.0,
        satisfaction_half_life_days=1.0,
        return_rate=0.5,
        return_elasticity=0.1,
    )
    grade = np.array([[0, 3], [0, 0], [2, 1]], dtype=np.int8)
    examined = np.array([[1, 1], [1, 1], [1, 0]], dtype=bool)
    satisfied = np.array([[0, 1], [0, 0], [0, 0]], dtype=bool)
    gained = users.satisfaction_gained(model, grade, examined, satisfied)
    assert gained.tolist() == [-2.0 + 2.0 + 5.0, -4.0, 1.0]
    # At a half-life of a day the stock is the mean of itself and the day.
    stock = users.update_stock(model, np.array([0.0, 2.0, 1.0]), gained)
    assert stock.tolist() == [2.5, -1.0, 1.0]
    assert users.return_probability(model, stock) == pytest.approx([0.75, 0.4, 0.6])
    assert users.return_probability(model, np.array([-9.0, 9.0])).tolist() == [0.0, 1.0]
    for _ in range(60):  # who always gets the same tends to it; who gets nothing, to nothing
        stock = users.update_stock(model, stock, np.array([3.0, 0.0, -1.0]))
    assert stock == pytest.approx([3.0, 0.0, -1.0])


def test_loyalty_is_off_by_default() -> None:
    assert not users.has_loyalty(UserModel())
    assert not users.asks_satisfaction(UserModel())
    assert users.return_probability(UserModel(), np.array([-1e9, 0.0, 1e9])).tolist() == [1.0] * 3


def test_better_chances_never_lose_a_click() -> None:
    u = uniforms(1, "click", 0, 1000, 4)
    assert (clicks(np.full(4, 0.3), u) >= clicks(np.full(4, 0.2), u)).all()
    assert not clicks(np.zeros(4), u).any()
    assert clicks(np.ones(4), u).all()


def test_attraction_depends_on_the_grade_and_keeps_its_mean() -> None:
    model = UserModel(appeal_sigma=0.5)
    appeal = normals(1, "appeal", 0, 1, 200_000)[0]
    for grade in range(4):
        p = attraction(model, np.full(appeal.size, grade, dtype=np.int8), appeal)
        assert p.mean() == pytest.approx(model.attraction[grade], rel=0.01)
        assert p.max() <= 1.0


def test_impossible_users_are_refused() -> None:
    with pytest.raises(ValueError, match=r"users\.attraction"):
        UserModel(attraction=(0.1, 0.2, 0.3, 1.4))
    with pytest.raises(ValueError, match=r"users\.examination"):
        UserModel(examination=())
    with pytest.raises(ValueError, match=r"users\.click_model .*cascade.*'ubm'"):
        UserModel(click_model="ubm")
    with pytest.raises(ValueError, match=r"users\.perseverance"):
        UserModel(perseverance=1.5)
    with pytest.raises(ValueError, match=r"users\.conversion_rate"):
        UserModel(conversion_rate=0.9)
    with pytest.raises(ValueError, match=r"users\.satisfaction_half_life_days"):
        UserModel(satisfaction_half_life_days=0.0)


def test_prediction_between_average_and_truth() -> None:
    truth, average, noise = np.array([0.2, 0.05, 0.1]), np.array([0.1, 0.1, 0.1]), np.array([1.0, -1.0, 0.0])
    assert predict(CtrModel(signal=1.0, sigma=0.0), truth, average, noise) == pytest.approx(truth)
    assert predict(CtrModel(signal=0.0, sigma=0.0), truth, average, noise) == pytest.approx(average)
    halfway = predict(CtrModel(signal=0.5, sigma=0.0), truth, average, noise)
    assert halfway == pytest.approx(np.sqrt(truth * average))
    noisy = predict(CtrModel(signal=1.0, sigma=0.3, bias=0.1), truth, average, noise)
    assert noisy == pytest.approx(truth * np.exp([0.4, -0.2, 0.1]))
    assert predict(CtrModel(), np.array([0.9]), np.array([0.9]), np.array([9.0]))[0] == 1.0
    assert predict(CtrModel(), np.array([0.0]), np.array([0.0]), np.array([0.0]))[0] == 0.0


def test_an_ads_average_is_over_its_traffic() -> None:
    candidate = np.array([[0, 1], [1, -1]])
    rate = np.array([[0.2, 0.1], [0.4, 0.0]])
    average = ad_average([(rate, candidate, np.array([0.75, 0.25]))], 3)
    assert average == pytest.approx([0.2, 0.75 * 0.1 + 0.25 * 0.4, 0.0])
