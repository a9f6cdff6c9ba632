"""The simulator against closed forms, with bands of its own standard error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import (
    CALM,
    STRESSED,
    HestonConfig,
    HestonPaths,
    HestonRegime,
    simulate,
)

BAND = 4.0
"""Standard errors within which a simulated moment must lie."""
N_PATHS = 8000
YEAR = 252

FELLER_VIOLATED = HestonRegime(0.5, 0.04, 1.0, -0.9, 0.0, 100.0)
"""Andersen (2008), case I: 2 kappa theta is 0.04 and vol_of_vol squared 1."""


def one_regime(regime: HestonRegime, v0: float, **changes: object) -> HestonConfig:
    steady = replace(regime, drift=0.0)
    settings: dict[str, object] = {"initial_variance": v0, "substeps": 1, **changes}
    return HestonConfig(regimes=(steady,), **settings)  # type: ignore[arg-type]


def draw(config: HestonConfig, n_paths: int, n_bars: int, seed: int = 3) -> HestonPaths:
    return simulate(config, n_paths, n_bars, random_stream(seed, "test.heston"), seed=seed)


def cir_moments(law: HestonRegime, v0: float, years: float) -> tuple[float, float]:
    """Mean and variance of v_t given v_0: Cox, Ingersoll and Ross (1985), eq. 19."""
    left = np.exp(-law.kappa * years)
    rate = law.vol_of_vol**2 / law.kappa
    mean = law.theta + (v0 - law.theta) * left
    return mean, v0 * rate * (left - left**2) + 0.5 * law.theta * rate * (1.0 - left) ** 2


def mean_error(x: np.ndarray) -> float:
    return float(x.std() / np.sqrt(len(x)))


def variance_error(x: np.ndarray) -> float:
    fourth = float(np.mean((x - x.mean()) ** 4))
    return float(np.sqrt((fourth - x.var() ** 2) / len(x)))


@pytest.mark.parametrize(
    ("law", "v0"),
    [(CALM, 0.02), (CALM, 0.09), (STRESSED, 0.16), (STRESSED, 0.02), (FELLER_VIOLATED, 0.04)],
)
def test_variance_has_the_moments_of_cox_ingersoll_ross(law: HestonRegime, v0: float) -> None:
    paths = draw(one_regime(law, v0), N_PATHS, YEAR)
    for bar in (20, 125, YEAR - 1):
        v = paths.variance[:, bar]
        mean, variance = cir_moments(law, v0, (bar + 1) / YEAR)
        assert abs(v.mean() - mean) < BAND * mean_error(v)
        assert abs(v.var() - variance) < BAND * variance_error(v)
    assert paths.variance.min() >= 0.0
    assert law.feller == (law is not FELLER_VIOLATED)


@pytest.mark.parametrize(
    ("law", "v0", "mean", "variance", "call"),
    [
        (CALM, 0.02, -0.0100, 0.02098321, 5.359353),
        (STRESSED, 0.16, -0.0800, 0.18487562, 14.681733),
    ],
)
def test_price_has_hestons_moments_and_option_value(
    law: HestonRegime, v0: float, mean: float, variance: float, call: float
) -> None:
    """Moments by closed form, call by QuantLib's analytic Heston engine; one year, no drift."""
    paths = draw(one_regime(law, v0), N_PATHS, YEAR, seed=5)
    end = paths.close[:, -1]
    log_return = np.log(end / 100.0)
    assert abs(log_return.mean() - mean) < BAND * mean_error(log_return)
    assert abs(log_return.var() - variance) < BAND * variance_error(log_return)
    assert abs(end.mean() - 100.0) < BAND * mean_error(end)
    payoff = np.maximum(end - 100.0, 0.0)
    assert abs(payoff.mean() - call) < BAND * mean_error(payoff)


def test_price_and_variance_move_together_as_rho_says() -> None:
    paths = draw(one_regime(CALM, 0.02), 400, YEAR)
    moves = np.diff(np.log(paths.close), axis=1).ravel()
    changes = np.diff(paths.variance, axis=1).ravel()
    assert np.corrcoef(moves, changes)[0, 1] == pytest.approx(CALM.rho, abs=0.02)


def test_drift_is_the_expected_simple_return() -> None:
    config = HestonConfig(regimes=(replace(CALM, vol_of_vol=0.0, drift=0.5),), substeps=1)
    end = draw(config, N_PATHS, YEAR).close[:, -1]
    assert abs(end.mean() - 100.0 * np.exp(0.5)) < BAND * mean_error(end)


def test_a_stationary_start_stays_stationary() -> None:
    """The gamma law of v_0 is the one the recursion keeps."""
    config = HestonConfig(regimes=(STRESSED,), substeps=1)
    paths = draw(config, N_PATHS, 60)
    long_run = STRESSED.theta * STRESSED.vol_of_vol**2 / (2.0 * STRESSED.kappa)
    for bar in (0, 59):
        v = paths.variance[:, bar]
        assert abs(v.mean() - STRESSED.theta) < BAND * mean_error(v)
        assert abs(v.var() - long_run) < BAND * variance_error(v)


