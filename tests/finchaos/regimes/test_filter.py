"""The debounce: counted confirmations on labels, the same rule at every level of a probability."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.regimes.filter import FilterRule, RegimeFilter, debounce

RULES = st.builds(FilterRule, st.integers(1, 6), st.integers(1, 6))
LABELS = st.lists(st.integers(0, 1), max_size=60)
PROBABILITIES = st.lists(st.floats(0, 1), max_size=60)


def run(rule: FilterRule, values: list[float], initial: float = 0.0) -> list[float]:
    live = RegimeFilter(rule, initial)
    return [live.step(value) for value in values]


def counted(rule: FilterRule, labels: list[int]) -> list[float]:
    """The usual two-state machine: a change counts once enough bars in a row ask for it."""
    state, asked, out = 0, 0, []
    for label in labels:
        asked = asked + 1 if label != state else 0
        if asked >= (rule.entry_bars if label == 1 else rule.exit_bars):
            state, asked = label, 0
        out.append(float(state))
    return out


@given(RULES, LABELS)
def test_labels_follow_the_counting_machine(rule: FilterRule, labels: list[int]) -> None:
    assert run(rule, list(map(float, labels))) == counted(rule, labels)


@given(RULES, PROBABILITIES, st.floats(0, 1))
def test_thresholds_and_debouncing_commute(
    rule: FilterRule, values: list[float], threshold: float
) -> None:
    debounced = [float(v >= threshold) for v in run(rule, values, initial=-1.0)]
    labels = [float(v >= threshold) for v in values]
    assert debounced == run(rule, labels)


@given(RULES, PROBABILITIES, PROBABILITIES)
def test_the_future_cannot_change_the_past(
    rule: FilterRule, past: list[float], future: list[float]
) -> None:
    assert run(rule, past + future)[: len(past)] == run(rule, past)


@given(RULES, PROBABILITIES)
def test_a_change_needs_its_confirmations(rule: FilterRule, values: list[float]) -> None:
    out = [0.5, *run(rule, values, initial=0.5)]
    for row in range(len(values)):
        if out[row + 1] > out[row]:
            assert row + 1 >= rule.entry_bars
            assert min(values[row + 1 - rule.entry_bars : row + 1]) == out[row + 1]
        if out[row + 1] < out[row]:
            assert row + 1 >= rule.exit_bars
            assert max(values[row + 1 - rule.exit_bars : row + 1]) == out[row + 1]


@given(RULES, st.floats(0, 1))
def test_a_constant_is_reached_and_kept(rule: FilterRule, level: float) -> None:
    out = run(rule, [level] * 12, initial=0.3)
    assert out[6:] == [level] * 6


def test_one_bar_each_is_no_filter() -> None:
    assert run(FilterRule(1, 1), [0.2, 0.9, 0.1]) == [0.2, 0.9, 0.1]


def test_a_rule_without_confirmation_is_refused() -> None:
    with pytest.raises(InputError, match="at least one bar"):
        FilterRule(0, 3)


@given(RULES, PROBABILITIES, st.floats(0, 1))
def test_many_at_once_are_what_the_stream_says(
    rule: FilterRule, values: list[float], initial: float
) -> None:
    found = debounce(np.array(values), rule, initial)
    assert np.array_equal(found, np.array(run(rule, values, initial)))


def test_what_is_no_series_is_not_debounced() -> None:
    for wrong in (np.array([0.1, np.nan]), np.ones((2, 2))):
        with pytest.raises(InputError, match="series without NaN"):
            debounce(wrong, FilterRule())
