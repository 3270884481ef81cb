import numpy as np
import pytest
from hypothesis import given, strategies as st

from simulator.ledger import UNLIMITED, Ledger, first_shortfall


def test_charges_are_booked_and_the_cap_is_hard() -> None:
    accounts = Ledger.open(np.array([10, 5]))
    accounts.charge(np.array([[0, 1], [0, -1]]), np.array([[4, 5], [6, 99]]))
    assert accounts.spent.tolist() == [10, 5]
    assert accounts.remaining.tolist() == [0, 0]
    with pytest.raises(ValueError, match="advertiser 1 was charged beyond its budget"):
        accounts.charge(np.array([1]), np.array([1]))


def test_first_shortfall_by_hand() -> None:
    advertiser = np.array([[0, 1], [1, 0], [0, -1]])
    price = np.array([[4, 2], [3, 3], [2, 0]])
    charged = np.array([[4, 0], [3, 0], [2, 0]])
    assert first_shortfall(advertiser, price, charged, np.array([10, 10])) is None
    short = first_shortfall(advertiser, price, charged, np.array([5, 10]))
    assert short is not None
    assert (short.row, short.advertisers.tolist()) == (1, [0]), "4 of 5 are gone, and the price is 3"
    short = first_shortfall(advertiser, price, charged, np.array([6, 2]))
    assert short is not None
    assert (short.row, sorted(short.advertisers.tolist())) == (1, [0, 1])
    assert (
        first_shortfall(np.full((2, 2), -1), np.zeros((2, 2), int), np.zeros((2, 2), int), np.array([0]))
        is None
    )


@given(
    pages=st.lists(
        st.tuples(
            st.permutations(range(5)),
            st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=3, max_size=3),
        ),
        max_size=20,
    ),
    remaining=st.lists(st.integers(0, 40), min_size=5, max_size=5),
)
def test_first_shortfall_agrees_with_a_loop(
    pages: list[tuple[list[int], list[tuple[int, bool]]]], remaining: list[int]
) -> None:
    advertiser = np.array([order[:3] for order, _ in pages], dtype=np.int64).reshape(-1, 3)
    price = np.array([[p for p, _ in slots] for _, slots in pages], dtype=np.int64).reshape(-1, 3)
    charged = np.array([[p if hit else 0 for p, hit in slots] for _, slots in pages], dtype=np.int64).reshape(
        -1, 3
    )
    advertiser[price == 9] = -1
    left, expected = list(remaining), None
    for row in range(len(pages)):
        broke = {a for a, p in zip(advertiser[row], price[row], strict=True) if a >= 0 and p > left[a]}
        if broke:
            expected = (row, broke)
            break
        for a, c in zip(advertiser[row], charged[row], strict=True):
            if a >= 0:
                left[a] -= c
    short = first_shortfall(advertiser, price, charged, np.array(remaining))
    assert (short and (short.row, set(short.advertisers.tolist()))) == expected


def test_unlimited_budgets_add_up() -> None:
    assert np.full(5000, UNLIMITED).sum() == 5000 * UNLIMITED
