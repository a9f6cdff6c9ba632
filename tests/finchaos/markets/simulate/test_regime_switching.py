"""Markov-switching returns against their moments, per regime and over the chain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.labelled import SimulatedPaths
from finchaos.markets.simulate.regime_switching import (
    ReturnRegime,
    SwitchingConfig,
    hardy,
    simulate,
)
from tests.finchaos.markets.simulate.oracles import within

GAUSS = ReturnRegime(0.08, 0.2)
JUMPY = ReturnRegime(0.1, 0.15, jump_intensity=20.0, jump_mean=-0.03, jump_sd=0.04)
FIELDS = ("open", "high", "low", "close", "volume", "variance", "regime")


def one(regime: ReturnRegime, **changes: object) -> SwitchingConfig:
    return SwitchingConfig((regime,), ((1.0,),), **changes)  # type: ignore[arg-type]


def draw(config: SwitchingConfig, n_paths: int, n_bars: int, seed: int = 3) -> SimulatedPaths:
    return simulate(config, n_paths, n_bars, random_stream(seed, "test.switching"), seed=seed)


def returns(paths: SimulatedPaths) -> np.ndarray:
    return np.log(paths.close / paths.open)


def test_hardys_months_are_the_published_ones() -> None:
    config = hardy()
    monthly = np.linalg.matrix_power(config.matrix, 21)
    assert monthly[0, 1] == pytest.approx(0.0371, abs=1e-12)
    assert monthly[1, 0] == pytest.approx(0.2101, abs=1e-12)
    assert config.stationary == pytest.approx([0.2101 / 0.2472, 0.0371 / 0.2472])
    assert [r.mean / 12 for r in config.regimes] == pytest.approx([0.0123, -0.0157])
    assert [(r.variance / 12) ** 0.5 for r in config.regimes] == pytest.approx([0.0347, 0.0778])
    assert hardy(1).matrix == pytest.approx(np.array([[0.9629, 0.0371], [0.2101, 0.7899]]))
    with pytest.raises(InputError, match="a month needs a day"):
        hardy(0)


def test_every_regime_has_its_moments_and_law() -> None:
    config = hardy()
    paths = draw(config, 300, 1500)
    moved = returns(paths)
    for k, regime in enumerate(config.regimes):
        mine = moved[paths.regime == k]
        assert within(mine, regime.mean / 252)
        assert within(mine, regime.variance / 252, of=np.var)
        law = stats.norm(regime.mean / 252, (regime.variance / 252) ** 0.5)
        assert stats.kstest(mine[:20_000], law.cdf).pvalue > 1e-3
        assert (paths.variance[paths.regime == k] == regime.variance).all()


def test_the_chain_is_stationary_and_its_spells_are_geometric() -> None:
    config = SwitchingConfig((GAUSS, JUMPY, GAUSS), ((0.9, 0.1, 0), (0.1, 0.8, 0.1), (0.3, 0, 0.7)))
    regime = draw(replace(config, substeps=1), 5000, 200).regime
    for bar in (0, 199):
        counts = np.bincount(regime[:, bar], minlength=3)
        assert stats.chisquare(counts, config.stationary * 5000).pvalue > 1e-3
    # Spells that begin in the first half, long enough before the end to be seen whole.
    for k, leave in enumerate((0.1, 0.2, 0.3)):
        path, bar = np.nonzero((regime[:, 1:100] == k) & (regime[:, :99] != k))
        ahead = regime[path[:, None], bar[:, None] + 1 + np.arange(60)] == k
        length = np.where(ahead.all(axis=1), 60, np.argmin(ahead, axis=1))
        bins = np.arange(1, 9)
        found = [*(np.sum(length == b) for b in bins), np.sum(length > 8)]
        law = stats.geom(leave)
        expected = np.array([*law.pmf(bins), law.sf(8)]) * len(length)
        assert stats.chisquare(found, expected).pvalue > 1e-3


@pytest.mark.parametrize("freedom", [5.0, 9.0])
def test_students_t_keeps_the_variance_and_has_its_own_tails(freedom: float) -> None:
    config = one(replace(GAUSS, degrees_of_freedom=freedom), substeps=3)
    moved = returns(draw(config, 1000, 400)).ravel()
    assert moved.var() == pytest.approx(0.04 / 252, rel=0.02)
    scale = 0.2 / 252**0.5 * ((freedom - 2) / freedom) ** 0.5
    law = stats.t(freedom, loc=0.08 / 252, scale=scale)
    assert stats.kstest(moved[:50_000], law.cdf).pvalue > 1e-3
    if freedom > 8:  # below, the sample kurtosis has no variance
        assert stats.kurtosis(moved) == pytest.approx(6.0 / (freedom - 4), rel=0.15)


def test_jumps_have_mertons_moments() -> None:
    """Cumulants of a compound Poisson sum: intensity times the raw moments of a jump."""
    dt, m, s = 1 / 252, JUMPY.jump_mean, JUMPY.jump_sd
    moved = returns(draw(one(JUMPY, substeps=1), 2000, 500)).ravel()
    raw = (m, m**2 + s**2, m**3 + 3 * m * s**2, m**4 + 6 * m**2 * s**2 + 3 * s**4)
    jumps = [JUMPY.jump_intensity * dt * moment for moment in raw]
    assert within(moved, JUMPY.mean * dt)
    assert within(moved, JUMPY.volatility**2 * dt + jumps[1], of=np.var)
    sd = moved.std()
    assert stats.skew(moved) == pytest.approx(jumps[2] / sd**3, rel=0.05)
    assert stats.kurtosis(moved) == pytest.approx(jumps[3] / sd**4, rel=0.05)


@pytest.mark.parametrize("compensated", [True, False])
def test_compensation_takes_back_the_growth_that_jumps_add(compensated: bool) -> None:
    regime = replace(JUMPY, compensated=compensated, log_drift=-0.5 * 0.15**2)
    end = draw(one(regime, substeps=1), 20_000, 252).close[:, -1]
    growth = 20.0 * np.expm1(-0.03 + 0.5 * 0.04**2)
    assert within(end, 100.0 if compensated else 100.0 * np.exp(growth))


def test_ranges_hold_the_path_and_measure_its_variance() -> None:
    paths = draw(one(replace(GAUSS, log_drift=0.0)), 500, 200)
    assert (paths.low <= np.minimum(paths.open, paths.close)).all()
    assert (paths.high >= np.maximum(paths.open, paths.close)).all()
    assert (paths.open[:, 1:] == paths.close[:, :-1]).all()
    parkinson = np.log(paths.high / paths.low) ** 2 / (4.0 * np.log(2.0)) * 252
    assert parkinson.mean() == pytest.approx(0.04, rel=0.01)
    jumpy = draw(one(JUMPY), 100, 300)
    assert (jumpy.low <= np.minimum(jumpy.open, jumpy.close)).all()
    assert (jumpy.high >= np.maximum(jumpy.open, jumpy.close)).all()


def test_same_stream_same_paths_and_length_does_not_matter() -> None:
    heavy = replace(JUMPY, degrees_of_freedom=4.0)
    config = SwitchingConfig((GAUSS, heavy), ((0.9, 0.1), (0.2, 0.8)))
    first, again, longer = draw(config, 3, 40), draw(config, 3, 40), draw(config, 3, 90)
    for name in FIELDS:
        assert (getattr(first, name) == getattr(again, name)).all()
        assert (getattr(first, name) == getattr(longer, name)[:, :40]).all()
    assert not (first.close == draw(config, 3, 40, seed=4).close).any()


def test_paths_become_labelled_bars() -> None:
    paths = draw(hardy(), 2, 700)
    found = paths.labelled(1)
    assert found.bars.provenance.kind == "simulated"
    assert found.bars.provenance.seed == 3
    assert "path 1" in found.bars.provenance.notes
    assert (found.bars.close == paths.close[1]).all()
    assert (found.regime == paths.regime[1]).all()
    assert (found.switch_points == np.flatnonzero(np.diff(paths.regime[1])) + 1).all()
    assert found.bars.digest != paths.labelled(0).bars.digest


def test_an_absorbing_regime_needs_a_start() -> None:
    rows = ((0.99, 0.01), (0.0, 1.0))
    with pytest.raises(InputError, match="initial regime"):
        SwitchingConfig((GAUSS, JUMPY), rows)
    regime = draw(SwitchingConfig((GAUSS, JUMPY), rows, initial_regime=0), 50, 300).regime
    assert (regime[:, 0] == 0).all()
    assert (np.diff(regime, axis=1) >= 0).all()


def test_a_market_without_noise_grows_evenly() -> None:
    paths = draw(one(ReturnRegime(0.1, 0.0)), 1, 252)
    assert paths.close[0, -1] == pytest.approx(100.0 * np.exp(0.1))
    assert (paths.volume > 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"volatility": -0.1}, {"log_drift": np.nan}, {"degrees_of_freedom": 2.0},
        {"degrees_of_freedom": np.inf}, {"jump_intensity": -1.0}, {"jump_sd": -0.1},
        {"jump_mean": np.inf},
    ],
)  # fmt: skip
def test_impossible_regimes_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match="impossible regime of returns"):
        replace(GAUSS, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"regimes": ()}, {"initial_price": 0.0}, {"bars_per_year": np.nan}, {"substeps": 0},
        {"initial_regime": 2}, {"typical_volume": -1.0},
    ],
)  # fmt: skip
def test_impossible_markets_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="impossible switching market"):
        replace(hardy(), **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nothing to simulate"):
        draw(hardy(), 0, 5)
