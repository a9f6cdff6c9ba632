"""From which score on to raise the alarm: chosen on labelled training paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.kpis import positive

Aim = Literal["balanced_accuracy", "false_onsets"]


@dataclass(frozen=True)
class Threshold:
    """A threshold and what it reached where it was chosen.

    Attributes
    ----------
    value : float
        The alarm is on where the score is at least this; infinite if it never is.
    aim : {"balanced_accuracy", "false_onsets"}
    balanced_accuracy : float
    false_onsets : int
    calm_bars, stressed_bars : int
    false_onsets_per_year : float
        In a year of calm bars.
    candidates : int
        Thresholds compared.
    """

    value: float
    aim: Aim
    balanced_accuracy: float
    false_onsets: int
    calm_bars: int
    stressed_bars: int
    false_onsets_per_year: float
    candidates: int

    def alarm(self, score: np.ndarray) -> np.ndarray:
        """Where the alarm is on, of the shape of the scores, bool."""
        return np.asarray(score) >= self.value


def tune_threshold(
    score: np.ndarray,
    stressed: np.ndarray,
    *,
    aim: Aim,
    bars_per_year: float,
    false_onsets_per_year: float = 1.0,
) -> Threshold:
    """The best threshold on training paths.

    Every distinct score is compared, and no alarm at all, exactly. The aim "balanced_accuracy"
    takes the most balanced accuracy. "false_onsets" lowers the threshold from the strictest on as
    long as false onsets stay within the budget, and stops before the first that does not: still
    lower ones may have few onsets again, but because the alarm is hardly ever off. Of equals the
    strictest is taken.

    Parameters
    ----------
    score : numpy.ndarray, shape (t,) or (p, t)
        Higher says stress; training bars only, one row per path.
    stressed : numpy.ndarray, bool, of the same shape
    aim : {"balanced_accuracy", "false_onsets"}
    bars_per_year : float
    false_onsets_per_year : float
        The budget, in a year of calm bars.

    Raises
    ------
    InputError
        If shapes do not fit or a parameter is out of range.
    DataError
        If a score is not finite, the scores never vary, or stressed or calm bars are missing.

    Examples
    --------
    >>> found = tune_threshold(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1]),
    ...                        aim="balanced_accuracy", bars_per_year=252)
    >>> found.value, found.balanced_accuracy
    (0.8, 1.0)
    """
    value, truth = _paths(score, stressed)
    if aim not in ("balanced_accuracy", "false_onsets"):
        raise InputError("unknown aim", expected="balanced_accuracy or false_onsets", got=repr(aim))
    budget = positive("false_onsets_per_year", false_onsets_per_year)
    candidates = np.append(np.unique(value), np.inf)[::-1]
    caught = _at_least(value[truth], candidates) / truth.sum()
    flagged = _at_least(value[~truth], candidates) / (~truth).sum()
    balanced = (caught + 1.0 - flagged) / 2
    onsets = _onsets(value, truth, candidates)
    rate = onsets / (int((~truth).sum()) / positive("bars_per_year", bars_per_year))
    if aim == "balanced_accuracy":
        best = int(np.argmax(balanced))
    else:
        over = rate > budget
        best = int(np.argmax(over)) - 1 if over.any() else int(np.argmax(balanced))
    return Threshold(
        value=float(candidates[best]),
        aim=aim,
        balanced_accuracy=float(balanced[best]),
        false_onsets=int(onsets[best]),
        calm_bars=int((~truth).sum()),
        stressed_bars=int(truth.sum()),
        false_onsets_per_year=float(rate[best]),
        candidates=len(candidates),
    )


def _paths(score: np.ndarray, stressed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value = np.atleast_2d(np.asarray(score, dtype=np.float64))
    truth = np.atleast_2d(np.asarray(stressed))
    if value.ndim != 2 or value.shape != truth.shape or not np.isin(truth, (0, 1)).all():
        raise InputError(
            "scores and labels do not fit together",
            expected="a label of yes or no for every score, one row per path",
            got=f"{value.shape} and {truth.shape}",
        )
    truth = truth.astype(bool)
    if not np.isfinite(value).all():
        raise DataError("scores must be finite")
    if truth.all() or not truth.any() or value.min() == value.max():
        raise DataError(
            "a threshold cannot be chosen",
            expected="stressed and calm bars, and scores that vary",
            got=f"{int(truth.sum())} stressed of {truth.size} bars",
            remedy="train on longer paths",
        )
    return value, truth


def _at_least(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values reach each threshold."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="left")


def _onsets(value: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """False onsets at each threshold: calm bars that reach it while the bar before does not."""
    before, now = value[:, :-1], value[:, 1:]
    rises = (now > before) & ~truth[:, 1:]
    return _at_least(now[rises], thresholds) - _at_least(before[rises], thresholds)
