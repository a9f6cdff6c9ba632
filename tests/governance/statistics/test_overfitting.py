"""Statistics of overfitting against published values, simulation and a slow definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from governance.statistics.overfitting import (
    SharpeRecord,
    backtest_overfitting,
    expected_maximum,
)


def test_the_worked_example_of_the_deflated_ratio() -> None:
    """Bailey & López de Prado (2014): 2.5 a year over 1250 days, 100 trials of variance 1/2."""
    record = SharpeRecord(2.5 / 250**0.5, 1250, -3.0, 10.0)
    hurdle = expected_maximum(100, (0.5 / 250.0) ** 0.5)
    assert hurdle == pytest.approx(0.1132, abs=5e-5)
    assert record.probability_above(hurdle) == pytest.approx(0.9004, abs=5e-5)
    # Ratios a year beside a count of days would be certain of anything.
    assert SharpeRecord(2.5, 1250, -3.0, 10.0).probability_above(hurdle) > 0.9999


def test_the_minimum_track_record_is_where_the_probability_is_reached() -> None:
    record = SharpeRecord(0.1, 500, -0.5, 6.0)
    least = record.least_periods(0.02, 0.95)
    there = SharpeRecord(0.1, least, -0.5, 6.0)
    assert there.probability_above(0.02) == pytest.approx(0.95)
    assert record.least_periods(0.1) == np.inf


def test_the_best_of_trials_is_what_it_is_on_average() -> None:
    rng = random_stream(1, "best")
    for trials in (2, 10, 100, 1000):
        best = rng.standard_normal((4000, trials)).max(axis=1).mean()
        assert expected_maximum(trials, 1.0) == pytest.approx(best, abs=0.06)
    assert expected_maximum(1, 1.0) == 0.0
    assert expected_maximum(50, 0.1) == pytest.approx(0.1 * expected_maximum(50, 1.0))


@pytest.mark.parametrize("degrees", [5, 1000])
def test_a_ratio_of_zero_is_called_established_as_often_as_the_level_says(degrees: int) -> None:
    rng = random_stream(2, f"size/{degrees}")
    said = [
        SharpeRecord.of(rng.standard_t(degrees, 500)).probability_above(0.0) > 0.95
        for _ in range(2000)
    ]
    assert np.mean(said) == pytest.approx(0.05, abs=0.015)


def test_a_record_of_returns() -> None:
    returns = random_stream(3, "record").standard_normal(1000) * 0.01 + 0.001
    record = SharpeRecord.of(returns)
    assert record.ratio == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert record.kurtosis == pytest.approx(3.0, abs=0.5)
    assert record.periods == 1000
    fewer = SharpeRecord.of(returns, periods=250.0)
    assert fewer.probability_above(0.0) < record.probability_above(0.0)


def slow(returns: np.ndarray, blocks: int) -> np.ndarray:
    """Logits by the definition, split by split."""
    length = len(returns) // blocks
    parts = returns[len(returns) - length * blocks :].reshape(blocks, length, -1)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        left = [block for block in range(blocks) if block not in chosen]
        inside, outside = (
            parts[list(half)].reshape(-1, returns.shape[1]) for half in (chosen, left)
        )
        ratio = [half.mean(axis=0) / half.std(axis=0, ddof=1) for half in (inside, outside)]
        picked = ratio[1][ratio[0].argmax()]
        rank = (ratio[1] <= picked).sum() / (returns.shape[1] + 1)
        logits.append(np.log(rank / (1 - rank)))
    return np.array(logits)


@given(
    seed=st.integers(0, 2**32 - 1),
    blocks=st.sampled_from([2, 4, 6]),
    strategies=st.integers(2, 8),
    rows=st.integers(30, 90),
)
@settings(max_examples=25)
def test_splits_are_those_of_the_definition(
    seed: int, blocks: int, strategies: int, rows: int
) -> None:
    returns = np.random.default_rng(seed).standard_normal((rows, strategies))
    assert backtest_overfitting(returns, blocks).logits == pytest.approx(slow(returns, blocks))


def test_noise_is_overfitted_half_of_the_time_and_skill_is_not() -> None:
    rng = random_stream(4, "noise")
    noise = [backtest_overfitting(rng.standard_normal((800, 20)), 10) for _ in range(40)]
    assert np.mean([one.probability for one in noise]) == pytest.approx(0.5, abs=0.08)
    skill = rng.standard_normal((2000, 50))
    skill[:, 7] += 0.3
    found = backtest_overfitting(skill, 16)
    assert found.probability < 0.01
    assert found.loss_share < 0.01
    assert len(found.logits) == 12_870


def test_strategies_that_never_trade_have_a_ratio_of_zero() -> None:
    returns = random_stream(5, "still").standard_normal((120, 3))
    returns[:, 1] = 0.0
    assert np.isfinite(backtest_overfitting(returns, 4).logits).all()
    assert backtest_overfitting(np.zeros((120, 3)), 4).probability == 0.5 * (
        np.mean(backtest_overfitting(np.zeros((120, 3)), 4).logits == 0.0)
    )


@pytest.mark.parametrize(
    ("returns", "blocks", "kind"),
    [
        (np.zeros((100, 3)), 5, InputError),
        (np.zeros((100, 3)), 22, InputError),
        (np.zeros((40, 3)), 16, DataError),
        (np.zeros((100, 1)), 4, DataError),
        (np.full((100, 3), np.nan), 4, DataError),
        (np.zeros(100), 4, DataError),
    ],
)
def test_what_cannot_be_judged_is_refused(returns: np.ndarray, blocks: int, kind: type) -> None:
    with pytest.raises(kind):
        backtest_overfitting(returns, blocks)


def test_impossible_records_are_refused() -> None:
    with pytest.raises(DataError, match="do not vary"):
        SharpeRecord.of(np.ones(100))
    with pytest.raises(DataError, match="finite returns"):
        SharpeRecord.of(np.ones(3))
    with pytest.raises(InputError, match="no Sharpe ratio"):
        SharpeRecord(0.1, 1.0)
    with pytest.raises(InputError, match="needs trials"):
        expected_maximum(0.5, 1.0)
