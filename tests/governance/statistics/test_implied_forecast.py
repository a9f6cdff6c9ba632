"""Forecast laws: from training rows alone, uniform where they are right, honest about what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.nulls import process
from finchaos.core.bars import Bars
from governance.check import Context, Skip
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.statistics.forecast_dependence import influence
from governance.statistics.forecast_null import pareto_tail, simulate_tests
from governance.statistics.implied_forecast import (
    DensityForecast,
    density_forecast,
    ranks,
    tail_mean,
    tail_quantile,
)
from tests.planted.forecasters import true_forecaster
from tests.planted.markets import regime_switching_bars
from tests.planted.skill import Scripted, memoryless_bars


def context_of(bars: Bars, first: int = 400, count: int = 3) -> Context:
    folds = anchored_folds(len(bars), first_test=first, count=count, gap=2)
    return Context(bars=bars, folds=folds, seed=5)


def implied(n: int = 900) -> tuple[DensityForecast, Bars]:
    bars = regime_switching_bars(3, n)
    return density_forecast(VolatilityRegime(), context_of(bars)), bars


def test_a_regime_implies_what_followed_it_in_training() -> None:
    bars = memoryless_bars(1, 900)
    regime = np.arange(900) % 3 % 2
    forecast = density_forecast(Scripted(np.ones(900), regime=regime), context_of(bars))
    assert forecast.kind == "implied"
    assert len(forecast) == 499  # the last bar has no return after it
    returns = bars.returns()
    fold = context_of(bars).folds[1]
    (law,) = [law for law in forecast.laws if (law.fold, law.state) == (2, 1)]
    rows = np.flatnonzero(regime[: fold.train_end - 1] == 1)
    assert law.training.tolist() == rows.tolist()
    assert law.sample.tolist() == sorted(returns[rows].tolist())
    place = int(law.tests[5])
    expected = np.quantile(returns[rows], 0.05, method="weibull")
    assert forecast.quantile(0.05)[place] == pytest.approx(expected)
    assert regime[forecast.rows[place]] == 1
    assert forecast.outcome[place] == returns[forecast.rows[place]]


def test_a_given_forecast_is_taken_at_its_word() -> None:
    path = process("GARCH", 1, 900)
    forecast = density_forecast(true_forecaster(path), context_of(path.bars()))
    assert forecast.kind == "given"
    assert np.array_equal(forecast.scale, path.volatility[forecast.rows])
    law = forecast.laws[0]
    rows = law.training
    expected = (path.returns[rows] - path.mean[rows]) / path.volatility[rows]
    assert law.values == pytest.approx(expected, abs=1e-9)
    assert "standardised residuals" in forecast.note


def test_what_comes_later_changes_no_forecast() -> None:
    whole, bars = implied()
    later = bars.close.copy()
    later[700:] *= np.exp(0.02 * np.sin(np.arange(200)))
    high, low = np.maximum(bars.high, later), np.minimum(bars.low, later)
    high[700:], low[700:] = later[700:] * 1.5, later[700:] * 0.5
    opened = bars.open.copy()
    opened[700:] = later[700:]
    changed = bars.with_values(open=opened, high=high, low=low, close=later)
    other = density_forecast(VolatilityRegime(), context_of(changed))
    before = whole.rows < 700
    for level in (0.01, 0.5):
        assert np.array_equal(whole.quantile(level)[before], other.quantile(level)[before])
    assert np.array_equal(whole.volatility[before], other.volatility[before])
    ended = whole.rows < 699
    assert np.array_equal(whole.pit[ended], other.pit[ended])
    assert not np.array_equal(whole.pit, other.pit)


def test_rare_states_are_pooled_and_said() -> None:
    bars = memoryless_bars(2, 900)
    regime = np.zeros(900, dtype=int)
    regime[::30] = 1
    forecast = density_forecast(Scripted(np.ones(900), regime=regime), context_of(bars))
    assert forecast.pooled == int((regime[forecast.rows] == 1).sum())
    assert "too rare" in forecast.note
    assert sum(len(law.tests) for law in forecast.laws) == len(forecast)


def test_without_regimes_states_are_out_and_in() -> None:
    bars = memoryless_bars(2, 900)
    position = (np.arange(900) // 10 % 2).astype(float)
    forecast = density_forecast(Scripted(position), context_of(bars))
    assert {law.state for law in forecast.laws} == {0, 1}


def test_too_little_training_or_testing_is_skipped() -> None:
    bars = memoryless_bars(2, 500)
    with pytest.raises(Skip, match="training returns"):
        density_forecast(Scripted(np.ones(500)), context_of(bars, first=90))
    with pytest.raises(Skip, match="fewer than 30"):
        density_forecast(Scripted(np.ones(500)), context_of(bars, first=480, count=1))


@given(st.integers(1, 60), st.integers(0, 10_000))
def test_ranks_of_an_exchangeable_sample_are_a_grid(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).permutation(size + 1).astype(float)
    found = [
        float(ranks(np.sort(np.delete(values, k)), values[k : k + 1])[0]) for k in range(size + 1)
    ]
    assert sorted(found) == pytest.approx([(k + 0.5) / (size + 1) for k in range(size + 1)])


def test_a_new_draw_undercuts_the_quantile_as_often_as_said() -> None:
    rng = np.random.default_rng(1)
    samples = np.sort(rng.standard_t(3, (4000, 120)), axis=1)
    below = [rng.standard_t(3) < tail_quantile(sample, 0.025) for sample in samples]
    assert np.mean(below) == pytest.approx(0.025, abs=0.008)
    assert tail_mean(samples[0], 0.025) <= tail_quantile(samples[0], 0.025)


def test_the_simulated_null_is_a_forecast_that_is_right() -> None:
    forecast, _ = implied()
    null = simulate_tests(forecast, (0.05,), 60, np.random.default_rng(1))
    assert null.hits.mean() == pytest.approx(0.05, abs=0.004)
    assert null.pit.mean() == pytest.approx(0.5, abs=0.01)
    assert (null.relative[null.hits] > 0.0).all()
    assert not null.relative[~null.hits].any()
    assert null.relative[null.hits].mean() == pytest.approx(1.0, abs=0.1)


def test_weights_of_tests_and_training_cancel() -> None:
    path = process("iid", 2, 900)
    forecast = density_forecast(true_forecaster(path), context_of(path.bars()))
    found = influence(forecast)
    assert found.weight.sum() == pytest.approx(0.0, abs=1e-12)
    errors = (found.pit < 0.3) - 0.3
    excess = (forecast.pit < 0.3).mean() - 0.3
    assert float(found.weight @ errors) == pytest.approx(excess, abs=0.01)
    assert replace(found, block=50).block_sums(np.ones((901, 2))).shape == (19, 2)


def test_a_pareto_tail_is_recovered_and_joins_its_sample() -> None:
    """Against the closed form: depths of a generalised Pareto law of shape 0.3 and scale 2."""
    probability = (np.arange(20_000) + 0.5) / 20_000
    depth = 2.0 / 0.3 * ((1.0 - probability) ** -0.3 - 1.0)
    sample = np.sort(np.concatenate([-1.0 - depth, np.linspace(-1.0, 9.0, 180_000)]))
    tail = pareto_tail(sample)
    assert tail.shape == pytest.approx(0.3, abs=0.01)
    assert tail.scale == pytest.approx(2.0, rel=0.02)
    uniform = np.array([0.5, 0.0999, 0.05, 0.001])
    found = tail.quantiles(uniform)
    assert found[0] == sample[100_000]
    exact = -1.0 - 2.0 / 0.3 * ((uniform[1:] / 0.1) ** -0.3 - 1.0)
    assert found[1:] == pytest.approx(exact, rel=0.03)
    assert (np.diff(tail.quantiles(np.linspace(0.0001, 0.9999, 500))) >= 0.0).all()
    flat = pareto_tail(np.ones(200))
    assert (flat.quantiles(np.array([0.01, 0.5])) == 1.0).all()
