"""Calibration against numbers worked out by hand, and what it promises of every score."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from relevance.calibration import (
    FITS,
    IsotonicCalibration,
    TemperatureCalibration,
    calibration_from,
    fit_isotonic,
    fit_temperature,
)
from relevance.metrics import reliability

SCORES = st.lists(st.floats(1e-6, 1 - 1e-6), min_size=2, max_size=40)


def test_ece_by_hand() -> None:
    # Two bins: 0.2 and 0.4 (mean 0.3) of which one in two comes true, 1.0 twice of which both do.
    probability = np.array([0.2, 0.4, 1.0, 1.0])
    outcome = np.array([True, False, True, True])
    assert reliability(outcome, probability, 2).expected_error == pytest.approx(0.5 * 0.2 + 0.5 * 0.0)
    assert math.isnan(reliability(np.array([], dtype=bool), np.array([])).expected_error)


def test_temperature_by_hand() -> None:
    # Log odds ln 3 at temperature 2 and shift ln 2: odds sqrt(3) x 2.
    calibrated = TemperatureCalibration(2.0, math.log(2.0))(np.array([0.75]))
    odds = 2.0 * math.sqrt(3.0)
    assert calibrated[0] == pytest.approx(odds / (1.0 + odds))


def test_isotonic_by_hand() -> None:
    # 0.2 and 0.4 are out of order and pooled to one half; the others stand for themselves.
    fitted = fit_isotonic(np.array([0.1, 0.2, 0.4, 0.8]), np.array([False, True, False, True]))
    assert fitted(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.9])).tolist() == pytest.approx(
        [0.0, 0.0, 0.5, 0.5, 0.5, 0.75, 1.0]
    )


def test_the_right_temperature_is_found() -> None:
    # Scores whose log odds are 1.5 times too large and 0.7 too low, of outcomes drawn by the true ones.
    rng = np.random.default_rng(0)
    odds = rng.normal(0.0, 2.0, 40_000)
    positive = rng.random(odds.size) < 1.0 / (1.0 + np.exp(-odds))
    score = 1.0 / (1.0 + np.exp(-(1.5 * odds - 0.7)))
    fitted = fit_temperature(score, positive)
    assert fitted.temperature == pytest.approx(1.5, rel=0.05)
    assert fitted.shift == pytest.approx(0.7 / 1.5, abs=0.05)
    before = reliability(positive, score, 15).expected_error
    for calibration in (fitted, fit_isotonic(score, positive)):
        assert reliability(positive, calibration(score), 15).expected_error < 0.02 < before


@given(SCORES, st.floats(0.05, 20), st.floats(-5, 5))
def test_temperature_keeps_every_order(values: list[float], temperature: float, shift: float) -> None:
    score = np.sort(np.array(values))
    calibrated = TemperatureCalibration(temperature, shift)(score)
    assert (np.diff(calibrated) >= 0.0).all()
    assert ((calibrated >= 0.0) & (calibrated <= 1.0)).all()
    # Strictly, where the sigmoid of float64 has room.
    room = (calibrated > 1e-9) & (calibrated < 1 - 1e-9)
    apart = np.diff(score) > 1e-6
    assert (np.diff(calibrated)[apart & room[1:] & room[:-1]] > 0.0).all()


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40))
def test_fitted_calibrations_never_fall_and_are_stored_as_they_are(pairs: list[tuple[float, bool]]) -> None:
    score, positive = (np.array(column) for column in zip(*pairs, strict=True))
    for name, fit in FITS.items():
        if positive.all() or not positive.any():
            with pytest.raises(ValueError, match="pairs of both kinds"):
                fit(score, positive)
            continue
        fitted = fit(score, positive)
        grid = np.linspace(0.0, 1.0, 101)
        assert (np.diff(fitted(grid)) >= 0.0).all()
        assert ((fitted(grid) >= 0.0) & (fitted(grid) <= 1.0)).all()
        stored = json.loads(json.dumps(asdict(fitted)))
        assert calibration_from(name, stored)(grid).tolist() == fitted(grid).tolist()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("temperature", {"temperature": 0.0, "shift": 0.0}),
        ("temperature", {"temperature": 1.0}),
        ("isotonic", {"score": [0.5, 0.2], "probability": [0.1, 0.2]}),
        ("isotonic", {"score": [0.1, 0.2], "probability": [0.3, 0.2]}),
        ("isotonic", {"score": [], "probability": []}),
        ("isotonic", {"score": [[0.1]], "probability": [0.2]}),
        ("isotonic", {"score": [0.1], "probability": [1.2]}),
        ("isotonic", {"score": [5.0, 6.0], "probability": [0.0, 1.0]}),
        ("temperature", {"temperature": 1e-320, "shift": 0.0}),
        ("platt", {}),
    ],
)
def test_what_is_no_calibration_is_refused(name: str, stored: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        calibration_from(name, stored)


def test_constructors_hold_what_they_promise() -> None:
    assert IsotonicCalibration((0.2,), (0.5,))(np.array([0.0, 1.0])).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"temperature must be at least 1e-06, got -1\.0"):
        TemperatureCalibration(-1.0, 0.0)
    with pytest.raises(ValueError, match=r"shift must be .*, got nan"):
        TemperatureCalibration(1.0, math.nan)
    with pytest.raises(ValueError, match=r"score must be a list, got 0\.5"):
        IsotonicCalibration(0.5, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"score\[1\] must be at most 1, got 2"):
        IsotonicCalibration(np.array([0.5, 2.0]), (0.5, 0.6))  # type: ignore[arg-type]


@pytest.mark.parametrize("fit", [fit_temperature, fit_isotonic])
def test_what_cannot_be_fitted_on_names_the_argument(fit: Any) -> None:
    half = np.array([0.5, 0.2])
    for score, positive, words in (
        (half, [True], "positive must have a value for each of score's 2, has 1"),
        ([0.5, math.nan], [True, False], "score must be finite numbers, holds nan"),
        ([0.5, 1.2], [True, False], r"score must be from 0 to 1, got 1\.2"),
        (half[:, None], [True, False], r"score must be an array \[P\] of numbers, is an array \[2, 1\] of"),
        (half, ["yes", "no"], r"positive must be an array \[P\] of numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(np.asarray(score), np.asarray(positive))
