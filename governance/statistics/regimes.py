"""How a regime signal did against falls of the market that are dated in hindsight.

The reference episodes are found with knowledge of the whole sample. They serve to score signals
that were made without it, and nothing else may use them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals


@dataclass(frozen=True)
class Episode:
    """A fall of the market, by rows.

    Attributes
    ----------
    peak, trough : int
        Rows of the highest close before the fall and of the lowest in it.
    end : int
        Row at which the fall was seen to be over, or the last row.
    depth : float
        Return from peak to trough, negative.
    open : bool
        Not over by the last row: the trough is the lowest so far.
    """

    peak: int
    trough: int
    end: int
    depth: float
    open: bool = False


def falls(close: np.ndarray, *, fall: float = 0.10, rebound: float = 0.20) -> tuple[Episode, ...]:
    """Peak-to-trough falls of at least ``fall``, dated in hindsight.

    A fall is over once the close is back at its peak or has risen by ``rebound`` from its
    lowest; the next peak is sought from there on. The last fall may still be open. Of equal highs
    the last one is the peak.

    Parameters
    ----------
    close : numpy.ndarray, shape (t,)
    fall, rebound : float
        Fractions: 0.10 is ten per cent.

    References
    ----------
    Lunde & Timmermann, Duration dependence in stock prices, Journal of Business & Economic
    Statistics 22(3), 2004, section 2 (the 20/10 filter).

    Examples
    --------
    >>> [(e.peak, e.trough) for e in falls(np.array([100.0, 110, 95, 90, 99, 112]))]
    [(1, 3)]
    """
    if not (0.0 < fall < 1.0 and rebound > 0.0):
        raise InputError(
            "falls need 0 < fall < 1 and rebound > 0", got=f"fall {fall}, rebound {rebound}"
        )
    found: list[Episode] = []
    peak = trough = 0
    for row, price in enumerate(close):
        deep = close[trough] <= close[peak] * (1.0 - fall)
        if deep and (price >= close[peak] or price >= close[trough] * (1.0 + rebound)):
            found.append(_episode(close, peak, trough, row))
            # No close since the trough is above this one: it was the first to pass the limit.
            peak = trough = row
        elif price >= close[peak]:
            peak = trough = row
        elif price < close[trough]:
            trough = row
    if len(close) and close[trough] <= close[peak] * (1.0 - fall):
        found.append(_episode(close, peak, trough, len(close) - 1, still=True))
    return tuple(found)


def _episode(
    close: np.ndarray, peak: int, trough: int, end: int, *, still: bool = False
) -> Episode:
    return Episode(peak, trough, end, float(close[trough] / close[peak] - 1.0), still)


def risk_off(signals: Signals, *, trained_rows: int, warmup_bars: int = 0) -> np.ndarray:
    """Rows in which a subject signals stress, shape (t,), bool.

    Where it says regimes, as issued (after any debouncing), those at least as stressed as the
    worst of its training rows, and never the calmest; otherwise an exposure of at most half the
    largest one it took while training. Never in its warm-up. What counts as stress is settled by
    the training rows: later ones cannot change it.

    Parameters
    ----------
    signals : Signals
        Everything the trained subject says from the first bar on.
    trained_rows : int
        Rows it was trained on.
    warmup_bars : int
    """
    awake = np.arange(len(signals)) >= warmup_bars
    training = awake & (np.arange(len(signals)) < trained_rows)
    if signals.regime is not None:
        worst = int(signals.regime[training].max(initial=1))
        return awake & (signals.regime >= worst)
    largest = float(signals.position[training].max(initial=0.0))
    return awake & (signals.position <= 0.5 * largest) & (largest > 0.0)


@dataclass(frozen=True, eq=False)
class Alarms:
    """A risk-off signal scored against episodes.

    Attributes
    ----------
    detection_days : numpy.ndarray, shape (episodes,)
        Calendar days from the peak to the first risk-off row up to the trough; 0 if already off
        at the peak, infinite if never off.
    clearing_days : numpy.ndarray, shape (episodes off at their trough,)
        Calendar days from the trough to the first row that is no longer off; infinite if none.
        An open fall after which it is still off is left out: the sample ends too early to say.
    outside : numpy.ndarray, shape (t,), bool
        Rows in no fall from peak to trough.
    false_onsets : numpy.ndarray, shape (t,), bool
        Rows outside at which the signal switched to risk-off.
    """

    detection_days: np.ndarray
    clearing_days: np.ndarray
    outside: np.ndarray
    false_onsets: np.ndarray


def score_alarms(off: np.ndarray, episodes: tuple[Episode, ...], index: pd.DatetimeIndex) -> Alarms:
    """Score a risk-off signal.

    Parameters
    ----------
    off : numpy.ndarray, shape (t,), bool
    episodes : tuple of Episode
    index : pandas.DatetimeIndex, shape (t,)
    """
    if len(off) != len(index):
        raise InputError("signal and time stamps must have one length")
    off = np.asarray(off, dtype=bool)
    outside = np.ones(len(off), dtype=bool)
    detection, clearing = [], []
    for episode in episodes:
        outside[episode.peak : episode.trough + 1] = False
        first = _first(off[episode.peak : episode.trough + 1])
        detection.append(_days(index, episode.peak, first))
        clear = _first(~off[episode.trough :])
        if off[episode.trough] and not (episode.open and clear is None):
            clearing.append(_days(index, episode.trough, clear))
    return Alarms(np.array(detection), np.array(clearing), outside, off & shifts(off) & outside)


def _first(flags: np.ndarray) -> int | None:
    return int(np.argmax(flags)) if flags.any() else None


def _days(index: pd.DatetimeIndex, start: int, steps: int | None) -> float:
    if steps is None:
        return float("inf")
    return (index[start + steps] - index[start]) / pd.Timedelta(days=1)


def shifts(state: np.ndarray) -> np.ndarray:
    """Rows at which a state differs from the row before, shape (t,), bool; the first never."""
    state = np.asarray(state)
    return np.concatenate([[False], state[1:] != state[:-1]])


def flickers(state: np.ndarray, within_bars: int) -> np.ndarray:
    """Shifts that are undone: the state before them is back within ``within_bars`` bars.

    Examples
    --------
    >>> flickers(np.array([0, 0, 1, 0, 0, 0]), 5).nonzero()[0].tolist()
    [2]
    """
    state = np.asarray(state)
    undone = np.zeros(len(state), dtype=bool)
    for row in np.flatnonzero(shifts(state)):
        undone[row] = bool((state[row + 1 : row + 1 + within_bars] == state[row - 1]).any())
    return undone


def below_high(close: np.ndarray, depth: float) -> np.ndarray:
    """Rows whose close is at least ``depth`` below the highest so far, shape (t,), bool; causal."""
    return np.asarray(close <= np.maximum.accumulate(close) * (1.0 - depth))
