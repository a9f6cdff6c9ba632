"""Calibration: exact sums, and statsmodels' likelihood."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm
from sklearn.metrics import brier_score_loss

from finchaos.core.errors import InputError
from governance.statistics.calibration import berkowitz_ratio, brier_score, realised_volatility


def test_berkowitz_is_the_likelihood_ratio_of_a_regression() -> None:
    pit = np.random.default_rng(1).beta(1.3, 0.9, 300)
    scores = norm.ppf(pit)
    fitted = sm.OLS(scores[1:], sm.add_constant(scores[:-1])).fit()
    expected = 2.0 * (fitted.llf - norm.logpdf(scores[1:]).sum())
    assert berkowitz_ratio(pit) == pytest.approx(expected, abs=1e-8)


def test_berkowitz_keeps_its_level() -> None:
    pit = np.random.default_rng(2).random((4000, 250))
    assert (berkowitz_ratio(pit) > chi2.ppf(0.95, 3)).mean() == pytest.approx(0.05, abs=0.015)
    with pytest.raises(InputError):
        berkowitz_ratio(np.array([0.5, 1.0, 0.2]))


@given(st.integers(1, 200), st.integers(0, 9_999), st.integers(1, 12), st.booleans())
def test_the_parts_of_a_score_add_up(n: int, seed: int, bins: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    probability = np.round(rng.random(n), 1) if coarse else rng.random(n)
    event = rng.random(n) < probability
    found = brier_score(probability, event, bins)
    total = found.reliability - found.resolution + found.uncertainty + found.within_bins
    assert total == pytest.approx(found.score, abs=1e-12)
    assert found.counts.sum() == n
    assert (found.counts > 0).all()


def test_scores_are_those_of_scikit_learn_and_of_murphy() -> None:
    rng = np.random.default_rng(3)
    probability = rng.choice([0.1, 0.4, 0.8], 500)
    event = rng.random(500) < probability
    found = brier_score(probability, event)
    assert found.score == pytest.approx(brier_score_loss(event, probability), abs=1e-12)
    assert found.within_bins == pytest.approx(0.0, abs=1e-12)
    rates = [event[probability == p].mean() for p in (0.1, 0.4, 0.8)]
    assert found.rates == pytest.approx(rates)


def test_realised_volatility_looks_ahead_and_no_further() -> None:
    returns = np.array([0.1, -0.2, 0.3, 0.0])
    found = realised_volatility(returns, 2)
    assert found[:3] == pytest.approx([np.sqrt(0.025), np.sqrt(0.065), np.sqrt(0.045)])
    assert np.isnan(found[3:]).all()
    assert len(found) == 5
    assert np.isnan(realised_volatility(returns, 5)).all()


def test_impossible_probabilities_are_refused() -> None:
    with pytest.raises(InputError):
        brier_score(np.array([1.2]), np.array([True]))
