import numpy as np
import pytest

from simulator.policies.churn import ChurnModel, Returns, joining_day, leaves, remember
from simulator.random import uniforms


def test_by_default_nobody_joins_or_leaves() -> None:
    model, u = ChurnModel(), uniforms(1, "joins", 0, 1, 50)[0]
    assert not model.on
    assert not joining_day(model, u, 7).any()
    returns = Returns.none(50)
    for _ in range(30):
        returns = remember(model, returns, np.ones(50), np.zeros(50), np.ones(50, dtype=bool))
    assert not leaves(model, returns).any()


def test_newcomers_come_evenly_over_the_later_days() -> None:
    n = 60_000
    day = joining_day(ChurnModel(newcomer_share=0.3), uniforms(1, "joins", 0, 1, n)[0], 7)
    count = np.bincount(day, minlength=7)
    assert count[0] / n == pytest.approx(0.7, abs=0.01)
    assert count[1:] / n == pytest.approx([0.05] * 6, abs=0.005)


def test_newcomers_of_a_single_day_never_come() -> None:
    u = np.array([0.0, 0.3, 0.9])
    assert joining_day(ChurnModel(newcomer_share=0.5), u, 1).tolist() == [1, 1, 0]


def test_who_earns_too_little_leaves_after_its_patience() -> None:
    """Returns on spend 0.5 and 2, and one who spends nothing; all are asked for 1 over three days."""
    model = ChurnModel(least_return=1.0, patience_days=3)
    returns, present = Returns.none(3), np.ones(3, dtype=bool)
    spent, earned = np.array([10.0, 10.0, 0.0]), np.array([5.0, 20.0, 0.0])
    gone = []
    for _ in range(4):
        returns = remember(model, returns, spent, earned, present)
        gone.append(leaves(model, returns).tolist())
    assert gone == [[False] * 3, [False] * 3, [True, False, False], [True, False, False]]


def test_one_bad_day_is_forgiven() -> None:
    model = ChurnModel(least_return=1.0, patience_days=5)
    returns, here = Returns.none(1), np.ones(1, dtype=bool)
    for earned in (2.0, 2.0, 2.0, 2.0, 2.0, 0.0):
        returns = remember(model, returns, np.ones(1), np.array([earned]), here)
    assert not leaves(model, returns).any()
    for _ in range(5):
        returns = remember(model, returns, np.ones(1), np.zeros(1), here)
    assert leaves(model, returns).all()


def test_who_is_not_there_remembers_nothing_new() -> None:
    returns = remember(ChurnModel(), Returns.none(2), np.ones(2), np.ones(2), np.array([True, False]))
    assert returns.days.tolist() == [1, 0]
    assert returns.spent.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    "settings", [{"newcomer_share": 1.5}, {"least_return": -1.0}, {"patience_days": 0.0}]
)
def test_impossible_churn_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="churn"):
        ChurnModel(**settings)
