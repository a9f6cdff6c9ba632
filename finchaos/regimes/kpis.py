"""How well an alarm found stress whose dates are known, bar by bar.

The labels are the truth of a simulator. On real data, where there is none, see
:mod:`finchaos.regimes.events`.

A spell is a run of stressed bars. It is detected at the first of its bars on which the alarm is on,
with a delay counted from its first bar: 0 if the alarm was on already. A spell on which the alarm
is never on is missed, with an infinite delay. A false onset is a calm bar on which the alarm goes
on; its first bar is none, as what came before is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from finchaos.core.errors import DataError, InputError


@dataclass(frozen=True, eq=False)
class Detection:
    """An alarm scored against known stress, with the counts that intervals are made from.

    Attributes
    ----------
    delays : numpy.ndarray, shape (s,)
        Bars from the first bar of each spell to the alarm; infinite if missed.
    clearings : numpy.ndarray, shape (c,)
        Bars from the first calm bar after a spell to the first without alarm: of each spell at
        whose last bar the alarm was on. 0 if it went off at once, infinite if the next spell came
        first; left out if the sample ends before it went off.
    already_on : int
        Spells at whose first bar the alarm was on since an earlier one.
    unsettled : int
        Clearings left out.
    stressed_bars, stressed_flagged : int
        Bars of stress, and those of them with an alarm.
    calm_bars, calm_flagged : int
        The same of calm bars.
    false_onsets : int
        Calm bars on which the alarm went on.
    bars_per_year : float
    """

    delays: np.ndarray
    clearings: np.ndarray
    already_on: int
    unsettled: int
    stressed_bars: int
    stressed_flagged: int
    calm_bars: int
    calm_flagged: int
    false_onsets: int
    bars_per_year: float

    @property
    def spells(self) -> int:
        """Spells of stress."""
        return len(self.delays)

    @property
    def detected(self) -> int:
        """Spells on which the alarm was on at some bar."""
        return int(np.isfinite(self.delays).sum())

    @property
    def missed(self) -> int:
        """Spells without any alarm."""
        return self.spells - self.detected

    @property
    def detected_share(self) -> float:
        """Share of spells detected; NaN without spells."""
        return _share(self.detected, self.spells)

    @property
    def median_delay(self) -> float:
        """Median bars to detection; infinite if that many were missed, NaN without spells."""
        return delay_quantile(self.delays, 0.5)

    @property
    def p90_delay(self) -> float:
        """90th percentile of the bars to detection."""
        return delay_quantile(self.delays, 0.9)

    @property
    def median_clearing(self) -> float:
        """Median bars to clear."""
        return delay_quantile(self.clearings, 0.5)

    @property
    def calm_years(self) -> float:
        """Calm bars in years."""
        return self.calm_bars / self.bars_per_year

    @property
    def false_onsets_per_year(self) -> float:
        """False onsets in a year of calm bars; NaN without calm bars."""
        return _share(self.false_onsets, self.calm_years)

    @property
    def calm_share_flagged(self) -> float:
        """Share of calm bars with an alarm."""
        return _share(self.calm_flagged, self.calm_bars)

    @property
    def accuracy(self) -> float:
        """Share of bars called rightly; says little where one kind is rare."""
        right = self.stressed_flagged + self.calm_bars - self.calm_flagged
        return _share(right, self.stressed_bars + self.calm_bars)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of the shares of stressed and of calm bars called rightly; NaN without either."""
        caught = _share(self.stressed_flagged, self.stressed_bars)
        return (caught + 1.0 - self.calm_share_flagged) / 2


