"""Comparisons of forecasts against other packages' figures, and their level under dependence."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.metrics import mean_pinball_loss

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from governance.statistics.benchmark_forecast import ConstantLaw, SmoothedVolatility
from governance.statistics.forecast_comparison import (
    automatic_bandwidth,
    clark_west,
    diebold_mariano,
    fixed_smoothing,
    pinball,
    qlike,
)
from tests.planted.skill import memoryless_bars

DAY = np.arange(500)
RETURNS = np.sin(DAY * DAY * 0.37) + 0.3 * np.cos(0.05 * DAY) * np.sin(3.1 * DAY)
DIFFERENCE = (RETURNS - 0.1) ** 2 - (RETURNS - 0.2 * np.cos(0.05 * DAY)) ** 2


@pytest.mark.parametrize(
    ("horizon", "bandwidth", "statistic", "probability"),
    [
        # vetted 0.1.0 (MIT), which reproduces R's forecast::dm.test.
        (1, None, -0.23895788335676468, 0.8112363489135873),
        (3, None, -0.22687085776007843, 0.8206170739841712),
        (3, 2, -0.23702149570054412, 0.8127373871316862),
    ],
)
def test_diebold_and_mariano_is_that_of_another_package(
    horizon: int, bandwidth: int | None, statistic: float, probability: float
) -> None:
    found = diebold_mariano(DIFFERENCE, horizon=horizon, bandwidth=bandwidth)
    assert found.statistic == pytest.approx(statistic, abs=1e-8)
    assert found.two_sided == pytest.approx(probability, abs=1e-8)


def test_clark_and_west_is_a_regression_on_a_constant() -> None:
    rng = np.random.default_rng(1)
    outcome, small = rng.standard_normal(400), np.zeros(400)
    large = 0.1 * rng.standard_normal(400)
    gain = outcome**2 - ((outcome - large) ** 2 - large**2)
    fitted = sm.OLS(gain, np.ones(400)).fit(cov_type="HAC", cov_kwds={"maxlags": 4})
    statistic, probability = clark_west(outcome, small, large, bandwidth=4)
    assert statistic == pytest.approx(float(fitted.tvalues[0]), abs=1e-8)
    assert 0.0 < probability < 1.0
    better, small_probability = clark_west(outcome, small, 0.5 * outcome)
    assert better > 5.0
    assert small_probability < 1e-6


def test_losses_are_those_of_scikit_learn_and_least_at_the_truth() -> None:
    quantile = np.full(500, -0.7)
    expected = mean_pinball_loss(RETURNS, quantile, alpha=0.05)
    assert pinball(RETURNS, quantile, 0.05).mean() == pytest.approx(expected, abs=1e-12)
    scales = np.linspace(0.2, 2.0, 181)
    losses = [qlike(RETURNS, np.full(500, scale)).mean() for scale in scales]
    best = scales[int(np.argmin(losses))]
    assert best == pytest.approx(np.sqrt(np.mean(RETURNS**2)), abs=0.01)


def autoregressions(weight: float, count: int, n: int) -> np.ndarray:
    noise = np.random.default_rng(4).standard_normal((count, n + 200))
    for day in range(1, n + 200):
        noise[:, day] += weight * noise[:, day - 1]
    return noise[:, 200:]


def test_only_fixed_smoothing_keeps_its_level_where_losses_linger() -> None:
    paths = autoregressions(0.9, 1000, 800)
    smoothed = np.array([fixed_smoothing(path).two_sided for path in paths])
    weighed = np.array(
        [diebold_mariano(path, bandwidth=automatic_bandwidth(800)).two_sided for path in paths]
    )
    assert (smoothed <= 0.05).mean() == pytest.approx(0.05, abs=0.025)
    assert (weighed <= 0.05).mean() > 0.12
    plain = autoregressions(0.0, 1000, 800)
    quiet = np.array([fixed_smoothing(path).worse for path in plain])
    assert (quiet <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    low, high = fixed_smoothing(plain[0]).limits(0.95)
    assert low < plain[0].mean() < high


def test_losses_that_say_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="the same every day"):
        fixed_smoothing(np.zeros(100))
    with pytest.raises(InputError, match="ten or more"):
        diebold_mariano(np.arange(5.0))
    with pytest.raises(InputError, match="not positive"):
        diebold_mariano(np.tile([1.0, -1.0], 100) + 1e-9 * np.arange(200), horizon=2)


def test_the_benchmarks_read_no_later_bar() -> None:
    bars = memoryless_bars(1, 300)
    smoothed = SmoothedVolatility()
    assert smoothed.fit(bars, seed=1) is smoothed
    whole = smoothed.signals(bars).forecast_volatility
    part = smoothed.signals(bars.rows(0, 200)).forecast_volatility
    assert whole is not None
    assert np.array_equal(whole[:200], part)  # type: ignore[arg-type]
    returns = bars.returns()
    weights = 0.06 * 0.94 ** np.arange(150)[::-1]
    expected = np.sqrt(weights @ returns[:150] ** 2 / weights.sum())
    assert whole[150] == pytest.approx(expected, rel=1e-12)
    assert (whole > 0.0).all()
    constant = ConstantLaw()
    assert constant.fit(bars, seed=1).signals(bars).regime.tolist() == [0] * 300  # type: ignore[union-attr]
    assert constant.digest != smoothed.digest


def test_bars_that_never_move_still_have_a_positive_volatility() -> None:
    still = memoryless_bars(1, 100, volatility=0.0)
    assert isinstance(still, Bars)
    volatility = SmoothedVolatility().signals(still).forecast_volatility
    assert (volatility > 0.0).all()  # type: ignore[operator]
