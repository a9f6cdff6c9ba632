"""Weak spots: one planted in a weekday is named; where none is, none is found as a rule."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from governance.challengers.hidden_markov import HiddenMarkov
from governance.check import Context, Skip
from governance.checks.weak_spots import WeakSpots
from governance.policy import load_policy
from governance.splits import anchored_folds
from tests.planted.clustered import garch_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, closes_alone, coin_flips


def context_of(bars: Bars) -> Context:
    folds = anchored_folds(len(bars), first_test=len(bars) // 4, count=3, gap=3)
    return Context(bars=bars, folds=folds, seed=5, cost_bps=0.0)


def loser_on_mondays(seed: int, n: int = 2400) -> tuple[Scripted, Bars]:
    """Long, but short into every Monday on which the market rises."""
    bars = garch_bars(seed, n)
    ahead = np.append(bars.returns()[1:], [0.0, 0.0])  # of the period two closes on
    mondays = np.append(bars.index[2:].day_of_week == 0, [False, False])
    position = np.where(mondays, -np.sign(ahead), 1.0)
    return Scripted(position), bars


@pytest.mark.parametrize("seed", range(5))
def test_a_model_that_loses_on_mondays_is_found(seed: int) -> None:
    subject, bars = loser_on_mondays(seed)
    found = measure(WeakSpots(draws=500), subject, context_of(bars))
    worst = found.find("weakest_probability")
    assert worst.note == "weekday: Monday"
    assert worst.value is not None
    assert worst.value < 0.01
    assert found.value("weakest_mean") < -20.0
    assert found.value("weakest_gap") < -20.0
    (table,) = found.exhibits
    assert table.columns[0].values[0] == "weekday: Monday"
    assert breached(found)


def breached(found: Measured) -> bool:
    findings = load_policy("baseline").judge(found.evidence).findings
    return any(one.check == "weak_spots" and one.verdict == "fail" for one in findings)


@pytest.mark.slow
def test_nulls_are_accused_no_more_often_than_stated() -> None:
    """Clustered, fat-tailed, skewed markets with one mean; held all the time or by coin."""
    said = []
    for seed in range(60):
        bars = garch_bars(seed, 900, freedom=5.0, leverage=0.8)
        always = Scripted(np.ones(900) - 1e-9 * np.arange(900))
        for subject in (always, coin_flips(seed, 900)):
            said.append(
                measure(WeakSpots(draws=300), subject, context_of(bars)).value(
                    "weakest_probability"
                )
            )
    assert np.mean(np.array(said) <= 0.05) <= 0.05


def test_a_sound_model_is_left_alone_and_the_same_seed_says_the_same() -> None:
    bars = garch_bars(7, 1200, mean=0.0004)
    twice = [
        measure(WeakSpots(draws=300), HiddenMarkov(starts=1), context_of(bars)) for _ in range(2)
    ]
    assert not breached(twice[0])
    assert twice[0].digests == twice[1].digests
    assert twice[0].value("slices") > 20


def test_nothing_earned_or_nothing_to_slice_is_not_assessed() -> None:
    bars = garch_bars(1, 400)
    with pytest.raises(Skip, match="never vary"):
        list(WeakSpots().measure(Scripted(np.zeros(400)), context_of(bars)))
    short = closes_alone(garch_bars(1, 100).close)
    with pytest.raises(Skip, match="no slice"):
        list(WeakSpots(least_periods=60).measure(Scripted(np.ones(100)), context_of(short)))


@pytest.mark.parametrize("wrong", [{"least_periods": 5}, {"draws": 10}])
def test_impossible_parameters_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError):
        WeakSpots(**wrong)
