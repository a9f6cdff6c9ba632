"""Debouncing: a regime changes only when enough bars in a row say so."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numba import njit

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class FilterRule:
    """How many bars must agree.

    Attributes
    ----------
    entry_bars : int
        Consecutive bars that confirm a rise of stress.
    exit_bars : int
        Consecutive bars that confirm a fall.
    """

    entry_bars: int = 3
    exit_bars: int = 5

    def __post_init__(self) -> None:
        if min(self.entry_bars, self.exit_bars) < 1:
            raise InputError(
                "a regime filter needs at least one bar to confirm a change", got=repr(self)
            )


class RegimeFilter:
    """A value that follows its input only as far as enough bars in a row confirm.

    It rises to the smallest of the last ``entry_bars`` values and falls to the largest of the last
    ``exit_bars``: what all of them reach. On labels this is the usual count of confirmations; on
    probabilities it is the same rule at every threshold at once, as it commutes with any rising
    map. So a debounced probability and a debounced label never contradict each other.

    Parameters
    ----------
    rule : FilterRule
    initial : float
        The value before anything is confirmed.

    Examples
    --------
    >>> live = RegimeFilter(FilterRule(entry_bars=2, exit_bars=3))
    >>> [live.step(label) for label in (1, 0, 1, 1, 0, 0, 0)]
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    """

    def __init__(self, rule: FilterRule, initial: float = 0.0) -> None:
        self.rule = rule
        self.value = float(initial)
        self._recent: deque[float] = deque(maxlen=max(rule.entry_bars, rule.exit_bars))

    def step(self, value: float) -> float:
        """Take the next value and return the confirmed one."""
        recent = self._recent
        recent.append(float(value))
        seen = len(recent)
        if seen >= self.rule.entry_bars:
            reached = min(recent[i] for i in range(seen - self.rule.entry_bars, seen))
            self.value = max(self.value, reached)
        if seen >= self.rule.exit_bars:
            left = max(recent[i] for i in range(seen - self.rule.exit_bars, seen))
            self.value = min(self.value, left)
        return self.value


def debounce(values: np.ndarray, rule: FilterRule, initial: float = 0.0) -> np.ndarray:
    """What :class:`RegimeFilter` says after each of many values, bit for bit, shape (t,).

    Parameters
    ----------
    values : numpy.ndarray, shape (t,)
        Labels or probabilities without NaN.
    rule : FilterRule
    initial : float
        The value before anything is confirmed.

    Raises
    ------
    InputError
        If the values are no series or one is NaN.

    Examples
    --------
    >>> debounce(np.array([1, 0, 1, 1, 0, 0, 0]), FilterRule(2, 3)).tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    """
    series = np.ascontiguousarray(values, dtype=np.float64)
    if series.ndim != 1 or np.isnan(series).any():
        raise InputError(
            "only a series without NaN can be debounced",
            got=f"shape {series.shape}, {int(np.isnan(series).sum())} NaN",
        )
    return np.asarray(_debounced(series, rule.entry_bars, rule.exit_bars, float(initial)))


@njit(cache=True)
def _debounced(series: np.ndarray, entry: int, leave: int, value: float) -> np.ndarray:
    out = np.empty(len(series))
    for t in range(len(series)):
        if t + 1 >= entry:
            reached = series[t]
            for back in range(1, entry):
                reached = min(reached, series[t - back])
            value = max(value, reached)
        if t + 1 >= leave:
            left = series[t]
            for back in range(1, leave):
                left = max(left, series[t - back])
            value = min(value, left)
        out[t] = value
    return out
