import numpy as np
import pytest

from simulator.bidders import BidderModel, bids_micros, budgets, demand, pace, values
from simulator.random import normals


def test_values_are_lognormal_around_their_category() -> None:
    model = BidderModel(value_median=2.0, category_sigma=0.5, value_sigma=0.3)
    draw = normals(1, "v", 0, 1, 100_000)[0]
    value = values(model, np.ones_like(draw), draw)
    assert np.log(value).mean() == pytest.approx(np.log(2.0) + 0.5, abs=0.01)
    assert np.log(value).std() == pytest.approx(0.3, abs=0.01)


def test_bids_are_whole_micros_of_the_shaded_value() -> None:
    bid = bids_micros(
        BidderModel(shading=0.5), np.array([1.0, 3.0, 1 / 3]), np.array([1.0, 0.1]), np.array([0, 1, 0])
    )
    assert bid.tolist() == [500_000, 150_000, 166_667]


def test_demand_and_budgets() -> None:
    candidate = np.array([[0, 1, 2], [2, -1, -1]])
    owner = np.where(candidate >= 0, candidate // 2, -1)
    part = (np.full((2, 3), 0.1), np.array([300.0, 50.0]), candidate, owner)
    expected = demand([part], 3, n_slots=2)
    rows = [tuple(column[row : row + 1] for column in part) for row in range(2)]
    assert demand(rows, 3, n_slots=2).tobytes() == expected.tobytes()
    # 300 queries with 2 slots for 3 ads; 50 with a slot for the only one.
    assert expected == pytest.approx([2 * 300 * 2 / 3 * 0.1, (300 * 2 / 3 + 50) * 0.1, 0.0])
    model = BidderModel(budget_multiple=2.0, budget_sigma=1.0)
    assert budgets(model, np.array([10.0, 10.0]), np.array([0.0, -1.0])).tolist() == [20_000_000, 7_357_589]


def run_pacing(multiplier: float, spent: float, remaining: float, ticks_left: float) -> float:
    model = BidderModel(pacing_step=0.1, pacing_floor=0.2)
    row = (np.array([x]) for x in (spent, remaining))
    return float(pace(model, np.array([multiplier]), np.array([True]), *row, ticks_left)[0])


def test_pacing_steers_towards_an_even_spend() -> None:
    assert run_pacing(0.5, spent=1.0, remaining=9.0, ticks_left=9.0) == pytest.approx(0.5), "as planned"
    assert run_pacing(0.5, spent=0.0, remaining=9.0, ticks_left=8.0) == pytest.approx(0.5 * np.exp(0.1))
    assert run_pacing(0.5, spent=3.0, remaining=7.0, ticks_left=9.0) == pytest.approx(0.5 * np.exp(-0.2))
    assert run_pacing(1.0, spent=0.0, remaining=9.0, ticks_left=9.0) == 1.0, "never above the own bid"
    assert run_pacing(0.2, spent=9.0, remaining=1.0, ticks_left=9.0) == 0.2, "never below the floor"
    assert run_pacing(0.7, spent=0.0, remaining=0.0, ticks_left=9.0) == 0.7


def test_who_does_not_pace_bids_the_same() -> None:
    kept = pace(
        BidderModel(),
        np.array([1.0, 1.0]),
        np.array([False, True]),
        np.array([5.0, 5.0]),
        np.array([1.0, 1.0]),
        9.0,
    )
    assert kept[0] == 1.0
    assert kept[1] < 1.0


@pytest.mark.parametrize(
    "settings", [{"shading": 0.0}, {"value_sigma": -1.0}, {"paced_share": 1.5}, {"pacing_floor": 0.0}]
)
def test_impossible_bidders_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="bidders"):
        BidderModel(**settings)
