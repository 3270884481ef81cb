"""What a model knows of the ads that meet: known answers by hand."""

import numpy as np
import pytest

from benchmarks.in_market import order


def test_the_order_of_two_ads_of_a_query_by_hand() -> None:
    """Query 1 (traffic 3): one of two pairs is right. Query 2 (traffic 1): a tie. Query 3: no pair."""
    score = np.array([[0.5, 0.9, 0.1], [0.4, 0.4, 0.0], [0.9, 0.1, 0.5]])
    better = np.array([[True, False, False], [True, False, False], [True, True, False]])
    worse = np.array([[False, True, True], [False, True, False], [False, False, False]])
    traffic = np.array([3.0, 1.0, 5.0])
    assert order(score, better, worse, traffic) == pytest.approx((3 * 1 + 1 * 0.5) / (3 * 2 + 1))
    assert np.isnan(order(score[2:], better[2:], worse[2:], traffic[2:]))