def score_detection(alarm: np.ndarray, stressed: np.ndarray, *, bars_per_year: float) -> Detection:
    """Score one path.

    Parameters
    ----------
    alarm, stressed : numpy.ndarray, shape (t,), bool
        Whether the alarm was on after each bar, and whether the bar was one of stress.
    bars_per_year : float

    Raises
    ------
    InputError
        If shapes do not fit, a series is not of yes and no, or there are no bars.

    Examples
    --------
    >>> truth = np.array([0, 0, 1, 1, 1, 0, 0, 0], dtype=bool)
    >>> alarm = np.array([0, 1, 0, 1, 1, 1, 0, 0], dtype=bool)
    >>> found = score_detection(alarm, truth, bars_per_year=252)
    >>> found.delays.tolist(), found.clearings.tolist(), found.false_onsets
    ([1.0], [1.0], 1)
    """
    on, truth = flags("alarm", alarm), flags("stressed", stressed)
    if on.shape != truth.shape:
        raise InputError(
            "alarm and labels do not fit together",
            expected=f"{len(truth)} bars",
            got=f"{len(on)} alarms",
        )
    starts, ends = runs(truth)
    delays = [first_true(on[start:end]) for start, end in zip(starts, ends, strict=True)]
    clearings, unsettled = _clearings(on, starts, ends)
    return Detection(
        delays=np.array(delays, dtype=np.float64),
        clearings=clearings,
        already_on=int((on[starts - 1] & on[starts] & (starts > 0)).sum()),
        unsettled=unsettled,
        stressed_bars=int(truth.sum()),
        stressed_flagged=int((on & truth).sum()),
        calm_bars=int((~truth).sum()),
        calm_flagged=int((on & ~truth).sum()),
        false_onsets=int((onsets(on) & ~truth).sum()),
        bars_per_year=positive("bars_per_year", bars_per_year),
    )


def pooled(scores: Sequence[Detection]) -> Detection:
    """Several paths as one: spells and bars put together, so that long paths count for more.

    Raises
    ------
    InputError
        If there are none, or their years are not equally long.
    """
    if not scores or len({score.bars_per_year for score in scores}) != 1:
        raise InputError(
            "scores cannot be pooled", expected="one or more with the same bars_per_year"
        )
    return Detection(
        delays=np.concatenate([score.delays for score in scores]),
        clearings=np.concatenate([score.clearings for score in scores]),
        already_on=sum(score.already_on for score in scores),
        unsettled=sum(score.unsettled for score in scores),
        stressed_bars=sum(score.stressed_bars for score in scores),
        stressed_flagged=sum(score.stressed_flagged for score in scores),
        calm_bars=sum(score.calm_bars for score in scores),
        calm_flagged=sum(score.calm_flagged for score in scores),
        false_onsets=sum(score.false_onsets for score in scores),
        bars_per_year=scores[0].bars_per_year,
    )


