"""The tipping market against its attractors, its fold and Kramers' rate of escape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.double_well import (
    FOLD,
    DoubleWellConfig,
    DoubleWellPaths,
    attractor_of,
    attractors,
    simulate,
)
from tests.finchaos.markets.simulate.oracles import mean_error

RAMP = DoubleWellConfig(noise=0.05)


def draw(config: DoubleWellConfig, n_paths: int, n_bars: int, seed: int = 3) -> DoubleWellPaths:
    return simulate(config, n_paths, n_bars, random_stream(seed, "test.well"), seed=seed)


@given(st.floats(-2.0, 2.0))
def test_attractors_are_the_roots_that_numpy_finds(mu: float) -> None:
    if abs(abs(mu) - FOLD) < 1e-6:
        return
    roots = np.roots([1.0, 0.0, -1.0, -mu])
    real = np.sort(roots.real[np.abs(roots.imag) < 1e-9])
    found = np.array(attractors(mu))
    assert found[np.isfinite(found)] == pytest.approx(real, abs=1e-7)
    assert len(real) == (3 if abs(mu) < FOLD else 1)


def test_the_fold_is_where_two_roots_meet() -> None:
    lower, saddle, upper = attractors(FOLD)
    assert float(lower) == pytest.approx(-1 / np.sqrt(3), abs=1e-7)
    assert float(saddle) == pytest.approx(-1 / np.sqrt(3), abs=1e-7)
    assert float(upper) == pytest.approx(2 / np.sqrt(3))


def test_labels_are_basins() -> None:
    assert attractor_of(np.array([-0.1, 0.1, -3.0]), np.zeros(3)).tolist() == [0, 1, 0]
    assert attractor_of(np.array([-0.9, 0.9]), np.array([0.5, -0.5])).tolist() == [1, 0]


def test_without_noise_the_market_tips_at_the_fold() -> None:
    """The basin is lost in the bar that the ramp passes 2 / (3 sqrt 3); x follows its attractor."""
    config = replace(RAMP, noise=0.0)
    paths = draw(config, 1, 4000)
    share = (FOLD - config.mu_start) / (config.mu_end - config.mu_start)
    assert paths.fold_bar == int(share * 4000)
    assert paths.tipping_bar.tolist() == [paths.fold_bar]
    early = slice(100, int(0.5 * paths.fold_bar))
    assert paths.x[0, early] == pytest.approx(attractors(paths.mu[early])[0], abs=2e-3)
    assert paths.x[0, -1] == pytest.approx(float(attractors(paths.mu[-1])[2]), abs=2e-3)
    fall = np.argmax(paths.x[0] > 0)
    assert paths.fold_bar < fall < paths.fold_bar + 200


def test_the_way_back_tips_at_the_other_fold() -> None:
    config = DoubleWellConfig(mu_start=0.25, mu_end=-0.55, noise=0.02, start_at="upper")
    paths = draw(config, 20, 2000)
    assert paths.fold_bar == int(2000 * (0.25 + FOLD) / 0.8)
    assert (np.abs(paths.tipping_bar - paths.fold_bar) < 80).all()
    assert (paths.regime[:, 0] == 1).all()
    assert (paths.regime[:, -1] == 0).all()


def test_noise_tips_paths_before_the_fold_and_labels_say_when() -> None:
    paths = draw(replace(RAMP, noise=0.12), 100, 1500)
    assert np.median(paths.tipping_bar) < paths.fold_bar
    assert paths.tipping_bar.max() <= paths.fold_bar
    for path in range(100):
        tip = paths.tipping_bar[path]
        assert paths.regime[path, tip - 1] == 0
        assert (paths.regime[path, tip:] == 1).all()
    fixed = draw(replace(RAMP, mu_start=-0.3, mu_end=-0.3), 5, 300)
    assert fixed.fold_bar is None
    assert (fixed.tipping_bar == -1).all()


def residual(x: np.ndarray) -> np.ndarray:
    t = np.arange(len(x))
    return x - np.polyval(np.polyfit(t, x, 1), t)


def test_variance_and_memory_of_x_rise_before_the_tip() -> None:
    """Critical slowing down: early-warning windows end twenty bars before each path's own tip."""
    paths = draw(RAMP, 60, 1500)
    width, rises = 200, []
    for path, tip in enumerate(paths.tipping_bar):
        measured = []
        for stop in (20 + width, tip - 20):
            y = residual(paths.x[path, stop - width : stop])
            measured.append((y.var(), (y[1:] * y[:-1]).sum() / (y * y).sum()))
        rises.append((measured[1][0] / measured[0][0], measured[1][1] - measured[0][1]))
    variance, memory = np.median(rises, axis=0)
    assert variance > 2.0
    assert memory > 0.15


