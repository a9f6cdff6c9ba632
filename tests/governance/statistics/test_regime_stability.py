"""Agreement, renaming, spells, correlation and separation against slow or other ways."""

from __future__ import annotations

from itertools import combinations, groupby, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.signal import lfilter

from finchaos.core.errors import InputError
from governance.statistics.regime_stability import (
    adjusted_rand,
    correlation_interval,
    rank_columns,
    rank_correlation,
    realised_volatility,
    relabelling_gain,
    separation_statistics,
    spells,
)

LABELS = arrays(np.int64, 14, elements=st.integers(0, 2))


def by_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """Hubert & Arabie's index from all pairs, without a contingency table."""
    pairs = list(combinations(range(len(first)), 2))
    same_first = np.array([first[i] == first[j] for i, j in pairs])
    same_second = np.array([second[i] == second[j] for i, j in pairs])
    both, a, b = (same_first & same_second).sum(), same_first.sum(), same_second.sum()
    expected = a * b / len(pairs)
    most = (a + b) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


@given(LABELS, LABELS)
def test_adjusted_rand_counts_pairs_and_ignores_names(
    first: np.ndarray, second: np.ndarray
) -> None:
    assert adjusted_rand(first, second) == pytest.approx(by_pairs(first, second), abs=1e-10)
    assert adjusted_rand(first, 2 - second) == pytest.approx(adjusted_rand(first, second))


@given(LABELS, LABELS)
def test_renaming_gains_what_the_best_of_all_permutations_gains(
    first: np.ndarray, second: np.ndarray
) -> None:
    best = max((first == np.array(names)[second]).mean() for names in permutations(range(3)))
    assert relabelling_gain(first, second) == pytest.approx(best - (first == second).mean())
    assert relabelling_gain(first, first) == 0.0


@given(LABELS)
def test_spells_are_runs(state: np.ndarray) -> None:
    assert spells(state).tolist() == [len(list(run)) for _, run in groupby(state.tolist())]


def test_correlation_of_ranks_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 5, 200).astype(float), rng.standard_normal(200)
    y[:7] = np.nan
    found = rank_correlation(rank_columns(x, y))
    assert float(found) == pytest.approx(stats.spearmanr(x[7:], y[7:]).statistic, abs=1e-12)
    assert np.isnan(rank_correlation(rank_columns(np.ones(9), np.arange(9.0))))


def test_interval_is_fishers_for_independent_pairs_and_wider_for_slow_series() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((2, 4000))
    columns = rank_columns(x, x + 2.0 * y)
    found = correlation_interval(columns, 0.95)
    assert found is not None
    r = float(rank_correlation(columns))
    expected = np.tanh(np.arctanh(r) + np.array([-1, 1]) * stats.norm.ppf(0.975) / np.sqrt(3997))
    assert [found.low, found.high] == pytest.approx(expected, abs=0.004)
    assert correlation_interval(rank_columns(np.ones(9), np.arange(9.0)), 0.95) is None
    # Two unrelated slow series, worth far fewer pairs than they have values.
    missed = 0
    for _ in range(200):
        slow = lfilter([1.0], [1.0, -0.95], rng.standard_normal((2, 1500)))
        said = correlation_interval(rank_columns(*slow), 0.95)
        missed += said is None or not said.low <= 0.0 <= said.high
    assert missed <= 22  # ten are expected


def test_realised_volatility_uses_the_past_alone() -> None:
    close = np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, 60)))
    found = realised_volatility(close, 5)
    assert np.isnan(found[:5]).all()
    assert found[20] == pytest.approx(np.sqrt(np.mean(np.diff(np.log(close[15:21])) ** 2)))
    altered = np.append(close[:30], 9.0 * close[30:])
    assert np.array_equal(found[:30], realised_volatility(altered, 5)[:30], equal_nan=True)
    assert np.isnan(realised_volatility(close[:3], 5)).all()


def test_separation_by_hand_and_in_stacks() -> None:
    rng = np.random.default_rng(3)
    off, moves = (rng.random((4, 50)) < 0.4).astype(float), rng.standard_normal((4, 50))
    fall = (rng.random((4, 50)) < 0.3).astype(float)
    columns = {"off": off, "next_return": moves, "in_fall": fall}
    named = separation_statistics()
    ratios, gaps = (named[name](columns) for name in ("next_volatility_ratio", "fall_share_gap"))
    for k in range(4):
        on = off[k] == 0
        assert ratios[k] == pytest.approx(moves[k][~on].std(ddof=1) / moves[k][on].std(ddof=1))
        inside = fall[k] == 1
        assert gaps[k] == pytest.approx(off[k][inside].mean() - off[k][~inside].mean())
    never = {"off": np.zeros(9), "next_return": np.arange(9.0), "in_fall": np.zeros(9)}
    assert np.isnan(named["next_volatility_ratio"](never))
    assert np.isnan(named["fall_share_gap"](never))


def test_labellings_of_other_bars_are_refused() -> None:
    with pytest.raises(InputError):
        adjusted_rand(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError):
        relabelling_gain(np.zeros(0), np.zeros(0))
