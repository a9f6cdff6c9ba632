"""Row-by-row comparison of two Signals that should say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from finchaos.core.signals import Signals

TIME = "time"


@dataclass(frozen=True, eq=False)
class Difference:
    """Where and by how much two Signals differ.

    Attributes
    ----------
    changed : numpy.ndarray, shape (t,), bool
        Rows in which any field differs, is missing on one side or is stamped differently.
    by_field : mapping of name to numpy.ndarray, shape (t,), bool
        The same for each field, and for ``time``.
    largest : mapping of name to float
        Largest absolute difference of each field; infinite where one side has no finite number
        and the other has another value. Booleans count as 0 and 1.
    """

    changed: np.ndarray
    by_field: Mapping[str, np.ndarray]
    largest: Mapping[str, float]

    @property
    def rows(self) -> int:
        """Rows that differ."""
        return int(self.changed.sum())

    @property
    def first(self) -> int | None:
        """Position of the first row that differs; None if there is none."""
        return int(np.argmax(self.changed)) if self.changed.any() else None

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields that differ anywhere, sorted."""
        return tuple(sorted(name for name, rows in self.by_field.items() if rows.any()))


def compare(first: Signals, second: Signals, rows: int) -> Difference:
    """Compare the first ``rows`` rows exactly; NaN equals NaN.

    Rows or fields that only one side has count as different.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.date_range("2024-01-01", periods=3, tz="UTC")
    >>> a = Signals(index, np.array([0.0, 1.0, np.nan]))
    >>> b = Signals(index, np.array([0.0, 0.5, np.nan]))
    >>> difference = compare(a, b, 3)
    >>> difference.rows, difference.first, difference.largest["position"]
    (1, 1, 0.5)
    """
    common = min(rows, len(first), len(second))
    absent = np.arange(rows) >= common
    by_field: dict[str, np.ndarray] = {}
    largest: dict[str, float] = {}
    stamps = absent.copy()
    stamps[:common] = first.index[:common] != second.index[:common]
    by_field[TIME] = stamps
    left, right = first.arrays(), second.arrays()
    for name in sorted({*left, *right}):
        changed, size = absent.copy(), 0.0
        if name not in left or name not in right or left[name].shape[1:] != right[name].shape[1:]:
            changed[:], size = True, float("inf")
        else:
            changed[:common], size = _compare_field(left[name][:common], right[name][:common])
        by_field[name], largest[name] = changed, size
    return Difference(np.logical_or.reduce(list(by_field.values())), by_field, largest)


def decisions_apart(
    first: Signals, second: Signals, *, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows in which two Signals of one length decide differently, whatever their stamps.

    Parameters
    ----------
    first, second : Signals, t rows each
    tolerance : float
        Positions closer than this are the same, as a fraction of capital.

    Returns
    -------
    apart : numpy.ndarray, shape (t,), bool
        Positions further apart than the tolerance, or another regime; every row if only one side
        says regimes.
    gaps : numpy.ndarray, shape (t,)
        Distance of positions; infinite where one of them is no number.
    """
    a, b = first.position, second.position
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    usable = np.isfinite(a) & np.isfinite(b)
    gaps = np.where(same, 0.0, np.inf)
    gaps[usable] = np.abs(a[usable] - b[usable])
    apart = gaps > tolerance
    if (first.regime is None) != (second.regime is None):
        apart[:] = True
    elif first.regime is not None and second.regime is not None:
        apart |= first.regime != second.regime
    return apart, gaps


def _compare_field(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float]:
    a = left.astype(np.float64).reshape(len(left), -1)
    b = right.astype(np.float64).reshape(len(right), -1)
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not differs.any():
        return differs.any(axis=1), 0.0
    both = np.isfinite(a) & np.isfinite(b)
    gaps = np.where(both, np.abs(np.subtract(a, b, where=both, out=np.zeros_like(a))), np.inf)
    return differs.any(axis=1), float(gaps[differs].max())
