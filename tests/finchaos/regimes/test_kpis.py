"""Detection against known labels: hand-made sequences, plain twins, scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import (
    Detection,
    auc,
    delay_quantile,
    pooled,
    score_detection,
    switching,
)
from governance.statistics.regimes import shifts

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def bits(text: str) -> np.ndarray:
    return np.array([mark == "1" for mark in text])


def score(alarm: str, truth: str, bars_per_year: float = 10.0) -> Detection:
    return score_detection(bits(alarm), bits(truth), bars_per_year=bars_per_year)


def test_a_sequence_worked_out_by_hand() -> None:
    #              spells:     1 at 2-4   2 at 8-9  3 at 12-14  4 at 17-18
    truth = "0011100011001110011000"
    alarm = "0100110011000000111100"
    found = score(alarm, truth)
    assert found.delays.tolist() == [2.0, 0.0, np.inf, 0.0]
    assert (found.spells, found.detected, found.missed, found.already_on) == (4, 3, 1, 1)
    assert found.clearings.tolist() == [1.0, 0.0, 1.0]
    assert found.unsettled == 0
    # On at 1 (calm), at 4 and 8 (stress) and at 16, calm, just before the fourth spell.
    assert found.false_onsets == 2
    assert (found.calm_bars, found.calm_flagged) == (12, 4)
    assert (found.stressed_bars, found.stressed_flagged) == (10, 5)
    assert found.median_delay == 1.0
    assert found.p90_delay == np.inf
    assert found.detected_share == 0.75
    assert found.calm_years == 1.2
    assert found.false_onsets_per_year == pytest.approx(2 / 1.2)
    assert found.calm_share_flagged == 4 / 12
    assert found.accuracy == pytest.approx((5 + 8) / 22)
    assert found.balanced_accuracy == pytest.approx((5 / 10 + 8 / 12) / 2)
    assert found.median_clearing == 1.0


def test_an_alarm_held_from_spell_to_spell_never_clears_and_one_at_the_end_is_not_settled() -> None:
    found = score("0111111111", "0010001100")
    assert found.clearings.tolist() == [np.inf]
    assert found.unsettled == 1
    assert found.already_on == 2
    assert found.delays.tolist() == [0.0, 0.0]
    assert score("011", "011").unsettled == 1


def test_always_calm_is_accurate_and_worth_nothing() -> None:
    found = score("0" * 20, "0" * 16 + "1" * 4)
    assert (found.accuracy, found.balanced_accuracy, found.median_delay) == (0.8, 0.5, np.inf)


def test_without_spells_or_without_calm_nothing_is_made_up() -> None:
    assert np.isnan(score("010", "000").median_delay)
    assert np.isnan(score("010", "000").detected_share)
    assert np.isnan(score("010", "111").false_onsets_per_year)
    assert np.isnan(score("010", "111").balanced_accuracy)


def test_an_alarm_on_at_the_first_bar_has_no_onset() -> None:
    assert score("1100", "0000").false_onsets == 0


def plain(alarm: list[bool], truth: list[bool]) -> dict[str, object]:
    """The same counts bar by bar."""
    delays: list[float] = []
    clearings: list[float] = []
    false_onsets = unsettled = 0
    waiting = -1
    for bar, (on, stressed) in enumerate(zip(alarm, truth, strict=True)):
        begins = stressed and (bar == 0 or not truth[bar - 1])
        ended = bar > 0 and truth[bar - 1] and not stressed
        if begins:
            if waiting >= 0:
                clearings.append(np.inf)
            waiting, start = -1, bar
            delays.append(np.inf)
        if ended and alarm[bar - 1]:
            waiting = bar
        if stressed and on and delays[-1] == np.inf:
            delays[-1] = bar - start
        if waiting >= 0 and not on:
            clearings.append(bar - waiting)
            waiting = -1
        false_onsets += bool(on and not stressed and bar > 0 and not alarm[bar - 1])
    if waiting >= 0 or (truth[-1] and alarm[-1]):
        unsettled = 1
    return {
        "delays": delays,
        "clearings": clearings,
        "false_onsets": false_onsets,
        "unsettled": unsettled,
    }


@given(PAIRS)
def test_it_equals_the_count_bar_by_bar(pairs: list[tuple[bool, bool]]) -> None:
    alarm, truth = [on for on, _ in pairs], [stressed for _, stressed in pairs]
    found = score_detection(np.array(alarm), np.array(truth), bars_per_year=252.0)
    expected = plain(alarm, truth)
    assert found.delays.tolist() == expected["delays"]
    assert found.clearings.tolist() == expected["clearings"]
    assert found.false_onsets == expected["false_onsets"]
    assert found.unsettled == expected["unsettled"]
    if any(truth) and not all(truth):
        assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, alarm))


def test_pooling_puts_spells_and_bars_together() -> None:
    one, two = score("0100110", "0011100"), score("000", "010")
    both = pooled([one, two])
    assert both.delays.tolist() == [2.0, np.inf]
    assert (both.calm_bars, both.stressed_bars, both.false_onsets) == (6, 4, 1)
    assert both.balanced_accuracy == pytest.approx((1 / 4 + 4 / 6) / 2)
    with pytest.raises(InputError, match="pooled"):
        pooled([])
    with pytest.raises(InputError, match="pooled"):
        pooled([one, score("01", "01", bars_per_year=252.0)])


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=50))
def test_auc_is_that_of_scikit_learn_and_the_share_of_pairs(rows: list[tuple[int, bool]]) -> None:
    value = np.array([float(score) for score, _ in rows])
    truth = np.array([stressed for _, stressed in rows])
    if truth.all() or not truth.any():
        with pytest.raises(DataError, match="ranking cannot be scored"):
            auc(value, truth)
        return
    pairs = value[truth][:, None] - value[~truth][None]
    assert auc(value, truth) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert auc(value, truth) == pytest.approx(roc_auc_score(truth, value))
    assert auc(np.exp(value), truth) == auc(value, truth)
    assert auc(-value, truth) == pytest.approx(1.0 - auc(value, truth))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=30),
    st.integers(0, 5),
    st.sampled_from([0.5, 0.9, 0.25, 1.0, 0.0]),
)
def test_quantiles_are_numpys_and_infinite_where_they_touch_infinity(
    finite: list[int], missed: int, level: float
) -> None:
    values = np.array([*map(float, finite), *[np.inf] * missed])
    found = delay_quantile(values, level)
    # A value far above all others stands for infinity: what it raises is infinite.
    expected = np.quantile(np.where(np.isinf(values), 1e12, values), level)
    assert found == (np.inf if expected > 1e6 else pytest.approx(expected))


def test_more_than_half_missed_has_no_finite_median() -> None:
    assert delay_quantile(np.array([1.0, np.inf, np.inf]), 0.5) == np.inf
    assert delay_quantile(np.array([1.0, 2.0, np.inf]), 0.5) == 2.0


def test_switching_counts_changes_and_lengths() -> None:
    found = switching(np.array([0, 0, 1, 2, 2, 0, 0, 0]), bars_per_year=4.0)
    assert (found.bars, found.switches, found.median_spell_bars) == (8, 3, 2.0)
    assert found.switches_per_year == 1.5
    assert switching(np.ones(5), bars_per_year=252.0).switches == 0
    state = np.random.default_rng(0).integers(0, 3, 200)
    assert switching(state, bars_per_year=252.0).switches == shifts(state).sum()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="yes or no"):
        score_detection(np.array([0.2, 0.7]), bits("01"), bars_per_year=252.0)
    with pytest.raises(InputError, match="yes or no"):
        score_detection(np.array([np.nan, 1.0]), bits("01"), bars_per_year=252.0)
    with pytest.raises(InputError, match="fit together"):
        score_detection(bits("011"), bits("01"), bars_per_year=252.0)
    with pytest.raises(InputError, match="series of bars"):
        score_detection(bits(""), bits(""), bars_per_year=252.0)
    with pytest.raises(InputError, match="bars_per_year"):
        score_detection(bits("01"), bits("01"), bars_per_year=0.0)
    with pytest.raises(InputError, match="fit together"):
        auc(np.ones(3), bits("01"))
    with pytest.raises(DataError, match="NaN"):
        auc(np.array([np.nan, 1.0]), bits("01"))
    with pytest.raises(DataError, match="NaN"):
        switching(np.array([np.nan, 1.0]), bars_per_year=252.0)
    with pytest.raises(InputError, match="series of bars"):
        switching(np.array([]), bars_per_year=252.0)
