"""Small faults of a feed: noise on prices, a bar that never came, a bar that came twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bars
from finchaos.core.errors import InputError


def noisy(bars: Bars, noise: np.ndarray, size_bps: float) -> Bars:
    """Every bar's prices moved together by noise, so that its range stays in order.

    Parameters
    ----------
    bars : Bars, t rows
    noise : numpy.ndarray, shape (t,)
        In units of the size; the same noise serves several sizes.
    size_bps : float
        One unit, in basis points of the price.
    """
    if len(noise) != len(bars) or not size_bps >= 0.0:
        raise InputError(
            "prices cannot be disturbed",
            expected=f"{len(bars)} values and a size of zero or more",
            got=f"{len(noise)} values, {size_bps}",
        )
    factor = np.exp(noise * size_bps / 1e4)
    return bars.with_values(None, **{name: getattr(bars, name) * factor for name in PRICE_FIELDS})


def without(bars: Bars, row: int) -> Bars:
    """The same bars but one, which was never delivered."""
    return _chosen(bars, np.delete(np.arange(len(bars)), row), bars.index.delete(row))


def repeated(bars: Bars, row: int) -> Bars:
    """The same bars with one delivered again, half-way to the next one.

    Raises
    ------
    InputError
        If it is the last bar.
    """
    if not 0 <= row < len(bars) - 1:
        raise InputError("a bar to repeat needs one after it", got=f"row {row} of {len(bars)}")
    between = bars.index[row] + (bars.index[row + 1] - bars.index[row]) / 2
    rows = np.insert(np.arange(len(bars)), row + 1, row)
    return _chosen(bars, rows, bars.index.insert(row + 1, between))


def _chosen(bars: Bars, rows: np.ndarray, index: Any) -> Bars:
    values = {name: getattr(bars, name)[rows] for name in BAR_FIELDS}
    return replace(bars, index=pd.DatetimeIndex(index), known_at=None, **values)
