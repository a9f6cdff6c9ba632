"""Scaling of columns, fitted on a training window and frozen.

By median and median absolute deviation, which outliers cannot move, or by mean and standard
deviation.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from finchaos.core.errors import DataError

MAD_TO_SD = 1.482602218505602
"""1 / Phi^-1(0.75): makes the median absolute deviation of a normal its standard deviation."""
IQR_TO_SD = 1.3489795003921634
"""2 Phi^-1(0.75): the interquartile range of a standard normal."""
CLIP = 10.0
SPREADS = ("mad", "iqr", "sd", "constant", "fixed")
"""Where a column's scale came from; ``constant`` columns are only centred, ``fixed`` untouched."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ColumnScaler:
    """Centre and scale of f columns, fitted once and frozen.

    Attributes
    ----------
    center, scale : numpy.ndarray, shape (f,), read-only
        Scales are positive.
    spread : tuple of str, length f
        Where each scale came from, one of ``SPREADS``.
    clip : float
        Scaled values are cut to ``[-clip, clip]``.
    """

    center: np.ndarray
    scale: np.ndarray
    spread: tuple[str, ...]
    clip: float = CLIP
    usual: ClassVar[str] = ""
    """The spread that columns have as a rule."""
    missing: ClassVar[str] = ""
    """What a column lacks that has another, in words."""

    def __post_init__(self) -> None:
        for name in ("center", "scale"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        columns = (len(self.spread),)
        sound = (
            self.center.shape == columns == self.scale.shape
            and bool(np.isfinite(self.center).all() and np.isfinite(self.scale).all())
            and bool((self.scale > 0).all())
            and set(self.spread) <= set(SPREADS)
            and self.clip > 0
        )
        if not sound:
            raise DataError(
                "impossible scaler",
                expected="one finite centre, positive scale and known spread per column",
                got=f"center {self.center}, scale {self.scale}, spread {self.spread}",
            )

    @staticmethod
    def measure(column: np.ndarray) -> tuple[float, float, str]:
        """Centre, scale and where the scale came from, for one column of training rows."""
        raise NotImplementedError

    @classmethod
    def fit(
        cls, values: np.ndarray, *, fixed: Sequence[bool] | None = None, clip: float = CLIP
    ) -> Self:
        """Centre and scale of training rows. A column that does not vary is only centred.

        Parameters
        ----------
        values : numpy.ndarray, shape (..., f), finite
            Training rows only: a row after the training window here is look-ahead.
        fixed : sequence of bool, length f, optional
            Columns to leave as they are, such as flags and bounded ones.
        clip : float

        Raises
        ------
        DataError
            If there are no rows or a value is not finite; the message names the columns.
        """
        rows = np.asarray(values, dtype=np.float64)
        rows = rows.reshape(-1, rows.shape[-1])
        _require_finite(rows)
        kept = [False] * rows.shape[1] if fixed is None else list(fixed)
        if len(kept) != rows.shape[1]:
            raise DataError(
                "fixed must name every column", expected=str(rows.shape[1]), got=str(len(kept))
            )
        fits = [(0.0, 1.0, "fixed") if k else cls.measure(rows[:, j]) for j, k in enumerate(kept)]
        for column, (_, _, spread) in enumerate(fits):
            if spread not in (cls.usual, "fixed"):
                _log.warning("column %d has no %s; using %s", column, cls.missing, spread)
        center, scale, spreads = zip(*fits, strict=True)
        return cls(np.array(center), np.array(scale), spreads, clip)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scaled and clipped values, shape (..., f); fixed columns are only clipped.

        Raises
        ------
        DataError
            If the number of columns differs.
        """
        if values.shape[-1] != len(self.spread):
            raise DataError(
                "the scaler was fitted on other columns",
                expected=str(len(self.spread)),
                got=str(values.shape[-1]),
            )
        return np.clip((values - self.center) / self.scale, -self.clip, self.clip)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scaler as named arrays, for a checkpoint."""
        return {
            "center": self.center.copy(),
            "scale": self.scale.copy(),
            "spread": np.array([SPREADS.index(name) for name in self.spread], dtype=np.int64),
            "clip": np.array([self.clip]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The scaler that :meth:`to_arrays` described.

        Raises
        ------
        DataError
            If an array is missing or the content impossible.
        """
        missing = {"center", "scale", "spread", "clip"} - set(arrays)
        if missing:
            raise DataError("scaler arrays are missing", expected=", ".join(sorted(missing)))
        codes = [int(code) for code in arrays["spread"]]
        if not all(0 <= code < len(SPREADS) for code in codes):
            raise DataError("scaler spread codes are unknown", got=str(codes))
        return cls(
            arrays["center"],
            arrays["scale"],
            tuple(SPREADS[code] for code in codes),
            float(arrays["clip"][0]),
        )


class RobustScaler(ColumnScaler):
    """By median and median absolute deviation times 1.4826.

    A column whose median absolute deviation is zero falls back to the interquartile range over
    1.349, then to the standard deviation, then to 1, and that is logged.

    Examples
    --------
    >>> scaler = RobustScaler.fit(np.array([[1.0], [2.0], [3.0], [4.0], [100.0]]))
    >>> float(scaler.center[0]), scaler.spread
    (3.0, ('mad',))
    """

    usual = "mad"
    missing = "median absolute deviation"

    @staticmethod
    def measure(column: np.ndarray) -> tuple[float, float, str]:
        """Centre, scale and where the scale came from, for one column of training rows."""
        center = float(np.median(column))
        low, high = np.quantile(column, [0.25, 0.75])
        candidates = (
            (MAD_TO_SD * float(np.median(np.abs(column - center))), "mad"),
            (float(high - low) / IQR_TO_SD, "iqr"),
            (float(np.std(column)), "sd"),
        )
        least = _least_spread(column)
        for scale, name in candidates:
            if scale > least:
                return center, scale, name
        return center, 1.0, "constant"


class ZScoreScaler(ColumnScaler):
    """By mean and standard deviation of the training rows.

    Examples
    --------
    >>> scaler = ZScoreScaler.fit(np.array([[1.0], [2.0], [3.0]]))
    >>> scaler.transform(np.array([[4.0], [100.0]]))[:, 0].round(6).tolist()
    [2.44949, 10.0]
    """

    usual = "sd"
    missing = "standard deviation"

    @staticmethod
    def measure(column: np.ndarray) -> tuple[float, float, str]:
        """Centre, scale and where the scale came from, for one column of training rows."""
        center, scale = float(np.mean(column)), float(np.std(column))
        return (center, scale, "sd") if scale > _least_spread(column) else (center, 1.0, "constant")


def _least_spread(column: np.ndarray) -> float:
    """Rounding leaves a constant column a spread of a few units in the last place."""
    return 1e-12 * max(1.0, float(np.abs(column).max()))


def _require_finite(rows: np.ndarray) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=0))
    if len(rows) and not len(bad):
        return
    empty = np.flatnonzero(np.isnan(rows).all(axis=0))
    what = f"columns {bad.tolist()} hold values that are not" if len(rows) else "no rows"
    if len(rows) and len(empty):
        what += f", and {empty.tolist()} nothing but NaN"
    raise DataError(
        "a scaler needs finite training rows",
        got=what,
        remedy="drop those columns, or start after the warm-up of their features",
    )
