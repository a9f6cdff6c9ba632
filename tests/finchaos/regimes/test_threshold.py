"""Thresholds: every one compared, as brute force and the scores of scikit-learn compare them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import pooled, score_detection
from finchaos.regimes.threshold import tune_threshold

ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=4, max_size=60)


def brute(value: np.ndarray, truth: np.ndarray, year: float) -> list[tuple[float, float, float]]:
    """Threshold, balanced accuracy and false onsets a year, from the strictest on."""
    rows = []
    for threshold in [np.inf, *sorted(set(value.ravel()), reverse=True)]:
        alarm = value >= threshold
        score = pooled(
            [
                score_detection(on, stressed, bars_per_year=year)
                for on, stressed in zip(alarm, truth, strict=True)
            ]
        )
        balanced = balanced_accuracy_score(truth.ravel(), alarm.ravel())
        rows.append((threshold, balanced, score.false_onsets_per_year))
    return rows


@given(ROWS, st.sampled_from([0.5, 1.0, 3.0]))
def test_it_finds_what_brute_force_finds(rows: list[tuple[int, bool]], budget: float) -> None:
    half = len(rows) // 2
    value = np.array([float(v) for v, _ in rows[: 2 * half]]).reshape(2, half)
    truth = np.array([t for _, t in rows[: 2 * half]]).reshape(2, half)
    if truth.all() or not truth.any() or value.min() == value.max():
        with pytest.raises(DataError, match="threshold cannot be chosen"):
            tune_threshold(value, truth, aim="balanced_accuracy", bars_per_year=10.0)
        return
    table = brute(value, truth, 10.0)
    best = tune_threshold(value, truth, aim="balanced_accuracy", bars_per_year=10.0)
    assert best.balanced_accuracy == pytest.approx(max(row[1] for row in table))
    held = tune_threshold(
        value, truth, aim="false_onsets", bars_per_year=10.0, false_onsets_per_year=budget
    )
    within = []
    for row in table:
        if row[2] > budget + 1e-12:
            break
        within.append(row)
    if len(within) < len(table):
        assert held.value == within[-1][0]
    else:
        assert held.balanced_accuracy == pytest.approx(max(row[1] for row in table))
    for found in (best, held):
        ((_, balanced, rate),) = [row for row in table if row[0] == found.value]
        assert found.balanced_accuracy == pytest.approx(balanced)
        assert found.false_onsets_per_year == pytest.approx(rate)
    assert best.candidates == len(table)


def test_a_threshold_is_used_as_it_was_scored() -> None:
    value = np.array([0.1, 0.2, 0.8, 0.9, 0.3])
    truth = np.array([0, 0, 1, 1, 0])
    found = tune_threshold(value, truth, aim="balanced_accuracy", bars_per_year=252)
    assert found.alarm(value).tolist() == [False, False, True, True, False]


def test_bad_input_is_refused() -> None:
    value, truth = np.arange(4.0), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="aim"):
        tune_threshold(value, truth, aim="best", bars_per_year=252)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fit together"):
        tune_threshold(value[1:], truth, aim="false_onsets", bars_per_year=252)
    with pytest.raises(InputError, match="yes or no"):
        tune_threshold(value, 2 * truth, aim="false_onsets", bars_per_year=252)
    with pytest.raises(DataError, match="finite"):
        tune_threshold(value * np.nan, truth, aim="false_onsets", bars_per_year=252)
    with pytest.raises(DataError, match="scores that vary"):
        tune_threshold(np.ones(4), truth, aim="false_onsets", bars_per_year=252)
    with pytest.raises(InputError, match="false_onsets_per_year"):
        tune_threshold(
            value, truth, aim="false_onsets", bars_per_year=252, false_onsets_per_year=0.0
        )
