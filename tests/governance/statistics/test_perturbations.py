"""Disturbed bars are what they say; screening finds the effects that are built in."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from governance.statistics.perturbations import noisy, repeated, without
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(2, 50)


def test_noise_moves_a_bar_as_a_whole_and_in_proportion() -> None:
    noise = np.random.default_rng(1).standard_normal(50)
    found = noisy(BARS, noise, 7.0)
    assert np.allclose(np.log(found.close / BARS.close), 7e-4 * noise, atol=1e-14)
    assert np.allclose(found.high / found.low, BARS.high / BARS.low, rtol=1e-14)
    assert np.array_equal(noisy(BARS, noise, 0.0).close, BARS.close)
    with pytest.raises(InputError):
        noisy(BARS, noise[1:], 7.0)


def test_a_bar_is_left_out_or_comes_twice() -> None:
    less, more = without(BARS, 20), repeated(BARS, 20)
    assert np.array_equal(less.close, np.delete(BARS.close, 20))
    assert BARS.index[20] not in less.index
    assert np.array_equal(more.close, np.insert(BARS.close, 21, BARS.close[20]))
    assert BARS.index[20] < more.index[21] < BARS.index[21]
    with pytest.raises(InputError):
        repeated(BARS, 49)


def test_screening_of_a_linear_function_gives_its_slopes() -> None:
    pytest.importorskip("SALib")
    from governance.statistics.screening import morris_screening

    def linear(levels: tuple[int, ...]) -> float:
        return 2.0 * levels[0] / 3.0 - 0.5 * levels[1] / 3.0

    found = morris_screening(("a", "b", "c"), linear, trajectories=6, seed=1)
    assert np.allclose(found.effect, [2.0, 0.5, 0.0], atol=1e-12)
    assert np.allclose(found.spread, 0.0, atol=1e-12)

    def product(levels: tuple[int, ...]) -> float:
        return float(levels[0] * levels[1])

    both = morris_screening(("a", "b"), product, trajectories=20, seed=1)
    assert (both.spread > 0.5).all()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    again = morris_screening(("a", "b"), product, trajectories=20, seed=1)
    assert np.array_equal(both.effect, again.effect)
    assert np.array_equal(both.error, again.error)
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002
    with pytest.raises(InputError):
        morris_screening(("a",), linear, trajectories=6, seed=1)
    with pytest.raises(InputError):
        morris_screening(("a", "b"), lambda levels: float("nan"), trajectories=6, seed=1)
