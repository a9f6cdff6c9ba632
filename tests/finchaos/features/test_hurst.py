"""Hurst exponents on noise of known exponent, and against a window at a time in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.hurst import (
    GeneralisedHurst,
    HurstDetrended,
    box_residuals,
    detrended_loop,
    generalised_hurst_loop,
)
from finchaos.features.window import geometric_sizes
from tests.finchaos.features.fractional import fractional_noise, moves_of, values_of

EXPONENTS = (0.3, 0.5, 0.7)


def rough(count: int, name: str) -> np.ndarray:
    """Returns with heavy tails, a crash, and quiet spells a million times smaller."""
    rng = random_stream(3, f"test.hurst/{name}")
    returns = 0.01 * rng.standard_t(3, count)
    returns[count // 3] = -3.0
    returns[count // 2 : count // 2 + count // 4] *= 1e-6
    return returns


def generalised_by_hand(close: np.ndarray, lags: int) -> float:
    lag = np.arange(1, lags + 1)
    square = [np.mean((close[k:] - close[:-k]) ** 2) for k in lag]
    return float(np.clip(0.5 * np.polyfit(np.log(lag), np.log(square), 1)[0], 0.0, 1.0))


def detrended_by_hand(close: np.ndarray, sizes: np.ndarray) -> float:
    fluctuation = []
    for n in sizes:
        boxes = close[::-1][: len(close) // n * n].reshape(-1, n)
        line = np.arange(n)
        fits = [np.polyval(np.polyfit(line, box, 1), line) for box in boxes]
        fluctuation.append(np.sqrt(np.mean((boxes - np.array(fits)) ** 2)))
    return float(np.clip(np.polyfit(np.log(sizes), np.log(fluctuation), 1)[0], 0.0, 1.0))


@pytest.mark.parametrize("hurst", EXPONENTS)
def test_the_exponent_of_fractional_noise(hurst: float) -> None:
    """Mean of 400 paths of 256 bars: within 0.02, with standard deviations as documented."""
    noise = fractional_noise(hurst, 256, 400, random_stream(1, f"test.fgn/{hurst}"))
    found = values_of(GeneralisedHurst(256), noise)[-1]
    assert found.mean() == pytest.approx(hurst, abs=0.02)
    assert 0.03 < found.std() < 0.08
    found = values_of(HurstDetrended(256), noise)[-1]
    assert found.mean() == pytest.approx(hurst, abs=0.03)
    assert 0.03 < found.std() < 0.12


@pytest.mark.parametrize("window", [64, 97])
def test_every_window_of_the_generalised_exponent(window: int) -> None:
    returns = rough(400, "generalised")
    close = np.cumsum(returns)
    found = values_of(GeneralisedHurst(window, 11), returns)
    assert (found[: window - 1] == 0.5).all()
    for end in range(window, 401):
        one = np.cumsum(returns[end - window : end])
        assert found[end - 1] == pytest.approx(generalised_by_hand(one, 11), abs=1e-9)
    assert close.shape == found.shape


@pytest.mark.parametrize(("window", "box_min", "share"), [(64, 4, 0.25), (131, 5, 0.2)])
def test_every_window_of_the_detrended_exponent(window: int, box_min: int, share: float) -> None:
    returns = rough(400, "detrended")
    sizes = geometric_sizes(box_min, share * window, 1.3)
    found = values_of(HurstDetrended(window, box_min, share, 1.3), returns)
    assert (found[: window - 1] == 0.5).all()
    for end in range(window, 401):
        one = np.cumsum(returns[end - window : end])
        assert found[end - 1] == pytest.approx(detrended_by_hand(one, sizes), abs=1e-7)


def test_squared_residuals_are_those_of_least_squares() -> None:
    returns = rough(30, "boxes")
    profile, sizes, residual = np.zeros(9), np.array([4, 7, 9]), np.zeros(3)
    for move in returns:
        box_residuals(profile, move, sizes, residual)
    close = np.cumsum(returns)
    for n, left in zip(sizes, residual, strict=True):
        squares = np.polyfit(np.arange(n), close[-n:], 1, full=True)[1]
        assert left == pytest.approx(squares[0], rel=1e-9)


def test_compiled_and_plain_loops_agree() -> None:
    moves = moves_of(fractional_noise(0.4, 150, 2, random_stream(2, "test.plain")))
    for formula, loop in (
        (GeneralisedHurst(40, 6), generalised_hurst_loop),
        (HurstDetrended(40, 4, 0.25), detrended_loop),
    ):
        plain = formula.open(2)
        plain._loop = loop.py_func
        found = formula.open(2).advance(moves)
        assert plain.advance(moves) == pytest.approx(found, abs=1e-12)


def test_a_straight_line_persists_and_a_swing_reverts() -> None:
    line = values_of(GeneralisedHurst(40, 8), np.full(100, 0.01))
    assert line[39:] == pytest.approx(np.ones(61))
    swing = 0.01 * np.sin(2.0 * np.pi * np.arange(100) / 2.3)
    assert (values_of(GeneralisedHurst(40, 8), swing)[39:] < 0.2).all()


def test_straight_lines_have_no_fluctuation() -> None:
    """What rounding leaves of a line must not be taken for noise."""
    returns = np.full(300, 0.1 / 3.0)
    assert (values_of(HurstDetrended(100), returns) == 0.5).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"window": 63}, "window must be a whole number; expected at least 64"),
        ({"window": 64.5}, "window"),
        ({"window": np.nan}, "window"),
        ({"window": 64, "lags": 1}, "lags"),
    ],
)
def test_wrong_windows_and_lags_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        GeneralisedHurst(**params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"window": 15}, "window"),
        ({"window": 100, "box_min": 3}, "box_min"),
        ({"window": 100, "box_share": 0.3}, "box_share is out of range"),
        ({"window": 100, "box_share": 0.0}, "box_share"),
        ({"window": 100, "ratio": 1.0}, "ratio"),
        ({"window": 48}, "too few sizes"),
    ],
)
def test_wrong_boxes_are_refused(params: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        HurstDetrended(**params)
