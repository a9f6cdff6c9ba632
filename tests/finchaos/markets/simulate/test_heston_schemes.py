"""The quadratic-exponential scheme against closed forms, beside Euler's where that is biased."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import (
    CALM,
    SCHEMES,
    STRESSED,
    HestonConfig,
    HestonPaths,
    HestonRegime,
    simulate,
)
from tests.finchaos.markets.simulate.oracles import (
    PUBLISHED,
    call_errors,
    cir_moments,
    market,
    quantlib_call,
    within,
)

QUADRATIC = "quadratic_exponential"
N_PATHS = 40_000


def draw(config: HestonConfig, n_paths: int, n_bars: int, seed: int = 3) -> HestonPaths:
    return simulate(config, n_paths, n_bars, random_stream(seed, "test.schemes"), seed=seed)


@pytest.mark.parametrize("name", PUBLISHED)
def test_quantlib_gives_the_published_prices(name: str) -> None:
    for strike, price in PUBLISHED[name][3].items():
        # Broadie and Kaya give four decimals.
        assert quantlib_call(name, strike) == pytest.approx(price, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "steps"),
    [("Broadie-Kaya I", 32), ("Andersen I", 8), ("Andersen II", 8), ("calm", 32), ("crash", 32)],
)
def test_prices_agree_with_the_analytic_engine(name: str, steps: int) -> None:
    config, bars = market(name, steps, scheme=QUADRATIC)
    end = draw(config, N_PATHS, bars).close[:, -1]
    assert all(abs(error) < 4.0 for error in call_errors(name, end).values())


@pytest.mark.parametrize("name", ["Andersen I", "Andersen II"])
def test_where_feller_is_badly_violated_coarse_euler_is_biased_and_the_other_is_not(
    name: str,
) -> None:
    """Four steps a year: Euler's price at the money is off by seven standard errors and more."""
    errors = {}
    for scheme in SCHEMES:
        config, bars = market(name, 4, scheme=scheme)
        assert not config.regimes[0].feller
        end = draw(config, N_PATHS, bars).close[:, -1]
        errors[scheme] = call_errors(name, end)[100.0]
    assert errors["full_truncation"] > 7.0
    assert abs(errors[QUADRATIC]) < 4.0


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("steps", [1, 12])
def test_discounted_prices_are_martingales_at_any_step(name: str, steps: int) -> None:
    config, bars = market(name, steps, scheme=QUADRATIC)
    law = config.regimes[0]
    end = draw(config, N_PATHS, bars).close[:, -1]
    assert within(end * np.exp(-law.drift * bars / steps), 100.0)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("steps", [2, 12])
def test_variances_have_the_moments_of_cox_ingersoll_ross(name: str, steps: int) -> None:
    """Exact at any step, since the conditional mean and variance are."""
    config, bars = market(name, steps, scheme=QUADRATIC)
    v = draw(config, N_PATHS, bars).variance
    assert v.min() >= 0.0
    for bar in {0, bars - 1}:
        mean, variance = cir_moments(config.regimes[0], PUBLISHED[name][1], (bar + 1) / steps)
        assert within(v[:, bar], mean)
        assert within(v[:, bar], variance, of=np.var)


