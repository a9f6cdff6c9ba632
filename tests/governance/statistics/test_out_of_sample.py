"""Joining the tests of folds, and what each period is charged to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from governance.check import Context, Skip
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.statistics.accounting import profit_and_loss
from governance.statistics.out_of_sample import join_signals, out_of_sample
from tests.planted.markets import regime_switching_bars
from tests.planted.skill import Scripted, closes_alone, memoryless_bars


@dataclass(frozen=True, eq=False)
class SaysTrainingLength(Scripted):
    """Position is the number of bars trained on, in thousandths."""

    def fit(self, bars: Bars, *, seed: int) -> SaysTrainingLength:
        return SaysTrainingLength(np.full(len(self.position), len(bars) / 1000.0))


def context_of(bars: Bars, *, delay: int = 1, cost: float = 10.0, folds: int = 3) -> Context:
    return Context(
        bars=bars,
        folds=anchored_folds(len(bars), first_test=len(bars) // 4, count=folds, gap=3),
        seed=5,
        cost_bps=cost,
        delay_bars=delay,
    )


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_every_bar_is_said_by_the_model_of_its_fold(delay: int) -> None:
    bars = memoryless_bars(1, 200)
    context = context_of(bars, delay=delay)
    tested = out_of_sample(SaysTrainingLength(np.zeros(200)), context)
    assert tested.bars.index.equals(bars.index[50:])
    for fold in context.folds:
        mine = tested.fold == fold.number
        assert mine.sum() == fold.test_end - fold.test_start
        assert (tested.signals.position[mine] == fold.train_end / 1000.0).all()
        # Earnings belong to the decision: what this fold decided is what was held.
        assert (tested.held[tested.of_fold(fold.number)] == fold.train_end / 1000.0).all()
    assert len(tested.net) == 150 - 1 - delay
    assert tested.index.equals(bars.index[50 + delay + 1 :])
    assert tested.opening == bars.index[50 + delay]


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_one_good_bar_is_earned_by_the_decision_before_it(delay: int) -> None:
    close = np.full(120, 100.0)
    close[80:] = 110.0  # the only move: from bar 79 to bar 80
    position = np.zeros(120)
    position[79 - delay] = 1.0
    tested = out_of_sample(Scripted(position), context_of(closes_alone(close), delay=delay))
    (row,) = np.flatnonzero(tested.gross).tolist()
    assert tested.gross[row] == pytest.approx(0.10)
    assert tested.index[row] == tested.bars.index[80 - 30]
    assert np.flatnonzero(tested.traded).tolist() == [row, row + 1]
    assert tested.net.sum() == pytest.approx(0.10 - 2 * 0.001)


def test_history_before_the_first_test_earns_nothing() -> None:
    bars = memoryless_bars(3, 160)
    position = np.where(np.arange(160) < 40, 1.0, 0.0)
    tested = out_of_sample(Scripted(position), context_of(bars))
    assert not tested.net.any()
    entered = out_of_sample(Scripted(np.ones(160)), context_of(bars))
    assert entered.traded[0] == 1.0  # the first entry is paid for


def test_one_fold_equals_accounting_on_the_test_alone() -> None:
    bars = regime_switching_bars(2, 600)
    context = context_of(bars, folds=1)
    fold = context.folds[0]
    trained = VolatilityRegime().fit(bars.rows(0, fold.train_end), seed=5)
    position = trained.signals(bars).position[fold.test_start :]
    moves = bars.close[fold.test_start + 1 :] / bars.close[fold.test_start : -1] - 1
    own = profit_and_loss(position, moves, cost_bps=10, delay_bars=1)
    tested = out_of_sample(VolatilityRegime(), context)
    assert np.array_equal(tested.net, own.net[1:])
    assert np.array_equal(tested.market, moves[1:])


def test_a_worse_regime_to_come_does_not_change_what_was_risk_off() -> None:
    bars = memoryless_bars(1, 200)
    regime = np.tile([0, 0, 0, 1, 1], 40)
    worse = regime.copy()
    worse[190:] = 3
    context = context_of(bars)
    plain = out_of_sample(Scripted(np.ones(200), regime=regime), context)
    altered = out_of_sample(Scripted(np.ones(200), regime=worse), context)
    assert np.array_equal(plain.off, regime[50:] == 1)
    assert np.array_equal(altered.off[:140], plain.off[:140])
    assert altered.off[140:].all()


def test_trips_are_onsets_and_none_without_a_switch() -> None:
    bars = memoryless_bars(1, 200)
    tripped = np.zeros(200, dtype=bool)
    tripped[[10, 11, 80, 81, 82, 150]] = True
    tested = out_of_sample(Scripted(np.zeros(200), tripped=tripped), context_of(bars))
    assert tested.trips is not None
    assert (np.flatnonzero(tested.trips) + 50).tolist() == [80, 150]
    assert out_of_sample(Scripted(np.zeros(200)), context_of(bars)).trips is None


def test_joined_signals_keep_the_fields_all_parts_have() -> None:
    index = memoryless_bars(1, 4).index
    one = Signals(index[:2], np.ones(2), regime=np.ones(2), latents=np.ones((2, 3)))
    two = Signals(index[2:], np.zeros(2), latents=np.ones((2, 3)))
    joined = join_signals([one, two])
    assert set(joined.arrays()) == {"position"}
    assert joined.index.equals(index)
    assert joined.position.tolist() == [1, 1, 0, 0]


def test_too_short_a_sample_is_skipped() -> None:
    with pytest.raises(Skip, match="fewer than 30"):
        out_of_sample(Scripted(np.ones(36)), context_of(memoryless_bars(1, 36)))
