"""One auction in one call, whatever the numbers come as; and whole numbers in the functions below it."""

from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.auction import MECHANISMS, Ranked, allocate, run_auction
from simulator.fusion import Formula, FusionRule, Gate, Linear, Product
from simulator.market import hand_market, with_settings

BY_BID = Product(pctr=0.0, relevance=0.0)


def kinds(values: list[float]) -> list[Any]:
    """The same numbers as a list, a tuple, arrays of floats and of whole numbers, and a tensor."""
    whole = [np.array(values, dtype=np.int64)] if all(v == int(v) for v in values) else []
    try:
        import torch

        whole += [torch.tensor(values), torch.tensor(values, dtype=torch.float64)]
    except ImportError:
        pass
    return [values, tuple(values), np.array(values), *whole]


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rule", [Product(), Formula("b * q * r"), Linear(1.0)], ids=str)
def test_numbers_of_any_kind_give_the_same(mechanism: str, rule: FusionRule) -> None:
    """Edelman, Ostrovsky and Schwarz 2007: bids 10, 4, 2 for slots with 200 and 100 clicks."""
    expected = {"gsp": (4.0, 2.0), "vcg": (3.0, 2.0), "first_price": (10.0, 4.0)}[mechanism]
    for bids in kinds([10, 4, 2]):
        for pctr in (1, [1, 1, 1], np.ones(3), np.ones(3, dtype=np.int64)):
            found = run_auction(bids, rule, pctr=pctr, slots=(1.0, 0.5), mechanism=mechanism)
            assert found.winners == (0, 1)
            assert found.prices == pytest.approx(expected, rel=1e-6)
            assert found.runner_up == 2


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_lone_whole_bid_pays_a_fractional_reserve(mechanism: str) -> None:
    paid = 10.0 if mechanism == "first_price" else 4.5
    for bid in (10, 10.0, [10], np.array(10), np.array([10])):
        found = run_auction(bid, Product(), slots=1, mechanism=mechanism, reserve=4.5)
        assert (found.winners, found.prices, found.runner_up) == ((0,), (paid,), None)
    ten, one = np.array([10]), np.array([1])
    ranking = allocate(ten, ten > 0, 3, one)
    priced = MECHANISMS[mechanism](Ranked(ranking, ten, BY_BID, ten, one, one, 4.5, (1.0, 0.5)))
    assert priced.tolist() == [paid, 0.0]


def test_a_formula_reads_whole_numbers_as_numbers() -> None:
    ten, one = np.array([10]), np.array([1])
    assert Formula("0.5 * b * q").score(ten, one, one).tolist() == [5.0]
    assert Formula("0.5 * b * q").bid_for_score(np.array([5]), one, one) == pytest.approx([10.0])
    assert Formula("0.5 * b * q").score(*map(np.float32, (ten, one, one))).dtype == np.float32


def test_the_runner_up_sets_the_last_price() -> None:
    """It is one rank more than there are slots, and is not to be forgotten."""
    found = run_auction([10, 4, 2], BY_BID, slots=1)
    assert (found.winners, found.prices, found.runner_up) == ((0,), (4.0,), 1)
    alone = run_auction([10], BY_BID, slots=5)
    assert (alone.winners, alone.prices, alone.runner_up) == ((0,), (0.0,), None)


def test_nobody_is_shown() -> None:
    found = run_auction([1, 2], Gate(0.5), slots=2, relevance=[0.1, 0.9], reserve=[0, 3])
    assert (found.winners, found.prices, found.runner_up) == ((), (), None)
    assert found.scores == (-inf, 2.0)
    assert [reason.kind for reason in found.reasons] == ["not_admitted", "below_reserve"]


def test_equal_scores_go_to_the_ad_that_is_listed_first_unless_said() -> None:
    assert run_auction([2, 2, 2], BY_BID, slots=2).winners == (0, 1)
    assert run_auction([2, 2, 2], BY_BID, slots=2, tie_break=[0, 2, 1]).winners == (1, 2)


def test_it_says_why() -> None:
    found = run_auction(
        [9, 5, 1, 0.2, 8],
        Gate(0.3, within=Product()),
        relevance=[0.5, 0.6, 0.9, 1.0, 0.1],
        slots=1,
        reserve=0.5,
        score_reserve=1.0,
    )
    assert str(found).splitlines() == [
        "ad 0: Slot 1: score 4.5 is number 1. "
        "It pays 6.00 of its bid 9.00: the least that keeps it above ad 1 (3).",
        "ad 1: Not shown: score 3 is below the last slot's 4.5; it bids 5.00 and would need 7.50.",
        "ad 2: Not eligible: its score 0.9 is below the score reserve 1.",
        "ad 3: Not eligible: its bid 0.20 is below the reserve 0.50.",
        "ad 4: Not eligible: the fusion rule admits no bid of 8.00 at relevance 0.10.",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bids": []}, "bids must be a list of one number for each ad"),
        ({"bids": [[1, 2], [3, 4]]}, "bids must be a list"),
        ({"bids": ["much"]}, "bids must be numbers"),
        ({"bids": [1, float("nan")]}, "bids must be finite numbers"),
        ({"pctr": [0.1, 0.2, 0.3]}, "pctr must be one number or one for each of the 2 bids"),
        ({"relevance": None}, "relevance must be"),
        ({"slots": 0}, "slots must be how many there are, at least 1"),
        ({"slots": "two"}, "slots must be how many there are"),
        ({"slots": (1.0, 1.5)}, "slots must be how many there are, at least 1, or a probability"),
        ({"mechanism": "english"}, "unknown auction mechanism"),
        ({"mechanism": "vcg", "slots": 2}, "mechanism vcg needs how likely each slot is looked at"),
    ],
)
def test_what_cannot_be_an_auction_is_refused_in_words(changes: dict[str, Any], words: str) -> None:
    given = {"bids": [2, 1], "rule": Product(), "slots": 1} | changes
    with pytest.raises((ValueError, TypeError), match=words):
        run_auction(given.pop("bids"), given.pop("rule"), **given)


@pytest.mark.parametrize("rule", [Product(), Product(relevance=2.0), Formula(), Linear(), Gate()], ids=str)
def test_a_rule_says_that_it_wants_arrays(rule: FusionRule) -> None:
    for given in (([2.0, 1.0], [0.1, 0.1], [1.0, 1.0]), (2.0, 0.1, 1.0)):
        with pytest.raises(TypeError, match=r"got (list|float), .*run_auction"):
            rule.score(*given)


def test_a_market_refuses_arrivals_that_it_would_never_answer() -> None:
    market = hand_market([2.0, 1.0], n_queries=3)
    for times in ([0.0, 1.0, 3.0], [-1.0, 0.0, 1.0]):
        with pytest.raises(ValueError, match=r"market.arrival_s must lie in \[0, days x horizon_s\)"):
            with_settings(market, arrival_s=np.array(times))
    assert with_settings(market, arrival_s=np.array([0.0, 1.0, 5.5]), days=2).days == 2


def test_the_lines_that_open_the_page_on_auctions(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "auctions.md").read_text()
    _, code, _, said, *_ = text.split("```")
    assert len([line for line in code.removeprefix("python").splitlines() if line]) == 3
    exec(code.removeprefix("python\n"), {})
    assert capsys.readouterr().out.strip() == said.strip()
