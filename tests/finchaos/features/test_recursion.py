"""Compiled loops against their plain form, bit by bit, and against other ways of computing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.provenance import random_stream
from finchaos.features import indicators, parabolic, price, recursion
from finchaos.features.recursion import Ema, Ewma, Lag, WindowSum, fold
from tests.finchaos.features.examples import simulated

ROWS, PATHS = 150, 2
Loop = tuple[Any, Callable[[], list[Any]], tuple[int, ...]]


def prices(name: str) -> np.ndarray:
    return np.ascontiguousarray(simulated(PATHS, ROWS)[name].T)


def loops() -> dict[str, Loop]:
    """A compiled loop, its arguments, and the places of those it changes."""
    shape, state = (ROWS, PATHS), lambda k: np.zeros((k, PATHS))
    bar = [prices("high"), prices("low"), prices("close")]
    moves = np.diff(np.log(bar[2]), axis=0, prepend=np.log(bar[2][:1]))
    windows = np.array([12, 26, 9])
    return {
        "ewma": (
            recursion.ewma_loop,
            lambda: [moves, 0.9, 1.0, np.full(PATHS, 0.5), np.empty(shape)],
            (3, 4),
        ),
        "ema": (recursion.ema_loop, lambda: [moves, 0.1, state(1)[0], np.empty(shape)], (2, 3)),
        "window sum": (
            recursion.window_sum_loop,
            lambda: [moves, 3, state(8), state(1)[0], np.empty(shape)],
            (2, 3, 4),
        ),
        "drawdown": (
            price.drawdown_loop,
            lambda: [moves, 0.97, state(1)[0], np.empty(shape)],
            (2, 3),
        ),
        "rsi": (indicators.rsi_loop, lambda: [bar[2], 14, 0, state(3), np.empty(shape)], (3, 4)),
        "atr": (indicators.atr_loop, lambda: [*bar, 14, 0, state(2), np.empty(shape)], (5, 6)),
        "directional": (
            indicators.directional_loop,
            lambda: [*bar, 14, 0, state(7), np.empty((3, *shape))],
            (5, 6),
        ),
        "macd": (
            indicators.macd_loop,
            lambda: [bar[2], windows, 0, state(3), np.empty((2, *shape))],
            (3, 4),
        ),
        "bands": (
            indicators.bands_loop,
            lambda: [bar[2], 0, state(20), np.empty((2, *shape))],
            (2, 3),
        ),
        "stochastic": (
            indicators.stochastic_loop,
            lambda: [*bar, 0, np.zeros((2, 14, PATHS)), state(3), np.empty(shape)],
            (4, 5, 6),
        ),
        "parabolic": (
            parabolic.parabolic_loop,
            lambda: [*bar, (0.02, 0.2), 0, state(6), np.empty(shape)],
            (5, 6),
        ),
    }


@pytest.mark.parametrize("name", loops())
def test_compiled_loops_give_the_bits_of_plain_ones(name: str) -> None:
    loop, arguments, changed = loops()[name]
    compiled, plain = arguments(), arguments()
    given_back = loop(*compiled), loop.py_func(*plain)
    assert given_back[0] == given_back[1]
    for place in changed:
        assert (compiled[place] == plain[place]).all()


@pytest.mark.parametrize("paths", [1, 3])
def test_exponential_means_are_the_fold_of_their_step(paths: int) -> None:
    values = random_stream(5, "test.recursion").standard_normal((200, paths))
    weight = 1.0

    def normalised(mean: Any, value: Any) -> Any:
        nonlocal weight
        weight = 1.0 + 0.5 ** (1.0 / 7.0) * weight
        return mean + (value - mean) / weight

    def fixed(mean: Any, value: Any) -> Any:
        return mean + 0.06 * (value - mean)

    start = np.full(paths, 0.25)
    assert (Ewma(7.0, 0.25, paths).advance(values) == fold(values, start, normalised)[0]).all()
    assert (Ema(0.06, 0.25, paths).advance(values) == fold(values, start, fixed)[0]).all()


@pytest.mark.parametrize("window", [1, 2, 20, 251])
def test_window_sums_agree_with_pandas_and_leave_no_trace(window: int) -> None:
    values = random_stream(6, "test.recursion").standard_normal((5000, 1)) ** 2
    values[700] = 1e9
    sums = WindowSum(window, 1)
    found = np.concatenate([sums.advance(values[:333]), sums.advance(values[333:])])[:, 0]
    plain = np.array([values[max(0, r - window + 1) : r + 1].sum() for r in range(5000)])
    assert found == pytest.approx(plain, rel=1e-13)
    assert sums.full(3) == float(window)


def test_a_window_says_how_full_it_is() -> None:
    sums = WindowSum(4, 2)
    sums.advance(np.ones((3, 2)))
    sums.advance(np.ones((3, 2)))
    assert np.ravel(sums.full(6)).tolist() == [1.0, 2.0, 3.0, 4.0, 4.0, 4.0]
    assert np.ravel(sums.full(4)).tolist() == [3.0, 4.0, 4.0, 4.0]
    assert sums.full(3) == 4.0


@given(st.integers(1, 12), st.integers(0, 20))
def test_lags(bars: int, cut: int) -> None:
    values = np.arange(20.0)[:, None]
    lag = Lag(bars)
    pieces = [values[:cut], values[cut:]]
    found = np.concatenate([lag.advance(piece) for piece in pieces if len(piece)])
    expected = pd.Series(values[:, 0]).shift(bars).fillna(values[0, 0])
    assert found[:, 0].tolist() == expected.tolist()