@pytest.mark.parametrize(
    ("law", "mean", "variance", "variance_of_v", "day"),
    [
        (CALM, -0.0100, 0.02098321, 0.00029926, (7.940e-5, 7.06e-6)),
        (STRESSED, -0.0800, 0.18487562, 0.02154646, (6.3571e-4, 5.0821e-4)),
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_log_returns_have_hestons_moments(
    law: HestonRegime,
    mean: float,
    variance: float,
    variance_of_v: float,
    day: tuple[float, float],
    scheme: str,
) -> None:
    """Published closed forms after a year and after a day; no drift."""
    steady = replace(law, drift=0.0)
    config = HestonConfig((steady,), initial_variance=law.theta, substeps=1, scheme=scheme)
    paths = draw(config, 8000, 252)
    year = np.log(paths.close[:, -1] / 100.0)
    assert within(year, mean)
    assert within(year, variance, of=np.var)
    assert within(paths.variance[:, -1], variance_of_v, of=np.var)
    # Euler's step lets none of the variance revert within it; eight a day leave 0.15 % of that.
    first = draw(replace(config, substeps=8), 100_000, 1)
    assert within(np.log(first.close[:, 0] / 100.0), day[0], of=np.var)
    assert within(first.variance[:, 0], day[1], of=np.var)


@pytest.mark.parametrize("rho", [-0.7, 0.0, 0.9])
def test_a_variance_without_noise_is_followed_exactly(rho: float) -> None:
    law = HestonRegime(3.0, 0.04, 0.0, rho, 0.0, 100.0)
    config = HestonConfig((law,), initial_variance=0.16, substeps=1, scheme=QUADRATIC)
    paths = draw(config, N_PATHS, 20)
    years = np.arange(1, 21) / 252
    assert paths.variance[0] == pytest.approx(0.04 + 0.12 * np.exp(-3.0 * years), rel=1e-12)
    assert within(paths.close[:, -1], 100.0)


def test_a_price_whose_mean_a_step_cannot_keep_is_left_uncorrected() -> None:
    """rho near 1, five years a step: the correction does not exist; the moments of v hold."""
    law = HestonRegime(0.5, 0.04, 1.0, 0.95, 0.0, 100.0)
    config = HestonConfig(
        (law,), initial_variance=0.3, substeps=1, bars_per_year=0.2, scheme=QUADRATIC
    )
    paths = draw(config, N_PATHS, 1)
    assert np.isfinite(paths.close).all()
    mean, _ = cir_moments(law, 0.3, 5.0)
    assert within(paths.variance[:, 0], mean)


def test_price_and_variance_move_together_as_rho_says() -> None:
    config = HestonConfig((replace(CALM, drift=0.0),), substeps=1, scheme=QUADRATIC)
    paths = draw(config, 400, 252)
    moves = np.diff(np.log(paths.close), axis=1).ravel()
    changes = np.diff(paths.variance, axis=1).ravel()
    assert np.corrcoef(moves, changes)[0, 1] == pytest.approx(CALM.rho, abs=0.02)


def test_ranges_and_substeps_hold_for_both_schemes() -> None:
    """Parkinson's variance is the integrated one: the two schemes see the same market."""
    for scheme in SCHEMES:
        config = HestonConfig((replace(STRESSED, drift=0.0),), substeps=8, scheme=scheme)
        paths = draw(config, 400, 250)
        assert (paths.low <= np.minimum(paths.open, paths.close)).all()
        assert (paths.high >= np.maximum(paths.open, paths.close)).all()
        assert (paths.open[:, 1:] == paths.close[:, :-1]).all()
        parkinson = np.log(paths.high / paths.low) ** 2 / (4.0 * np.log(2.0)) * 252
        assert parkinson.mean() == pytest.approx(paths.variance.mean(), rel=0.02)


def plain_euler(config: HestonConfig, n_bars: int, rng: np.random.Generator) -> np.ndarray:
    """One path by the textbook's loop over numbers; closes."""
    edges = np.cumsum(config.transition, axis=1)
    k = int(np.searchsorted(np.cumsum(config.stationary)[:-1], rng.random(1)[0], side="right"))
    law = config.regimes[k]
    scale = law.vol_of_vol**2 / (2.0 * law.kappa)
    v = float(rng.gamma(law.theta / scale, scale))
    x, dt, closes = float(np.log(config.initial_price)), config.dt, []
    for bar in range(n_bars):
        if bar:
            k = int((rng.random() >= edges[k, :-1]).sum())
        law = config.regimes[k]
        z = rng.standard_normal((config.substeps, 2)) * np.sqrt(dt)
        rng.random((config.substeps, 2))
        for first, second in z.tolist():
            held = max(v, 0.0)
            vol = float(np.sqrt(held))
            shock = law.rho * first + float(np.sqrt(1.0 - law.rho**2)) * second
            x = x + (law.drift - 0.5 * held) * dt + vol * shock
            v = v + law.kappa * (law.theta - held) * dt + law.vol_of_vol * vol * first
        rng.standard_normal()
        closes.append(x)
    return np.exp(closes)


@pytest.mark.parametrize("substeps", [1, 8])
def test_eulers_numbers_are_those_of_the_plain_loop(substeps: int) -> None:
    """Bit for bit: networks were trained on them."""
    config = HestonConfig(substeps=substeps)
    expected = plain_euler(config, 400, random_stream(3, "test.schemes"))
    assert (draw(config, 1, 400).close[0] == expected).all()


def test_the_switch_points_are_where_labels_change() -> None:
    config = HestonConfig(scheme=QUADRATIC)
    paths = draw(config, 4, 600)
    found = paths.labelled(2)
    assert found.switch_points.tolist() == [
        t for t in range(1, 600) if paths.regime[2, t] != paths.regime[2, t - 1]
    ]
    assert (found.regime == paths.regime[2]).all()
    assert (found.variance == paths.variance[2]).all()
    assert found.bars.digest == paths.bars(2).digest
    assert any("quadratic-exponential" in note for note in found.bars.provenance.notes)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown scheme.*full_truncation.*'milstein'"):
        HestonConfig(scheme="milstein")
    with pytest.raises(InputError, match="Heston parameters"):
        replace(CALM, mean_stay_bars=np.inf)