def test_small_fluctuations_are_those_of_the_linearised_system() -> None:
    """Ornstein-Uhlenbeck about -1 with rate 2: variance noise^2 / 4, memory exp(-2 t)."""
    config = replace(RAMP, mu_start=0.0, mu_end=0.0, noise=0.03, substeps=32)
    x = draw(config, 400, 400).x[:, 50:]
    assert x.var() == pytest.approx(0.03**2 / 4.0, rel=0.03)
    y = x + 1.0 - (x + 1.0).mean()
    memory = (y[:, 1:] * y[:, :-1]).mean() / (y * y).mean()
    assert memory == pytest.approx(np.exp(-2.0 * config.time_per_bar), abs=0.01)


def potential(x: np.ndarray | float, mu: float) -> np.ndarray | float:
    return x**4 / 4 - x**2 / 2 - mu * x


def mean_passage(mu: float, noise: float, start: float, stop: float) -> float:
    """Mean first passage time by quadrature, reflecting far to the left."""
    grid = np.linspace(start - 1.2, stop, 40_001)
    weight = 2.0 / noise**2
    below = integrate.cumulative_trapezoid(np.exp(-weight * potential(grid, mu)), grid, initial=0.0)
    inner = np.where(grid >= start, np.exp(weight * potential(grid, mu)) * below, 0.0)
    return float(weight * integrate.trapezoid(inner, grid))


def kramers(mu: float, noise: float) -> float:
    """Rate of escape from the lower attractor, Kramers (1940): overdamped, parabolic barrier."""
    lower, saddle, _ = (float(root) for root in attractors(mu))
    curvature = np.sqrt((3 * lower**2 - 1) * (1 - 3 * saddle**2))
    barrier = potential(saddle, mu) - potential(lower, mu)
    return float(curvature / (2 * np.pi) * np.exp(-2.0 * barrier / noise**2))


def test_paths_escape_at_kramers_rate() -> None:
    mu, noise, start, stop = 0.1, 0.3, float(attractors(0.1)[0]), 0.8
    exact = mean_passage(mu, noise, start, stop)
    assert 1.0 / kramers(mu, noise) == pytest.approx(exact, rel=0.15)
    config = replace(RAMP, mu_start=mu, mu_end=mu, noise=noise, time_per_bar=0.25, substeps=16)
    paths = draw(config, 1500, round(8 * exact / 0.25))
    beyond = paths.x > stop
    assert beyond.any(axis=1).mean() > 0.99
    bars = np.where(beyond.any(axis=1), np.argmax(beyond, axis=1), paths.x.shape[1]) + 0.5
    # Passages are exponential; a close sees one half a bar late on average, and more for returns.
    assert abs(0.25 * bars.mean() - exact) < 4.0 * mean_error(0.25 * bars) + 0.5


def test_volatility_follows_x() -> None:
    paths = draw(RAMP, 40, 1500)
    expected = np.log(0.12) + (paths.x + 1.0) / 2.0 * np.log(0.45 / 0.12)
    assert 0.5 * np.log(paths.variance) == pytest.approx(expected, abs=1e-12)
    moved = np.log(paths.close / paths.open)
    calm, wild = moved[:, :600], moved[:, -150:]
    for part, variance in ((calm, paths.variance[:, :600]), (wild, paths.variance[:, -150:])):
        assert part.var() * 252 == pytest.approx(variance.mean(), rel=0.06)
    assert (paths.low <= np.minimum(paths.open, paths.close)).all()
    assert (paths.high >= np.maximum(paths.open, paths.close)).all()
    assert (paths.open[:, 1:] == paths.close[:, :-1]).all()


def test_paths_become_labelled_bars() -> None:
    paths, again = draw(RAMP, 2, 400), draw(RAMP, 2, 400)
    found = paths.labelled(1)
    assert found.bars.digest == again.labelled(1).bars.digest
    assert paths.tipping_bar[1] == found.switch_points[-1]
    assert f"fold in bar {paths.fold_bar}" in found.bars.provenance.notes


@pytest.mark.parametrize(
    "change",
    [
        {"noise": -0.1}, {"mu_start": np.nan}, {"mu_end": 3.0}, {"time_per_bar": 0.0},
        {"time_per_bar": 9.0}, {"substeps": 0}, {"start_at": "middle"}, {"calm_volatility": 0.0},
        {"drift": np.inf}, {"bars_per_year": -252.0},
    ],
)  # fmt: skip
def test_impossible_markets_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="impossible double-well market"):
        replace(RAMP, **change)  # type: ignore[arg-type]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to simulate"):
        draw(RAMP, 0, 5)
    with pytest.raises(InputError, match="attractor to start at does not exist"):
        draw(replace(RAMP, mu_start=0.5), 1, 5)
