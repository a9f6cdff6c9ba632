"""Calibrated limits keep the stated run length on series for which tables do not hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from finchaos.core.errors import InputError
from governance.statistics import chart_calibration
from governance.statistics.chart_calibration import Residuals, calibrated_limit
from governance.statistics.control_charts import Cusum, Ewma, normal_limit

REFERENCE, NEW, RUN_LENGTH = 2000, 250, 1000


def autoregression(rng: np.random.Generator, n: int, phi: float = 0.9) -> np.ndarray:
    return lfilter([1.0], [1.0, -phi], rng.normal(size=n + 300))[300:]


def garch(rng: np.random.Generator, n: int) -> np.ndarray:
    shocks, variance = rng.standard_t(6, n + 300) / np.sqrt(1.5), 1.0
    found = np.empty(n + 300)
    for t, shock in enumerate(shocks):
        found[t] = np.sqrt(variance) * shock
        variance = 0.03 + 0.07 * found[t] ** 2 + 0.9 * variance
    return found[300:]


def share_alarmed(make, chart, samples: int, *, calibrated: bool) -> float:
    alarms, limit = 0, normal_limit(chart, RUN_LENGTH)
    for seed in range(samples):
        rng = np.random.default_rng(seed)
        series = make(rng, REFERENCE + NEW)
        reference, new = series[:REFERENCE], series[REFERENCE:]
        if calibrated:
            fitted = Residuals.fit(reference)
            own = fitted.of_reference(reference)
            limit = calibrated_limit(chart, own, RUN_LENGTH, rng, horizon=NEW)
            new = fitted.of(reference, new)
        else:
            new = (new - reference.mean()) / reference.std()
        alarms += bool(chart.highest(new[None])[0] > limit)
    return alarms / samples


@pytest.mark.parametrize("chart", [Cusum(0.5), Ewma(0.1)])
@pytest.mark.parametrize("make", [autoregression, garch])
def test_the_stated_run_length_holds_where_values_follow_each_other(make, chart, monkeypatch):
    monkeypatch.setattr(chart_calibration, "_STEPS", 100_000)
    # 1 - exp(-250 / 1000) is 0.22: of 60 samples 13 at most are expected to alarm, and 22 or more
    # in less than one of two hundred.
    share = share_alarmed(make, chart, 60, calibrated=True)
    assert 0.0 < share <= 21 / 60
    if make is autoregression:
        assert share_alarmed(make, chart, 20, calibrated=False) > 0.9


def test_few_blocks_raise_the_limit_far_in_the_tail():
    """Student's t against the normal: the same law, known from less."""
    rng = np.random.default_rng(9)
    short, long = rng.normal(size=600), rng.normal(size=30_000)
    limits = [
        calibrated_limit(Cusum(), values, 20_000.0, np.random.default_rng(1))
        for values in (short, long)
    ]
    assert limits[1] == pytest.approx(normal_limit(Cusum(), 20_000.0), rel=0.06)
    assert limits[0] > 1.1 * limits[1]


def test_independent_values_get_the_limit_of_the_table_and_a_little_for_estimation():
    values = np.random.default_rng(5).normal(size=20_000)
    for chart in (Cusum(0.5), Ewma(0.1)):
        found = calibrated_limit(chart, values, 500.0, np.random.default_rng(1))
        assert found == pytest.approx(normal_limit(chart, 500.0), rel=0.06)


def test_the_same_seed_gives_the_same_limit_and_longer_runs_higher_ones():
    values = garch(np.random.default_rng(2), 1500)
    limits = [
        calibrated_limit(Cusum(), values, length, np.random.default_rng(3))
        for length in (250.0, 250.0, 2500.0)
    ]
    assert limits[0] == limits[1] < limits[2]


def test_an_autoregression_is_taken_out_and_the_future_changes_nothing():
    rng = np.random.default_rng(7)
    series = autoregression(rng, 3000)
    fitted = Residuals.fit(series[:2500])
    assert fitted.weights[0] == pytest.approx(0.9, abs=0.05)
    own = fitted.of_reference(series[:2500])
    assert abs(np.corrcoef(own[1:], own[:-1])[0, 1]) < 0.06
    new = fitted.of(series[:2500], series[2500:])
    altered = series[2500:].copy()
    altered[100:] = 50.0
    assert np.array_equal(fitted.of(series[:2500], altered)[:100], new[:100])


def test_a_shift_of_one_standard_deviation_is_found_soon():
    rng = np.random.default_rng(11)
    series = rng.normal(size=2000)
    fitted = Residuals.fit(series)
    limit = calibrated_limit(Cusum(), fitted.of_reference(series), 2500.0, rng)
    path = Cusum().path(fitted.of(series, rng.normal(size=100) + 1.0))
    assert int(np.argmax(path[0] > limit)) in range(3, 40)


@pytest.mark.parametrize(
    "reference", [np.ones(500), np.arange(20.0), np.full(300, np.nan), np.ones((300, 2))]
)
def test_a_reference_without_a_law_is_refused(reference):
    with pytest.raises(InputError, match="cannot be calibrated"):
        Residuals.fit(reference)


def test_a_run_length_beyond_the_simulation_is_refused():
    with pytest.raises(InputError, match="run length"):
        calibrated_limit(Cusum(), np.arange(300.0), 1e9, np.random.default_rng(0))
