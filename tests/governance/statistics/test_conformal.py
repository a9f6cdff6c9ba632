"""Conformal intervals: exact where exchangeable, bounded where not, blind to the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.alterations import alter_future
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.splits import anchored_folds
from governance.statistics.conformal import adapt, error_bound, intervals
from governance.statistics.implied_forecast import DensityForecast, Law, density_forecast
from tests.planted.markets import regime_switching_bars


def forecast_of(samples: np.ndarray, outcome: np.ndarray) -> DensityForecast:
    """One law for every outcome."""
    n, rows = len(outcome), np.arange(samples.shape[1])
    laws = tuple(Law(1, -1, rows, np.array([k]), samples[k]) for k in range(n))
    return DensityForecast(
        "given", np.arange(n), outcome, np.zeros(n), np.ones(n), laws, bars=n + 1, pooled=0
    )


@pytest.fixture(scope="module")
def forecast() -> DensityForecast:
    bars = regime_switching_bars(3, 900)
    folds = anchored_folds(900, first_test=400, count=2, gap=2)
    return density_forecast(VolatilityThreshold(), Context(bars=bars, folds=folds, seed=5))


@given(
    st.lists(st.booleans(), min_size=1, max_size=400),
    st.floats(0.01, 0.99),
    st.floats(0.001, 1.0),
)
def test_the_mean_error_is_bounded_whatever_comes(
    outcomes: list[bool], alpha: float, gamma: float
) -> None:
    """Lemma 4.1 and proposition 4.1 of Gibbs & Candes (2021), against any adversary."""
    alphas, errors = adapt(lambda t, asked: outcomes[t], len(outcomes), alpha, gamma)
    assert abs(errors.mean() - alpha) <= error_bound(len(outcomes), alpha, gamma) + 1e-12
    assert (alphas >= -gamma - 1e-12).all()
    assert (alphas <= 1.0 + gamma + 1e-12).all()
    assert not errors[alphas <= 0.0].any()
    assert errors[alphas >= 1.0].all()


@given(st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=30), st.sampled_from([0.021, 0.313]))
def test_the_rule_is_equation_2(outcome: list[float], gamma: float) -> None:
    """By hand, one bar after another, with the quantiles of numpy."""
    sample = np.linspace(-0.9, 0.9, 99)
    now, n = 0.2, len(outcome)
    found = intervals(forecast_of(np.tile(sample, (n, 1)), np.array(outcome)), 0.8, gamma)
    for t, value in enumerate(outcome):
        assert found.alpha[t] == pytest.approx(now)
        if now <= 0.0:
            missed = False
        elif now >= 1.0:
            missed = True
        elif now / 2.0 * 100.0 < 1.0:
            missed = False
        else:
            low, high = np.quantile(sample, [now / 2, 1.0 - now / 2], method="weibull")
            assert (found.low[t], found.high[t]) == (pytest.approx(low), pytest.approx(high))
            missed = value < found.low[t] or value > found.high[t]
        assert found.missed[t] == missed
        now += gamma * (0.2 - missed)


def test_exchangeable_outcomes_are_held_as_often_as_said() -> None:
    """With 99 scores and nine tenths asked for, 90 of 100 ranks are inside: exact in theory."""
    drawn = random_stream(1, "test.conformal").standard_t(3, (6000, 100))
    found = intervals(forecast_of(drawn[:, :99], drawn[:, 99]), 0.9)
    inside = 1.0 - found.missed.mean()
    assert inside == pytest.approx(0.9, abs=4.0 * np.sqrt(0.09 / 6000))
    assert (found.alpha == pytest.approx(0.1)) is True
    assert found.bounded.all()


def test_too_few_scores_for_a_share_give_the_whole_line() -> None:
    drawn = random_stream(2, "test.conformal").standard_normal((20, 30))
    found = intervals(forecast_of(drawn, np.full(20, 99.0)), 0.95)
    assert not found.bounded.any()
    assert not found.missed.any()
    assert np.isnan(found.mean_width)


def test_split_intervals_are_the_quantiles_of_the_forecast(forecast: DensityForecast) -> None:
    found = intervals(forecast, 0.8)
    np.testing.assert_allclose(found.low, forecast.quantile(0.1))
    np.testing.assert_allclose(found.high, forecast.quantile(0.9))
    window = 100
    inside = ~found.missed
    by_hand = [inside[k : k + window].mean() for k in range(len(inside) - window + 1)]
    assert found.worst_window(window) == pytest.approx(min(by_hand))
    assert np.isnan(found.worst_window(len(inside) + 1))


@pytest.mark.parametrize("gamma", [0.0, 0.05])
def test_an_interval_reads_nothing_after_its_bar(forecast: DensityForecast, gamma: float) -> None:
    plain = intervals(forecast, 0.8, gamma)
    outcome = forecast.outcome.copy()
    outcome[150:] = 5.0
    other = intervals(replace(forecast, outcome=outcome), 0.8, gamma)
    for name in ("alpha", "low", "high"):
        np.testing.assert_array_equal(getattr(plain, name)[:151], getattr(other, name)[:151])
    np.testing.assert_array_equal(plain.missed[:150], other.missed[:150])
    assert other.missed[150]


def test_bars_that_are_altered_later_change_no_interval_before(forecast: DensityForecast) -> None:
    cut = 700
    bars = alter_future(
        regime_switching_bars(3, 900), cut, "noise", random_stream(3, "test.conformal")
    )
    folds = anchored_folds(900, first_test=400, count=2, gap=2)
    altered = density_forecast(VolatilityThreshold(), Context(bars=bars, folds=folds, seed=5))
    until = int(np.searchsorted(forecast.rows, cut))
    plain, other = (intervals(one, 0.9, 0.05) for one in (forecast, altered))
    for name in ("alpha", "low", "high"):
        np.testing.assert_array_equal(getattr(plain, name)[:until], getattr(other, name)[:until])
    assert not np.array_equal(plain.alpha, other.alpha)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.0, 0.1), (1.0, 0.1), (0.5, -0.1)])
def test_impossible_parameters_are_refused(alpha: float, gamma: float) -> None:
    with pytest.raises(InputError, match="adaptive"):
        adapt(lambda t, asked: False, 3, alpha, gamma)