def auc(score: np.ndarray, stressed: np.ndarray) -> float:
    """Area under the receiver operating characteristic.

    The share of pairs of a stressed and a calm bar in which the stressed one scores higher, a tie
    counting half: the rank-sum statistic of Mann and Whitney over the number of pairs.

    Parameters
    ----------
    score : numpy.ndarray, shape (t,)
        Higher says stress; infinite values are allowed, NaN is not.
    stressed : numpy.ndarray, shape (t,), bool

    Raises
    ------
    DataError
        If there are no stressed or no calm bars, or a score is NaN.

    References
    ----------
    Hanley & McNeil, The Meaning and Use of the Area under a ROC Curve, Radiology 143(1), 1982.

    Examples
    --------
    >>> auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    value, truth = np.asarray(score, dtype=np.float64), flags("stressed", stressed)
    if value.shape != truth.shape:
        raise InputError(
            "scores and labels do not fit together", expected=str(truth.shape), got=str(value.shape)
        )
    high, low = int(truth.sum()), int((~truth).sum())
    if not (high and low) or np.isnan(value).any():
        raise DataError(
            "a ranking cannot be scored",
            expected="stressed and calm bars, and a score for each",
            got=f"{high} stressed, {low} calm, {int(np.isnan(value).sum())} NaN",
        )
    above = rankdata(value)[truth].sum() - high * (high + 1) / 2
    return float(above / (high * low))


@dataclass(frozen=True)
class Switching:
    """How often a state changes: the flicker of a signal.

    Attributes
    ----------
    bars, switches : int
        Bars seen, and bars whose state differs from the one before.
    median_spell_bars : float
        Median length of the runs of one state, the first and the last included although they are
        cut off by the sample.
    bars_per_year : float
    """

    bars: int
    switches: int
    median_spell_bars: float
    bars_per_year: float

    @property
    def switches_per_year(self) -> float:
        """Switches in a year."""
        return self.switches * self.bars_per_year / self.bars


def switching(state: np.ndarray, *, bars_per_year: float) -> Switching:
    """Switches of a state and the length of its spells.

    Parameters
    ----------
    state : numpy.ndarray, shape (t,)
        Labels or flags.
    bars_per_year : float

    Examples
    --------
    >>> switching(np.array([0, 0, 1, 0, 0, 0]), bars_per_year=252)
    Switching(bars=6, switches=2, median_spell_bars=2.0, bars_per_year=252)
    """
    values = np.asarray(state)
    if values.ndim != 1 or not len(values):
        raise InputError("a state must be a series of bars", got=f"shape {values.shape}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise DataError("a state must not be NaN", got=f"{int(np.isnan(values).sum())} NaN")
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [len(values)]]))
    return Switching(
        len(values), len(edges), float(np.median(lengths)), positive("bars_per_year", bars_per_year)
    )


def delay_quantile(delays: np.ndarray, level: float) -> float:
    """Quantile, linear between order statistics, of values some of which are infinite.

    Infinite where one of the two order statistics it lies between is; NaN without any.

    Examples
    --------
    >>> delay_quantile(np.array([3.0, 5.0, np.inf]), 0.5)
    5.0
    >>> delay_quantile(np.array([3.0, np.inf]), 0.5)
    inf
    """
    ordered = np.sort(np.asarray(delays, dtype=np.float64))
    if not len(ordered):
        return float("nan")
    place = level * (len(ordered) - 1)
    low = int(np.floor(place + 1e-9))
    part = max(place - low, 0.0)
    if part < 1e-9:
        return float(ordered[low])
    if np.isinf(ordered[low + 1]):
        return float("inf")
    return float(ordered[low] + part * (ordered[low + 1] - ordered[low]))


def runs(flag: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First rows, and rows after the last, of the runs of true, each of shape (s,).

    Examples
    --------
    >>> [edge.tolist() for edge in runs(np.array([True, False, True, True]))]
    [[0, 2], [1, 4]]
    """
    padded = np.concatenate([[False], flag, [False]]).astype(np.int8)
    change = np.diff(padded)
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def onsets(flag: np.ndarray) -> np.ndarray:
    """Rows that are on while the row before is off, of the same shape; the first is none."""
    went_on = np.zeros_like(flag)
    went_on[1:] = flag[1:] & ~flag[:-1]
    return went_on


def first_true(flag: np.ndarray) -> float:
    """Place of the first true value, or infinite."""
    return float(np.argmax(flag)) if flag.any() else float("inf")


def flags(name: str, values: np.ndarray) -> np.ndarray:
    """A series of yes and no as bool; 0 and 1 are taken as such."""
    array = np.asarray(values)
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name} must be a series of bars", got=f"shape {array.shape}")
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise InputError(
            f"{name} must say yes or no for every bar",
            expected="bool, or 0 and 1",
            got=f"{array.dtype} with other values",
            remedy="compare a probability with a threshold first",
        )
    return array.astype(bool)


def positive(name: str, value: float) -> float:
    """The value, if it is finite and above 0."""
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{name} must be positive", got=repr(value))
    return value


def _clearings(on: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, int]:
    """Bars to clear after each spell that ends with an alarm, and how many are not settled."""
    cleared, unsettled = [], 0
    for spell, end in enumerate(ends):
        if not on[end - 1]:
            continue
        last = spell + 1 == len(starts)
        waited = first_true(~on[end : None if last else starts[spell + 1]])
        if last and np.isinf(waited):
            unsettled += 1
        else:
            cleared.append(waited)
    return np.array(cleared, dtype=np.float64), unsettled


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
