import numpy as np
import pytest

from simulator.pctr import CtrModel, ad_average, predict
from simulator.random import normals, uniforms
from simulator.users import UserModel, attraction, click_probability, clicks


def test_position_based_clicks_known_answer() -> None:
    examination, quality, price = np.array([1, 0.8, 0.6]), np.array([0.3, 0.2, 0.1]), np.array([2, 1.5, 1])
    p = click_probability(examination, quality)
    assert p == pytest.approx([0.3, 0.16, 0.06])
    assert p.sum() == pytest.approx(0.52)
    assert (p * price).sum() == pytest.approx(0.90)
    count = 200_000
    hit = clicks(np.broadcast_to(p, (count, 3)), uniforms(1, "luck", 0, count, 3))
    assert hit.mean(axis=0) == pytest.approx(p, abs=4 * np.sqrt(0.21 / count))
    assert hit.any(axis=1).mean() == pytest.approx(0.44728, abs=4 * np.sqrt(0.25 / count))
    assert (hit * price).sum(axis=1).mean() == pytest.approx(
        0.90, abs=4 * (hit * price).std() * 2 / np.sqrt(count)
    )


def test_better_chances_never_lose_a_click() -> None:
    u = uniforms(1, "luck", 0, 1000, 4)
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
    average = ad_average(rate, candidate, np.array([0.75, 0.25]), 3)
    assert average == pytest.approx([0.2, 0.75 * 0.1 + 0.25 * 0.4, 0.0])
