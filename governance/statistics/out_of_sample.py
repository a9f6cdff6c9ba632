"""A subject's out-of-sample history: tests of all folds joined, traded with delay and cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.statistics.accounting import profit_and_loss
from governance.statistics.regimes import risk_off, shifts

MIN_PERIODS = 30


@dataclass(frozen=True, eq=False)
class OutOfSample:
    """What one subject said and earned on bars it was not trained on.

    Row j of the earnings belongs to the decision at bar j of ``bars``: it is held from bar
    j + delay to the bar after. Every decision was made by the model of the fold its bar lies in.

    Attributes
    ----------
    bars : Bars, t rows
        From the first test bar to the last.
    signals : Signals, t rows
    off : numpy.ndarray, shape (t,), bool
        Risk-off, see :func:`governance.statistics.regimes.risk_off`.
    fold : numpy.ndarray, shape (t,), int
        Number of the fold of each bar.
    trips : numpy.ndarray or None, shape (t,), bool
        Bars at which the kill switch latched; None if the subject has none.
    held, traded, gross, net : numpy.ndarray, shape (n,)
        Exposure, absolute change of exposure, returns on capital before and after costs.
    market : numpy.ndarray, shape (n,)
        Returns of the instrument over the same periods.
    delay_bars : int
    """

    bars: Bars
    signals: Signals
    off: np.ndarray
    fold: np.ndarray
    trips: np.ndarray | None
    held: np.ndarray
    traded: np.ndarray
    gross: np.ndarray
    net: np.ndarray
    market: np.ndarray
    delay_bars: int

    @property
    def index(self) -> pd.DatetimeIndex:
        """When each period's return was earned, shape (n,)."""
        return self.bars.index[self.delay_bars + 1 :]

    @property
    def opening(self) -> pd.Timestamp:
        """The close from which the first decision is held."""
        return self.bars.index[self.delay_bars]

    @property
    def state(self) -> np.ndarray:
        """Regime where the subject says one, else risk-off as 0 and 1; shape (t,)."""
        regime = self.signals.regime
        return self.off.astype(np.int64) if regime is None else regime

    def of_fold(self, number: int) -> np.ndarray:
        """Which rows of the earnings were decided in a fold, shape (n,), bool."""
        return self.fold[: len(self.net)] == number


def out_of_sample(subject: Subject, context: Context) -> OutOfSample:
    """Join the tests of all folds and trade them under the context's cost and delay.

    Raises
    ------
    Skip
        If fewer than 30 periods are earned.
    SubjectFault
        If the subject breaks its contract.
    """
    folds = context.folds
    bars = context.bars.rows(folds[0].test_start, folds[-1].test_end)
    periods = len(bars) - 1 - context.delay_bars
    if periods < MIN_PERIODS:
        raise Skip(f"{max(periods, 0)} out-of-sample periods are fewer than {MIN_PERIODS}")
    tests: list[Signals] = []
    off: list[np.ndarray] = []
    trips: list[np.ndarray] = []
    for fold in folds:
        trained = context.trained(subject, fold)
        replay = context.cache.signals(trained, context.bars.rows(0, fold.test_end))
        test = slice(fold.test_start, fold.test_end)
        tests.append(replay.rows(fold.test_start, fold.test_end))
        stressed = risk_off(
            replay, trained_rows=fold.train_end, warmup_bars=trained.card.warmup_bars
        )
        off.append(stressed[test])
        if replay.tripped is not None:
            trips.append((replay.tripped & shifts(replay.tripped))[test])
    signals = join_signals(tests)
    earned = profit_and_loss(
        signals.position, bars.returns(), cost_bps=context.cost_bps, delay_bars=context.delay_bars
    )
    executed = slice(context.delay_bars, None)
    return OutOfSample(
        bars=bars,
        signals=signals,
        off=np.concatenate(off),
        fold=np.concatenate([np.full(len(t), f.number) for f, t in zip(folds, tests, strict=True)]),
        trips=np.concatenate(trips) if len(trips) == len(folds) else None,
        held=earned.held[executed],
        traded=earned.traded[executed],
        gross=earned.gross[executed],
        net=earned.net[executed],
        market=bars.returns()[executed],
        delay_bars=context.delay_bars,
    )


def join_signals(parts: list[Signals]) -> Signals:
    """Signals one after another, with the fields that all parts have.

    Latents are left out: those of different fits do not share axes.
    """
    names = set.intersection(*(set(part.arrays()) for part in parts)) - {"latents"}
    index = pd.DatetimeIndex(parts[0].index.append([part.index for part in parts[1:]]))
    columns = {name: np.concatenate([p.arrays()[name] for p in parts]) for name in sorted(names)}
    return Signals(index, **columns)
