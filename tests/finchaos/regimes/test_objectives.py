"""What a debounce is tuned for: by hand, by the backtest's one pass, by a slow join of spells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import score_detection
from finchaos.regimes.objectives import (
    BalancedAccuracy,
    DelayAtBudget,
    PenalisedSharpe,
    Stability,
    lasting,
)
from finchaos.trading.figures import backtest_figures


def bits(text: str) -> np.ndarray:
    return np.array([mark == "1" for mark in text])


TRUTH, ALARM = bits("0011100011110000"), bits("0100110000110100")


def test_balanced_accuracy_is_that_of_the_kpis() -> None:
    found = BalancedAccuracy(TRUTH).score(ALARM, ALARM, 8.0)
    expected = score_detection(ALARM, TRUTH, bars_per_year=8.0)
    assert found.merit == expected.balanced_accuracy
    assert found.figures["false_onsets_per_year"] == expected.false_onsets_per_year


def test_delay_counts_the_share_of_each_spell_lost() -> None:
    # Two bars of three are lost, then two of four; onsets in calm at 1 and 13 in 9/8 of a year.
    found = DelayAtBudget(TRUTH, 2.0, 0.4).score(ALARM, ALARM, 8.0)
    assert found.merit == pytest.approx(-(2 / 3 + 2 / 4) / 2)
    assert found.figures["false_onsets_per_year"] == pytest.approx(2 * 8 / 9)
    assert found.figures["calm_share_flagged"] == 3 / 9
    assert DelayAtBudget(TRUTH, 1.0, 0.4).score(ALARM, ALARM, 8.0).merit == -np.inf
    assert DelayAtBudget(TRUTH, 2.0, 0.3).score(ALARM, ALARM, 8.0).merit == -np.inf
    never = DelayAtBudget(TRUTH).score(ALARM & False, ALARM, 8.0)
    assert never.merit == -1.0
    assert never.figures["median_delay"] == np.inf


@pytest.mark.parametrize("delay", [0, 1, 3])
@pytest.mark.parametrize("cost", [0.0, 10.0])
def test_earnings_are_those_of_the_backtest(delay: int, cost: float) -> None:
    rng = np.random.default_rng(delay)
    close = 100.0 * np.exp(np.cumsum(0.01 * rng.normal(size=300)))
    stressed = np.repeat(rng.random(60) < 0.4, 5)
    aim = PenalisedSharpe(close, delay_bars=delay, cost_bps=cost, penalty=0.1)
    found = aim.score(stressed, stressed, 252.0)
    oracle = backtest_figures(
        1.0 - stressed, close, cost_bps=cost, delay_bars=delay, bars_per_year=252.0
    )
    assert found.figures["sharpe"] == pytest.approx(oracle.sharpe, rel=1e-9)
    assert found.figures["turnover"] == pytest.approx(oracle.turnover, rel=1e-12)
    assert found.figures["exposure"] == pytest.approx(oracle.exposure, rel=1e-12)
    assert found.merit == pytest.approx(oracle.sharpe - 0.1 * oracle.turnover, rel=1e-9)


def test_never_invested_earns_nothing() -> None:
    close = np.array([1.0, 2.0, 1.5, 3.0])
    assert PenalisedSharpe(close).score(bits("1111"), bits("1111"), 252.0).merit == 0.0


def joined(flag: list[bool], least: int) -> list[bool]:
    """The same by looking for the shortest run anew each time."""
    state = list(flag)
    while True:
        spans, start = [], 0
        for i in range(1, len(state) + 1):
            if i == len(state) or state[i] != state[start]:
                spans.append((i - start, start))
                start = i
        if len(spans) < 2:
            return state
        length, start = min(spans)
        if length >= least:
            return state
        for i in range(start, start + length):
            state[i] = not state[i]


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(2, 8))
def test_lasting_spells_are_those_of_the_slow_join(flag: list[bool], least: int) -> None:
    found = lasting(np.array(flag), least)
    assert found.tolist() == joined(flag, least)
    edges = np.flatnonzero(found[1:] != found[:-1]) + 1
    lengths = np.diff([0, *edges, len(found)])
    assert len(lengths) == 1 or lengths.min() >= least


def test_stability_prefers_the_filter_that_passes_what_lasts() -> None:
    raw = bits("0" * 20 + "010" + "0" * 17 + "1" * 40 + "0" * 20)
    aim = Stability(5)
    ideal = lasting(raw, 5)
    late = np.concatenate([np.zeros(12, dtype=bool), ideal[:-12]])
    best, raw_score, slow = (aim.score(x, raw, 252.0).merit for x in (ideal, raw, late))
    assert best == 1.0
    assert best > raw_score > slow
    with pytest.raises(DataError, match="one lasting state"):
        aim.score(raw, bits("0" * 10 + "1" + "0" * 10), 252.0)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="stressed and calm"):
        BalancedAccuracy(TRUTH).check(16, 2)
    with pytest.raises(InputError, match="labels and states"):
        BalancedAccuracy(TRUTH).check(15, 10)
    with pytest.raises(InputError, match="labels and states"):
        DelayAtBudget(0.5 * TRUTH).check(16, 10)
    with pytest.raises(InputError, match="false_onsets_per_year"):
        DelayAtBudget(TRUTH, 0.0)
    with pytest.raises(InputError, match="calm_share_flagged"):
        DelayAtBudget(TRUTH, calm_share_flagged=1.0)
    with pytest.raises(InputError, match="impossible objective"):
        PenalisedSharpe(np.ones(3), cost_bps=-1.0)
    with pytest.raises(InputError, match="closes and states"):
        PenalisedSharpe(np.ones(3)).check(4, 2)
    for wrong in (np.ones(4), np.array([1.0, np.nan, 1, 1]), np.array([1.0, 0, 1, 1])):
        with pytest.raises(DataError, match="positive and vary"):
            PenalisedSharpe(wrong).check(4, 3)
    with pytest.raises(InputError, match="least_spell_bars"):
        Stability(1)
    with pytest.raises(DataError, match="shorter than two spells"):
        Stability(10).check(100, 19)
