"""What a model holds when the market crashes, or is merely restless, after bars that it knows.

The past of every start is the record's own and is not altered; what follows is made of it: every
one of the last moves and its reverse, scaled, with or without a fall on top. A model that reads
nothing after the bar it answers can only answer the same until the paths part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.bars import Bars, Provenance
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context
from governance.observe import observe
from governance.replay import continued
from governance.shocks import slide
from governance.splits import Fold

_HELD = 0.5
"""Exposure counts as held above this share of what was held at the start, or of the largest."""


@dataclass(frozen=True)
class Probe:
    """The paths that follow each start.

    Attributes
    ----------
    bars : int
        Length of a path, even; its second half is judged, the first is time to answer.
    fall : float
        Of the price over the whole path in a crash; unrest has none.
    volatility_times : float
        Volatility of both paths, as a multiple of that of the training bars.
    history_bars : int
        Bars shown before a path, at least; more where the model's warm-up asks for them.
    """

    bars: int = 40
    fall: float = 0.3
    volatility_times: float = 3.0
    history_bars: int = 250

    def rows_before(self, model: Subject) -> int:
        """Bars shown before a path."""
        return max(self.history_bars, model.card.warmup_bars + 100, self.bars + 1)


@dataclass(frozen=True)
class Answer:
    """What was held in the judged half of both paths, as a share of what was held at the start.

    Attributes
    ----------
    row : int
        Of the start.
    in_unrest, in_crash : float
        Mean share.
    in_stated_stress : float
        Mean share over the bars of the crash at which the model itself says stress; NaN where it
        says it at less than half of them.
    """

    row: int
    in_unrest: float
    in_crash: float
    in_stated_stress: float

    @property
    def held(self) -> bool:
        """Whether most of the exposure was kept in the crash."""
        return self.in_crash > _HELD

    @property
    def says_stress(self) -> bool:
        """Whether the model called the crash stress."""
        return bool(np.isfinite(self.in_stated_stress))

    @property
    def held_in_stress(self) -> bool:
        """Whether it kept most of its exposure while it called the market stressed."""
        return self.says_stress and self.in_stated_stress > _HELD

    @property
    def leaves_unrest(self) -> bool:
        """Whether it gave most of its exposure up where the market was merely restless."""
        return self.in_unrest <= _HELD

    @property
    def bolder_in_crash(self) -> bool:
        """Whether it left unrest and held far more in a crash just as restless."""
        return self.leaves_unrest and self.in_crash >= self.in_unrest + _HELD


def crash_answers(
    subject: Subject, context: Context, probe: Probe, starts: int
) -> tuple[Answer, ...]:
    """Answers of every fold's model from starts in its own test.

    Starts are spread evenly over the bars at which the model holds at least half of the largest
    exposure of its training; there are none where it holds nothing.

    Parameters
    ----------
    subject : Subject
    context : Context
        Of daily bars.
    probe : Probe
    starts : int
        Over all folds, at most.

    Raises
    ------
    DataError
        If bars are not daily or too few.
    SubjectFault
        If a model breaks its contract.
    """
    each = -(-starts // len(context.folds))
    found: list[Answer] = []
    for fold in context.folds:
        found += _of_fold(context.trained(subject, fold), context, fold, probe, each)
    return tuple(found)


def _of_fold(
    model: Subject, context: Context, fold: Fold, probe: Probe, starts: int
) -> list[Answer]:
    said = context.cache.signals(model, context.bars.rows(0, fold.test_end))
    trained = slice(model.card.warmup_bars, fold.train_end)
    largest = float(said.position[trained].max(initial=0.0))
    before = probe.rows_before(model)
    rows = np.arange(max(fold.test_start, before - 1), fold.test_end)
    rows = rows[said.position[rows] >= max(_HELD * largest, 1e-9)]
    if not len(rows):
        return []
    chosen = rows[np.unique(np.linspace(0, len(rows) - 1, starts).astype(np.int64))]
    volatility = float(np.diff(np.log(context.bars.close[: fold.train_end])).std())
    worst = 1 if said.regime is None else max(int(said.regime[trained].max(initial=1)), 1)
    answers = []
    for row in chosen.tolist():
        history = context.bars.rows(row + 1 - before, row + 1)
        answers += _answer(model, history, row, probe, volatility * probe.volatility_times, worst)
    return answers


def _answer(
    model: Subject, history: Bars, row: int, probe: Probe, volatility: float, worst: int
) -> list[Answer]:
    """One answer; none where nothing is held at the start once the history is cut."""
    noise = _unrest(history.close, probe.bars, volatility)
    judged = slice(len(history) + probe.bars // 2, None)
    unrest, crash = (_shown(model, history, noise, fall) for fall in (0.0, probe.fall))
    start = float(crash.position[len(history) - 1])
    if start <= 0.0:
        return []
    held = crash.position[judged] / start
    stated = stressed(crash, worst)[judged]
    in_stress = float(held[stated].mean()) if 2 * stated.sum() >= len(stated) else np.nan
    return [
        Answer(row, float(unrest.position[judged].mean()) / start, float(held.mean()), in_stress)
    ]


def _unrest(close: np.ndarray, bars: int, volatility: float) -> np.ndarray:
    """Log returns up and down again by each of the last moves, shape (bars,).

    The price comes back after every second bar, so that unrest holds no fall but single moves.
    """
    moves = np.abs(np.diff(np.log(close)))[-(bars // 2) :]
    steps = np.ravel(np.column_stack([moves, -moves]))
    size = float(np.sqrt(np.mean(steps**2)))
    return steps * (volatility / size) if size > 0.0 else np.zeros(len(steps))


def _shown(model: Subject, history: Bars, noise: np.ndarray, fall: float) -> Signals:
    path = slide(fall, len(noise), noise)
    said = f"a fall of {fall:g} over {len(noise)} bars"
    return observe(model, continued(history, path, Provenance(said, kind="replay")))


def stressed(signals: Signals, worst: int) -> np.ndarray:
    """Bars at which a model says stress, shape (t,), bool: its worst regime, else the likelier.

    Parameters
    ----------
    signals : Signals
    worst : int
        Number of the most stressed regime in training, at least 1.
    """
    if signals.regime is not None:
        return np.asarray(signals.regime >= worst)
    if signals.stress_probability is not None:
        return np.asarray(signals.stress_probability > 0.5)
    return np.zeros(len(signals), dtype=bool)
