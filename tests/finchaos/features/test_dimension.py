"""Fractal dimensions of curves that have one, and a window at a time in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import DataError
from finchaos.core.provenance import random_stream
from finchaos.features.dimension import (
    HiguchiDimension,
    KatzDimension,
    higuchi_loop,
    katz_loop,
)
from tests.finchaos.features.fractional import fractional_noise, moves_of, values_of


def higuchi_by_hand(close: np.ndarray, scales: int) -> float:
    """Higuchi (1988), eq. 2 to 5, of the curve run backwards."""
    x, n = close[::-1], len(close)
    lengths = []
    for k in range(1, scales + 1):
        curves = []
        for m in range(k):
            points = x[m::k]
            steps = (n - 1 - m) // k
            curves.append(np.abs(np.diff(points)).sum() * (n - 1) / (steps * k) / k)
        lengths.append(np.mean(curves))
    k = np.arange(1, scales + 1)
    return float(np.clip(np.polyfit(np.log(1.0 / k), np.log(lengths), 1)[0], 1.0, 2.0))


def katz_by_hand(close: np.ndarray) -> float:
    steps = np.abs(np.diff(close))
    farthest = np.abs(close - close[0]).max()
    found = np.log10(steps.sum() / steps.mean()) / np.log10(farthest / steps.mean())
    return float(np.clip(found, 1.0, 3.0)) if farthest > steps.mean() else 3.0


def rough(count: int) -> np.ndarray:
    returns = 0.01 * random_stream(3, "test.dimension").standard_t(3, count)
    returns[count // 3] = -3.0
    returns[count // 2 : count // 2 + count // 4] *= 1e-6
    return returns


@pytest.mark.parametrize("hurst", [0.3, 0.5, 0.7])
def test_higuchi_of_fractional_motion(hurst: float) -> None:
    noise = fractional_noise(hurst, 8192, 8, random_stream(1, f"test.higuchi/{hurst}"))
    found = values_of(HiguchiDimension(8192), noise)[-1].mean()
    assert found == pytest.approx(2.0 - hurst, abs=0.02)


@pytest.mark.parametrize(("window", "scales"), [(40, 10), (64, 7), (101, 6)])
def test_every_window_of_higuchi(window: int, scales: int) -> None:
    returns = rough(400)
    found = values_of(HiguchiDimension(window, scales), returns)
    assert (found[: window - 1] == 1.5).all()
    for end in range(window, 401):
        one = np.cumsum(returns[end - window : end])
        assert found[end - 1] == pytest.approx(higuchi_by_hand(one, scales), abs=1e-9)


@pytest.mark.parametrize("window", [3, 10, 64])
def test_every_window_of_katz(window: int) -> None:
    returns = rough(400)
    found = values_of(KatzDimension(window), returns)
    assert (found[: window - 1] == 1.5).all()
    for end in range(window, 401):
        one = np.cumsum(np.r_[0.0, returns[end - window + 1 : end]])
        assert found[end - 1] == pytest.approx(katz_by_hand(one), abs=1e-9)


def test_a_line_has_dimension_one() -> None:
    line = np.full(60, 0.1 / 3.0)
    assert values_of(HiguchiDimension(40), line)[39:] == pytest.approx(np.ones(21))
    assert values_of(KatzDimension(40), line)[39:] == pytest.approx(np.ones(21))


def test_noise_about_a_level_fills_the_plane() -> None:
    level = 0.01 * random_stream(2, "test.noise").standard_normal(4001)
    assert values_of(HiguchiDimension(4000), np.diff(level))[-1] == pytest.approx(2.0, abs=0.01)
    # Nowhere farther from its start than a step.
    assert values_of(KatzDimension(40), np.tile([0.01, -0.01], 40))[-1] == 3.0


def test_compiled_and_plain_loops_agree() -> None:
    moves = moves_of(fractional_noise(0.4, 90, 2, random_stream(2, "test.plain")))
    for formula, loop in ((HiguchiDimension(30, 5), higuchi_loop), (KatzDimension(30), katz_loop)):
        plain = formula.open(2)
        plain._loop = loop.py_func
        found = formula.open(2).advance(moves)
        assert plain.advance(moves) == pytest.approx(found, abs=1e-12)


def test_wrong_parameters_are_refused() -> None:
    for window, scales in ((31, 8), (40.5, 8), (np.inf, 8), (40, 1), (40, 2.5)):
        with pytest.raises(DataError, match="whole number"):
            HiguchiDimension(window, scales)
    with pytest.raises(DataError, match="at least 3"):
        KatzDimension(2)
