"""Closes in single precision against closed forms and against the double-precision steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import CALM, SCHEMES, STRESSED, HestonConfig, HestonRegime
from finchaos.markets.simulate.heston_closes import (
    BLOCK_PATHS,
    HestonCloses,
    simulate_closes,
    simulate_terminal,
)
from finchaos.markets.simulate.heston_schemes import step_for
from tests.finchaos.markets.simulate.oracles import (
    PUBLISHED,
    call_errors,
    cir_moments,
    market,
    within,
)
from tests.finchaos.markets.simulate.test_float_normals import quantiles

QUADRATIC = "quadratic_exponential"
NAMES = ("close", "variance", "regime")


def draw(config: HestonConfig, n_paths: int, n_bars: int, seed: int = 3) -> HestonCloses:
    return simulate_closes(config, n_paths, n_bars, random_stream(seed, "test.closes"))


def last(config: HestonConfig, n_paths: int, n_bars: int) -> HestonCloses:
    return simulate_terminal(config, n_paths, n_bars, random_stream(3, "test.closes"))


@pytest.mark.parametrize(
    ("name", "steps"),
    [("Broadie-Kaya I", 32), ("Andersen I", 8), ("Andersen II", 8), ("calm", 64), ("crash", 64)],
)
def test_prices_agree_with_the_analytic_engine(name: str, steps: int) -> None:
    """Two hundred thousand paths; four standard errors."""
    config, bars = market(name, steps, scheme=QUADRATIC)
    end = last(config, 200_000, bars).close[:, 0].astype(np.float64)
    assert all(abs(error) < 4.0 for error in call_errors(name, end).values())
    assert within(end * np.exp(-config.regimes[0].drift * PUBLISHED[name][2]), 100.0)


@pytest.mark.parametrize("name", ["calm", "crash"])
def test_eulers_daily_closes_have_hestons_moments(name: str) -> None:
    config, bars = market(name, 252)
    closes = draw(config, 40_000, bars)
    assert all(abs(error) < 4.0 for error in call_errors(name, closes.close[:, -1]).values())
    for bar in (20, 251):
        mean, variance = cir_moments(config.regimes[0], PUBLISHED[name][1], (bar + 1) / 252)
        v = closes.variance[:, bar].astype(np.float64)
        assert within(v, mean)
        assert within(v, variance, of=np.var)
    assert closes.variance.min() >= 0.0


VIOLATED = HestonRegime(0.5, 0.04, 1.0, -0.9, 0.05, 30.0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("law", [CALM, STRESSED, VIOLATED, replace(VIOLATED, rho=0.95)])
@pytest.mark.parametrize("bars_per_year", [252.0, 4.0, 0.5])
def test_the_compiled_step_is_the_plain_one(
    scheme: str, law: HestonRegime, bars_per_year: float
) -> None:
    """The same bits through the double-precision step; float32 rounds at 1e-7 of what it adds."""
    config = HestonConfig(
        (law,), initial_regime=0, initial_variance=0.05, bars_per_year=bars_per_year, substeps=1,
        scheme=scheme,
    )  # fmt: skip
    paths, bars = 2000, 3
    (own,) = random_stream(3, "test.closes").spawn(1)
    own.geometric(1.0 / law.mean_stay_bars, paths)
    step = step_for(scheme, config.regimes, config.dt)
    regime = np.zeros(paths, dtype=np.int64)
    x, v = np.full(paths, np.log(100.0)), np.full(paths, 0.05)
    found = draw(config, paths, bars)
    for bar in range(bars):
        pairs = own.integers(0, 2**64 - 1, paths, dtype=np.uint64, endpoint=True)
        x, v, _ = step(regime, x, v, quantiles(pairs.view("<u4").reshape(2, paths)))
        np.testing.assert_allclose(found.variance[:, bar], np.maximum(v, 0.0), rtol=2e-3, atol=2e-5)
        np.testing.assert_allclose(np.log(found.close[:, bar]), x, atol=3e-4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_last_bar_is_the_terminal_one_and_length_does_not_matter(scheme: str) -> None:
    config = HestonConfig(
        (replace(CALM, mean_stay_bars=8.0), replace(STRESSED, mean_stay_bars=3.0)), scheme=scheme
    )
    paths = BLOCK_PATHS + 5
    short, long = draw(config, paths, 9), draw(config, paths, 20)
    end = last(config, paths, 9)
    more = draw(config, paths + BLOCK_PATHS, 9)
    for name in NAMES:
        assert (getattr(short, name) == getattr(long, name)[:, :9]).all()
        assert (getattr(short, name)[:, -1:] == getattr(end, name)).all()
        first = slice(0, BLOCK_PATHS)
        assert (getattr(short, name)[first] == getattr(more, name)[first]).all()


@pytest.mark.parametrize("count", [2, 3])
def test_the_chain_is_stationary_and_its_spells_geometric(count: int) -> None:
    stays = (50.0, 10.0, 20.0)
    regimes = tuple(
        replace(law, mean_stay_bars=stay)
        for law, stay in zip((CALM, STRESSED, replace(CALM, theta=0.06)), stays, strict=True)
    )[:count]
    config = HestonConfig(regimes, substeps=1)
    regime = draw(config, 20_000, 60).regime
    for bar in (0, 59):
        shares = np.bincount(regime[:, bar], minlength=count) / len(regime)
        error = np.sqrt(config.stationary * (1 - config.stationary) / len(regime))
        assert (np.abs(shares - config.stationary) < 4.0 * error).all()
    for bar in (0, 40):
        for k in range(count):
            here = regime[:, bar] == k
            for j in range(count):
                share, p = (regime[here, bar + 1] == j).mean(), config.transition[k, j]
                assert abs(share - p) < 4.0 * np.sqrt(p * (1 - p) / here.sum())


def test_labels_name_the_parameters_that_moved_the_bar() -> None:
    quiet = HestonRegime(2000.0, 0.0001, 0.0, 0.0, 0.0, 30.0)
    loud = replace(quiet, theta=1.0)
    closes = draw(HestonConfig((quiet, loud), substeps=16), 50, 400)
    assert closes.variance[closes.regime == 1].min() > 0.3
    assert closes.variance[closes.regime == 0].max() < 0.3


def test_a_variance_with_next_to_no_noise_keeps_the_price_a_martingale() -> None:
    law = HestonRegime(3.0, 0.04, 1e-4, -0.7, 0.0, 100.0)
    for vol_of_vol in (0.0, 1e-4):
        config = HestonConfig(
            (replace(law, vol_of_vol=vol_of_vol),), initial_variance=0.16, substeps=1,
            scheme=QUADRATIC,
        )  # fmt: skip
        end = last(config, 50_000, 100)
        assert within(end.close[:, 0].astype(np.float64), 100.0)
        expected = 0.04 + 0.12 * np.exp(-300.0 / 252)
        assert end.variance[:, 0] == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(("n_paths", "n_bars"), [(0, 5), (5, 0)])
def test_nothing_to_draw_is_refused(n_paths: int, n_bars: int) -> None:
    for simulated in (draw, last):
        with pytest.raises(InputError, match="nothing to simulate"):
            simulated(HestonConfig(), n_paths, n_bars)
