"""Simulated bars with the truth behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finchaos.core.bars import BAR_FIELDS, Bars, Provenance
from finchaos.core.errors import DataError
from finchaos.markets.sessions import regular_closes

FIRST_DAY = "2000-01-03"
LAST_YEAR = 2262
"""Time stamps in nanoseconds, which digests use, end in April of this year."""
FIELDS = (*BAR_FIELDS, "variance", "regime", "switch")


@dataclass(frozen=True, eq=False)
class SimulatedRows:
    """A stretch of one simulated path; every array has shape (t,).

    Attributes
    ----------
    open, high, low, close, volume : numpy.ndarray, float64
    variance : numpy.ndarray, float64
        Annual variance of log returns: spot at the bar's close where it moves continuously, of
        the regime where each regime has its own.
    regime : numpy.ndarray, int64
        The true label of each bar.
    switch : numpy.ndarray, bool
        Where the label differs from the bar before; false in a path's first bar.
    first_row : int
        Position of the first row in its path.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    variance: np.ndarray
    regime: np.ndarray
    switch: np.ndarray
    first_row: int = 0

    def __len__(self) -> int:
        return len(self.close)

    def labelled(
        self, provenance: Provenance, *, symbol: str, bars_per_year: float
    ) -> LabelledBars:
        """The rows as Bars with labels, the first row on 2000-01-03.

        Raises
        ------
        DataError
            If the time stamps would pass the year 2262, which takes some 68 000 daily bars.
        """
        days = len(self) * max(1.0, 252.0 / bars_per_year) / max(1.0, bars_per_year / 252.0)
        if days > 261.0 * (LAST_YEAR - 2000):
            raise DataError(
                "too many simulated bars for a calendar that ends in 2262",
                expected="at most 68 000 days in one Bars",
                got=f"{len(self)} bars, {bars_per_year:g} a year",
                remedy="take a part of the rows; arrays have no such limit",
            )
        bars = Bars(
            index=regular_closes(FIRST_DAY, len(self), bars_per_year),
            symbol=symbol,
            bars_per_year=bars_per_year,
            provenance=provenance,
            **{name: getattr(self, name) for name in BAR_FIELDS},
        )
        return LabelledBars(bars, self.regime, self.variance, self.switch)


@dataclass(frozen=True, eq=False)
class LabelledBars:
    """Bars and, beside them, what a model may be judged by but must never see.

    Attributes
    ----------
    bars : Bars
    regime : numpy.ndarray, shape (t,), int64
    variance : numpy.ndarray, shape (t,)
        Annual, see :class:`SimulatedRows`.
    switch : numpy.ndarray, shape (t,), bool
    """

    bars: Bars
    regime: np.ndarray
    variance: np.ndarray
    switch: np.ndarray

    @property
    def switch_points(self) -> np.ndarray:
        """Positions of the bars that open a new regime, ascending."""
        return np.flatnonzero(self.switch)


@dataclass(frozen=True, eq=False)
class SimulatedPaths:
    """Independent paths of bars and the truth behind them; arrays have shape (paths, bars).

    Attributes
    ----------
    open, high, low, close, volume, variance, regime : numpy.ndarray
        As in :class:`SimulatedRows`.
    symbol : str
    bars_per_year : float
    provenance : Provenance
        Without the number of the path.
    """

    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    variance: np.ndarray
    regime: np.ndarray
    symbol: str
    bars_per_year: float
    provenance: Provenance

    def rows(self, path: int) -> SimulatedRows:
        """One path's arrays."""
        names = (*BAR_FIELDS, "variance", "regime")
        arrays = {name: getattr(self, name)[path] for name in names}
        return SimulatedRows(**arrays, switch=switches(arrays["regime"]))

    def labelled(self, path: int) -> LabelledBars:
        """One path as Bars with its labels; see :meth:`SimulatedRows.labelled`."""
        notes = (f"path {path}", *self.provenance.notes)
        return self.rows(path).labelled(
            replace(self.provenance, notes=notes),
            symbol=self.symbol,
            bars_per_year=self.bars_per_year,
        )


def switches(regime: np.ndarray, before: int | None = None) -> np.ndarray:
    """Where labels differ from the bar before, shape (..., t); ``before`` precedes the first.

    Examples
    --------
    >>> switches(np.array([0, 0, 1, 1, 0])).tolist()
    [False, False, True, False, True]
    """
    changed = np.zeros(regime.shape, dtype=bool)
    changed[..., 1:] = regime[..., 1:] != regime[..., :-1]
    if before is not None:
        changed[..., 0] = regime[..., 0] != before
    return changed


def volumes(typical: float, level: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Whole volumes that rise with the variance.

    Parameters
    ----------
    typical : float
        Median at level 0.9.
    level : numpy.ndarray
        Variance over that of the calmest regime.
    noise : numpy.ndarray
        Standard normals, of the same shape.
    """
    return np.round(typical * np.exp(0.3 * noise) * (0.1 + level) ** 0.25)