@pytest.mark.parametrize("count", [2, 3])
def test_the_chain_is_stationary_and_stays_as_long_as_it_says(count: int) -> None:
    middle = replace(CALM, theta=0.06, mean_stay_bars=20.0)
    regimes = (replace(CALM, mean_stay_bars=50.0), replace(STRESSED, mean_stay_bars=10.0), middle)
    config = HestonConfig(regimes=regimes[:count], substeps=1)
    assert config.transition.sum(axis=1) == pytest.approx(1.0)
    assert config.stationary @ config.transition == pytest.approx(config.stationary)
    regime = draw(config, 4000, 200).regime
    for bar in (0, 1, 199):
        shares = np.bincount(regime[:, bar], minlength=count) / len(regime)
        error = np.sqrt(config.stationary * (1 - config.stationary) / len(regime))
        assert (np.abs(shares - config.stationary) < BAND * error).all()
    before, after = regime[:, :-1].ravel(), regime[:, 1:].ravel()
    for k in range(count):
        left = (after[before == k] != k).mean()
        expected = 1.0 / regimes[k].mean_stay_bars
        error = np.sqrt(expected * (1 - expected) / (before == k).sum())
        assert abs(left - expected) < BAND * error


def test_labels_name_the_parameters_that_moved_the_bar() -> None:
    quiet = HestonRegime(3.0, 0.0001, 0.0, 0.0, 0.0, 30.0)
    loud = HestonRegime(2000.0, 1.0, 0.0, 0.0, 0.0, 30.0)
    regimes = (replace(quiet, kappa=2000.0), loud)
    paths = draw(HestonConfig(regimes=regimes, substeps=16), 50, 400)
    assert paths.variance[paths.regime == 1].min() > 0.3
    assert paths.variance[paths.regime == 0].max() < 0.3


def test_ranges_hold_the_path_and_measure_its_variance() -> None:
    steady = HestonRegime(3.0, 0.04, 0.0, 0.0, 0.0, 100.0)
    paths = draw(HestonConfig(regimes=(steady,), substeps=8), 500, 200)
    assert (paths.low <= np.minimum(paths.open, paths.close)).all()
    assert (paths.high >= np.maximum(paths.open, paths.close)).all()
    assert (paths.open[:, 1:] == paths.close[:, :-1]).all()
    assert (paths.volume > 0).all()
    parkinson = np.log(paths.high / paths.low) ** 2 / (4.0 * np.log(2.0)) * YEAR
    # Bridges drawn independently for high and low widen the range by under one per cent.
    assert parkinson.mean() == pytest.approx(0.04, rel=0.01)


def test_same_stream_same_paths_and_length_does_not_matter() -> None:
    config = HestonConfig()
    first, again = draw(config, 3, 40), draw(config, 3, 40)
    longer, other = draw(config, 3, 60), draw(config, 3, 40, seed=4)
    for name in ("open", "high", "low", "close", "volume", "variance", "regime"):
        assert (getattr(first, name) == getattr(again, name)).all()
        assert (getattr(first, name) == getattr(longer, name)[:, :40]).all()
    assert not (first.close == other.close).any(axis=1).all()


def test_paths_become_bars_that_say_they_are_simulated() -> None:
    paths = draw(HestonConfig(), 2, 30)
    bars = paths.bars(1)
    assert bars.provenance.kind == "simulated"
    assert bars.provenance.seed == 3
    assert bars.has_range
    assert (bars.close == paths.close[1]).all()
    assert bars.digest != paths.bars(0).digest
    minutes = draw(HestonConfig(bars_per_year=252.0 * 390), 1, 400).bars(0)
    assert minutes.bars_per_year == 98_280
    assert str(minutes.index[389].tz_convert("America/New_York").time()) == "16:00:00"


@pytest.mark.parametrize(
    "change",
    [
        {"kappa": 0.0}, {"theta": -0.1}, {"vol_of_vol": -1.0}, {"rho": 1.5}, {"drift": np.nan},
        {"mean_stay_bars": 0.5}, {"kappa": np.inf},
    ],
)  # fmt: skip
def test_impossible_parameters_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Heston parameters"):
        replace(CALM, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"regimes": ()}, {"initial_price": 0.0}, {"bars_per_year": np.nan}, {"substeps": 0},
        {"initial_variance": -0.1}, {"initial_variance": np.nan}, {"initial_regime": 2},
        {"typical_volume": 0.0},
    ],
)  # fmt: skip
def test_impossible_markets_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Heston market"):
        replace(HestonConfig(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_paths", "n_bars"), [(0, 5), (5, 0)])
def test_nothing_to_draw_is_refused(n_paths: int, n_bars: int) -> None:
    with pytest.raises(InputError, match="nothing to simulate"):
        draw(HestonConfig(), n_paths, n_bars)
