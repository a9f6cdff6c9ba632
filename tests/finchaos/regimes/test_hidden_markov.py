"""Hidden Markov models against enumeration, statsmodels, and the truth of a simulated chain."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.regime_switching import hardy, simulate
from finchaos.regimes.hidden_markov import HiddenMarkov, MarkovRule
from finchaos.regimes.kpis import auc


def random_model(rng: np.random.Generator, kinds: int = 2, width: int = 1) -> HiddenMarkov:
    return HiddenMarkov(
        rng.standard_normal((kinds, width)),
        rng.uniform(0.2, 2.0, (kinds, width)),
        rng.dirichlet(np.ones(kinds), kinds),
        rng.dirichlet(np.ones(kinds)),
        0.0,
    )


@given(seed=st.integers(0, 2**32 - 1), kinds=st.integers(2, 3), width=st.integers(1, 2))
@settings(max_examples=40)
def test_the_filter_is_bayes_rule_over_all_histories(seed: int, kinds: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    model, rows = random_model(rng, kinds, width), rng.standard_normal((5, width))
    weights = np.zeros(kinds)
    for path in product(range(kinds), repeat=5):
        weight = model.start[path[0]]
        for before, after in pairwise(path):
            weight *= model.transition[before, after]
        for row, state in zip(rows, path, strict=True):
            weight *= norm.pdf(row, model.mean[state], np.sqrt(model.variance[state])).prod()
        weights[path[-1]] += weight
    assert model.filter(rows)[-1] == pytest.approx(weights / weights.sum())
    assert model.score(rows) == pytest.approx(np.log(weights.sum()))


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 59))
@settings(max_examples=30)
def test_the_filter_does_not_read_on(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    model, rows = random_model(rng), rng.standard_normal((60, 1))
    altered = rows.copy()
    altered[cut:] += 1.0
    assert np.array_equal(model.filter(altered)[:cut], model.filter(rows)[:cut])


def returns_of(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    paths = simulate(hardy(), 1, count, random_stream(seed, "chain"))
    close = np.log(paths.close[0])
    return np.diff(close)[:, None], paths.regime[0, 1:] > 0


def test_it_finds_the_chain_and_detects_like_it() -> None:
    rows, truth = returns_of(3, 8000)
    found = HiddenMarkov.fit(rows, MarkovRule(), seed=1)
    law = hardy()
    deviation = np.array([r.volatility for r in law.regimes]) / np.sqrt(law.bars_per_year)
    assert np.sqrt(found.variance[:, 0]) == pytest.approx(deviation, rel=0.05)
    assert found.transition[0, 0] == pytest.approx(law.transition[0][0], abs=0.002)
    exact = HiddenMarkov(
        np.array([[r.log_drift / law.bars_per_year] for r in law.regimes]),
        (deviation**2)[:, None],
        np.array(law.transition),
        law.stationary,
        0.0,
    )
    assert auc(found.filter(rows)[:, 1], truth) > auc(exact.filter(rows)[:, 1], truth) - 0.005


def test_statsmodels_finds_nothing_likelier() -> None:
    rows, _ = returns_of(5, 1500)
    found = HiddenMarkov.fit(rows, MarkovRule(), seed=1)
    peer = MarkovRegression(100.0 * rows[:, 0], k_regimes=2, switching_variance=True)
    ours = [
        *found.transition[:, 0],
        *100.0 * found.mean[:, 0],
        *1e4 * found.variance[:, 0],
    ]
    best = peer.fit(start_params=np.array(ours), disp=False)
    # There the first state has the law of the long run, here one of its own.
    theirs = best.llf + len(rows) * np.log(100.0)
    assert theirs - 1e-3 < found.log_likelihood < theirs + 3.0
    assert np.sqrt(found.variance[:, 0]) == pytest.approx(
        np.sqrt(best.params[-2:]) / 100.0, rel=0.03
    )
    same = peer.filter(np.array(ours)).filtered_marginal_probabilities
    assert np.abs(same[50:] - found.filter(rows)[50:]).max() < 1e-6


def test_scale_and_seed() -> None:
    rows, _ = returns_of(7, 1200)
    one, other = (HiddenMarkov.fit(k * rows, MarkovRule(), seed=2) for k in (1.0, 1e-4))
    assert other.variance == pytest.approx(one.variance * 1e-8, rel=1e-6)
    assert other.transition == pytest.approx(one.transition, abs=1e-9)
    again = HiddenMarkov.fit(rows, MarkovRule(), seed=2)
    assert np.array_equal(again.mean, one.mean)
    assert one.log_likelihood == pytest.approx(one.score(rows), rel=1e-9)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (np.zeros((100, 1)), "cannot be fitted"),
        (np.full((100, 1), np.inf), "finite rows"),
        (np.zeros((5, 1)), "cannot be fitted"),
        (np.zeros(100), "finite rows"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        HiddenMarkov.fit(rows, MarkovRule(), seed=1)
    with pytest.raises(InputError, match="impossible"):
        MarkovRule(states=1)
