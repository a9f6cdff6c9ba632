"""Back-tests of value at risk and expected shortfall against another package's figures."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from governance.statistics.coverage import (
    conditional_ratio,
    coverage_ratio,
    dynamic_quantile,
    independence_ratio,
)
from governance.statistics.expected_shortfall import shortfall_and_hits, shortfall_given_hits

# A path without random numbers, so that any package can be asked about it. The figures are those
# of vetted 0.1.0 (MIT), which reproduces R's rugarch (VaRTest), GAS (BacktestVaR) and esback.
DAY = np.arange(500)
RETURNS = np.sin(DAY * DAY * 0.37) + 0.3 * np.cos(0.05 * DAY) * np.sin(3.1 * DAY)
QUANTILE = -(1.0 + 0.15 * np.sin(0.02 * DAY))
SHORTFALL = 1.12 * QUANTILE
HITS = RETURNS < QUANTILE


def test_ratios_are_those_of_another_package() -> None:
    assert HITS.sum() == 38
    assert coverage_ratio(HITS, 0.05) == pytest.approx(6.181065880740334, abs=1e-8)
    assert independence_ratio(HITS) == pytest.approx(0.00452135781523566, abs=1e-8)
    assert conditional_ratio(HITS, 0.05) == pytest.approx(6.18558723855557, abs=1e-8)


def test_dynamic_quantile_is_that_of_another_package() -> None:
    assert dynamic_quantile(HITS, QUANTILE, 0.05) == pytest.approx(62.80844748116788, abs=1e-8)
    constant = dynamic_quantile(RETURNS < -1.0, np.full(500, -1.0), 0.05)
    assert constant == pytest.approx(45.572231231674145, abs=1e-8)


def test_shortfall_statistics_are_those_of_another_package() -> None:
    relative = RETURNS / SHORTFALL
    assert shortfall_given_hits(relative, HITS) == pytest.approx(-0.004050690701018267, abs=1e-8)
    found = shortfall_and_hits(relative, HITS, 0.05)
    assert found == pytest.approx(-0.5261570498655481, abs=1e-8)


def test_kupiec_by_hand() -> None:
    # Kupiec (1995): 7 hits among 255 days at 1 %, from the definition in exact arithmetic.
    hits = np.zeros(255, dtype=bool)
    hits[::40] = True
    share = 7 / 255
    by_hand = -2 * (
        248 * np.log(0.99) + 7 * np.log(0.01) - 248 * np.log(1 - share) - 7 * np.log(share)
    )
    assert coverage_ratio(hits, 0.01) == pytest.approx(by_hand, abs=1e-12)


def test_stacks_are_rows_one_by_one() -> None:
    stack = np.random.default_rng(1).random((5, 200)) < 0.05
    stack[0] = False
    quantiles = np.linspace(-2.0, -1.0, 200)
    for function in (
        lambda h: coverage_ratio(h, 0.05),
        independence_ratio,
        lambda h: dynamic_quantile(h, quantiles, 0.05),
        lambda h: shortfall_and_hits(1.1 * h, h, 0.05),
    ):
        one_by_one = [float(function(row)) for row in stack]
        assert function(stack) == pytest.approx(one_by_one, rel=1e-9, abs=1e-12)


def test_without_hits_nothing_is_divided_by_zero() -> None:
    none = np.zeros(100, dtype=bool)
    assert independence_ratio(none) == 0.0
    assert coverage_ratio(none, 0.05) == pytest.approx(-200 * np.log(0.95))
    assert np.isnan(shortfall_given_hits(np.zeros(100), none))
    assert shortfall_and_hits(np.zeros(100), none, 0.05) == 1.0


def test_too_few_forecasts_are_refused() -> None:
    with pytest.raises(InputError):
        dynamic_quantile(np.zeros(6, dtype=bool), np.ones(6), 0.05)
