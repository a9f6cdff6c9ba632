"""Serial dependence against statsmodels and by simulation under clustering volatility."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2
from scipy.stats import jarque_bera as scipy_jarque_bera
from statsmodels.stats.diagnostic import acorr_ljungbox, het_arch

from benchmarks.nulls import process
from finchaos.core.errors import InputError
from governance.statistics.serial_dependence import (
    arch_lm,
    jarque_bera,
    ljung_box,
    robust_ljung_box,
)

VALUES = process("GARCH", 1, 600).returns


def test_ljung_box_is_that_of_statsmodels() -> None:
    expected = float(acorr_ljungbox(VALUES, lags=[7])["lb_stat"].iloc[0])
    assert ljung_box(VALUES, 7) == pytest.approx(expected, abs=1e-8)


def test_arch_multiplier_is_that_of_statsmodels() -> None:
    assert arch_lm(VALUES, 5) == pytest.approx(het_arch(VALUES, nlags=5)[0], abs=1e-8)


def test_jarque_bera_is_that_of_scipy() -> None:
    assert jarque_bera(VALUES) == pytest.approx(scipy_jarque_bera(VALUES).statistic, abs=1e-8)


def test_robust_statistic_by_hand() -> None:
    x = np.array([1.0, -2.0, 0.5, 1.5, -1.0, 0.0])
    one = x[1:] * x[:-1]
    two = x[2:] * x[:-2]
    expected = one.sum() ** 2 / (one**2).sum() + two.sum() ** 2 / (two**2).sum()
    assert robust_ljung_box(x, 2) == pytest.approx(expected, abs=1e-12)


def test_only_the_robust_one_keeps_its_level_where_volatility_clusters() -> None:
    stack = np.stack([process("GARCH", seed, 1000).returns for seed in range(300)])
    limit = chi2.ppf(0.95, 10)
    assert (robust_ljung_box(stack, 10) > limit).mean() < 0.10
    assert (ljung_box(stack, 10) > limit).mean() > 0.13
    correlated = np.stack([process("AR(1)", seed, 1000).returns for seed in range(30)])
    assert (robust_ljung_box(correlated, 10) > limit).mean() > 0.9


def test_series_too_short_or_constant_are_refused() -> None:
    with pytest.raises(InputError, match="long enough"):
        ljung_box(np.arange(10.0), 5)
    with pytest.raises(InputError, match="vary"):
        arch_lm(np.ones(50), 5)
    with pytest.raises(InputError):
        robust_ljung_box(np.array([1.0, np.nan] * 20), 2)
