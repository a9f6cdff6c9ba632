"""Scaling by median and median absolute deviation, which outliers cannot move."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
class RobustScaler:
    """Centre and scale of f columns, fitted once and frozen.

    Attributes
    ----------
    center, scale : numpy.ndarray, shape (f,), read-only
        Scales are positive.
    spread : tuple of str, length f
        Where each scale came from, one of ``SPREADS``.
    clip : float
        Scaled values are cut to ``[-clip, clip]``.

    Examples
    --------
    >>> scaler = RobustScaler.fit(np.array([[1.0], [2.0], [3.0], [4.0], [100.0]]))
    >>> float(scaler.center[0]), scaler.spread
    (3.0, ('mad',))
    """

    center: np.ndarray
    scale: np.ndarray
    spread: tuple[str, ...]
    clip: float = CLIP

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

    @classmethod
    def fit(
        cls, values: np.ndarray, *, fixed: Sequence[bool] | None = None, clip: float = CLIP
    ) -> RobustScaler:
        """Centre and scale of training rows.

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
            If there are no rows or a value is not finite.
        """
        rows = np.asarray(values, dtype=np.float64)
        rows = rows.reshape(-1, rows.shape[-1])
        if not len(rows) or not np.isfinite(rows).all():
            raise DataError(
                "a scaler needs finite training rows", got=f"{len(rows)} rows, not all finite"
            )
        kept = [False] * rows.shape[1] if fixed is None else list(fixed)
        if len(kept) != rows.shape[1]:
            raise DataError(
                "fixed must name every column", expected=str(rows.shape[1]), got=str(len(kept))
            )
        fits = [(0.0, 1.0, "fixed") if k else _spread(rows[:, j]) for j, k in enumerate(kept)]
        for column, (_, _, spread) in enumerate(fits):
            if spread not in ("mad", "fixed"):
                _log.warning("column %d has no median absolute deviation; using %s", column, spread)
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
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RobustScaler:
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


def _spread(column: np.ndarray) -> tuple[float, float, str]:
    """Centre, scale and where the scale came from, for one column."""
    center = float(np.median(column))
    low, high = np.quantile(column, [0.25, 0.75])
    candidates = (
        (MAD_TO_SD * float(np.median(np.abs(column - center))), "mad"),
        (float(high - low) / IQR_TO_SD, "iqr"),
        (float(np.std(column)), "sd"),
    )
    # Rounding leaves a constant column a spread of a few units in the last place.
    least = 1e-12 * max(1.0, float(np.abs(column).max()))
    for scale, name in candidates:
        if scale > least:
            return center, scale, name
    return center, 1.0, "constant"
