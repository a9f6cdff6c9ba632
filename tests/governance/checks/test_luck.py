"""Luck of the timing: silent for coins, loud for a seer, absent where nothing is timed."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from governance.challengers.buy_and_hold import BuyAndHold
from governance.check import Context, Skip
from governance.checks.luck import Luck
from governance.record import Exhibit
from governance.splits import anchored_folds
from tests.planted.measurements import measure
from tests.planted.skill import Scripted, coin_flips, memoryless_bars, seer


def context_of(bars: Bars, cost: float = 5.0) -> Context:
    folds = anchored_folds(len(bars), first_test=len(bars) // 4, count=3, gap=3)
    return Context(bars=bars, folds=folds, seed=5, cost_bps=cost)


def probability(subject: Scripted, bars: Bars) -> float:
    found = measure(Luck(shifts=300), subject, context_of(bars))
    return found.value("shift_probability")


def test_a_seer_is_no_luck() -> None:
    bars = memoryless_bars(1, 900)
    found = measure(Luck(shifts=300), seer(bars, steps=2), context_of(bars))
    assert found.value("shift_probability") == pytest.approx(1 / 301)
    assert found.value("sharpe_over_shifts") > 5.0


def test_coins_are_called_timing_as_often_as_the_level_says() -> None:
    said = [probability(coin_flips(n, 600), memoryless_bars(n + 1000, 600)) for n in range(120)]
    assert np.mean(np.array(said) <= 0.05) < 0.12
    assert np.mean(said) == pytest.approx(0.5, abs=0.09)


def test_what_is_never_timed_is_not_assessed() -> None:
    bars = memoryless_bars(2, 600)
    with pytest.raises(Skip, match="exposure never changes"):
        list(Luck().measure(BuyAndHold(), context_of(bars)))


def test_the_picture_shows_all_shifts() -> None:
    bars = memoryless_bars(3, 600)
    items = list(Luck(shifts=100).measure(coin_flips(3, 600), context_of(bars)))
    (exhibit,) = (item for item in items if isinstance(item, Exhibit))
    ratios = exhibit.columns[0].values
    assert list(ratios) == sorted(ratios)
    assert len(ratios) == 101


@pytest.mark.parametrize("shifts", [99, 100_001])
def test_impossible_parameters_are_refused(shifts: int) -> None:
    with pytest.raises(InputError):
        Luck(shifts=shifts)
