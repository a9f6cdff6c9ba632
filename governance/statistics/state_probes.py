"""Bars that ask a model with a state questions that its history does not: long, still, other past.

Every probe is made of the subject's own bars, so that a model meets moves of the kind it knows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from finchaos.core.bars import PRICE_FIELDS, Bars, Provenance
from finchaos.core.errors import InputError
from governance.statistics.resampling import resampled_rows

# A move of a basis point to and fro: a feed of identical bars would be a fault, not a still market.
_STILL_MOVE = 1e-4
_FIRST = pd.Timestamp("1950-01-03 21:00", tz="UTC")


def resampled_bars(bars: Bars, rows: int, rng: np.random.Generator, block: int = 20) -> Bars:
    """A history as long as wanted, of whole bars drawn in blocks and joined by their returns.

    Open, high, low and close keep their ratios to the close before, volume its value, so that
    clustering within a block is kept.

    Parameters
    ----------
    bars : Bars
        At least two.
    rows : int
    rng : numpy.random.Generator
    block : int
        Mean block length of the stationary bootstrap.

    References
    ----------
    Politis & Romano, The stationary bootstrap, JASA 89 (1994).
    """
    if len(bars) < 2 or rows < 1:
        raise InputError("bars cannot be resampled", got=f"{len(bars)} bars, {rows} rows")
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < rows:
        part = resampled_rows(rng, len(bars) - 1, min(block, len(bars) - 1), 1)[0]
        drawn = np.concatenate([drawn, part])
    drawn = 1 + drawn[:rows]
    return _joined(bars, drawn, _stamps(bars, rows), float(bars.close[0]))


def _joined(bars: Bars, drawn: np.ndarray, index: pd.DatetimeIndex, level: float) -> Bars:
    """Rows ``drawn`` of ``bars``, each after the close of the one before it, from a level on."""
    before = bars.close[drawn - 1]
    growth = np.log(bars.close[drawn] / before)
    # Without the drift, so that decades of it do not carry prices beyond what is plausible.
    growth = growth - np.log(bars.close[-1] / bars.close[0]) / (len(bars) - 1)
    close = level * np.exp(np.cumsum(growth))
    values = {name: close * getattr(bars, name)[drawn] / bars.close[drawn] for name in PRICE_FIELDS}
    values["close"] = close
    values["high"] = np.maximum.reduce([values["high"], values["open"], close])
    values["low"] = np.minimum.reduce([values["low"], values["open"], close])
    return replace(
        bars,
        index=index,
        known_at=None,
        volume=bars.volume[drawn],
        provenance=Provenance("resampled from the validation sample", kind="simulated"),
        **values,
    )


def _stamps(bars: Bars, rows: int) -> pd.DatetimeIndex:
    """Evenly spaced stamps, a typical step apart; weekdays where bars are daily."""
    step = pd.Timedelta(np.median(np.diff(bars.index.as_unit("ns").asi8)), unit="ns")
    if step == pd.Timedelta(days=1):
        return pd.bdate_range(_FIRST, periods=rows)
    return pd.DatetimeIndex(_FIRST + step * np.arange(rows))


def still_bars(bars: Bars, rows: int) -> Bars:
    """A market in which nothing happens: closes a basis point up and down in turn."""
    close = float(np.median(bars.close)) * (1.0 + _STILL_MOVE * (np.arange(rows) % 2))
    reach = 1.0 + (2.0 * _STILL_MOVE if bars.has_range else 0.0)
    return replace(
        bars,
        index=_stamps(bars, rows),
        known_at=None,
        open=close,
        high=close * reach,
        low=close / reach,
        close=close,
        volume=np.full(rows, float(np.median(bars.volume))),
        provenance=Provenance("a still market", kind="simulated"),
    )


def rounded_bars(bars: Bars) -> Bars:
    """The same bars with every number rounded to float32."""
    values = {
        name: getattr(bars, name).astype(np.float32).astype(np.float64)
        for name in (*PRICE_FIELDS, "volume")
    }
    return bars.with_values(None, **values)


def rescaled_bars(bars: Bars, power: int) -> Bars:
    """The same history at another price level: every price times 2 to a power, which is exact."""
    factor = float(2.0**power)
    return bars.with_values(None, **{name: factor * getattr(bars, name) for name in PRICE_FIELDS})


def other_past(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Bars whose rows before ``cut`` are another history and whose others are those given.

    The other history is resampled from the rows before the cut and joins the common rows at the
    close before the cut, so that the first common return is the same.

    Parameters
    ----------
    bars : Bars
    cut : int
        First row that stays, ``3 <= cut < len(bars)``.
    rng : numpy.random.Generator
    """
    if not 3 <= cut < len(bars):
        raise InputError(
            "the past cannot be replaced", expected=f"3 to {len(bars) - 1}", got=str(cut)
        )
    past = resampled_bars(bars.rows(0, cut), cut, rng)
    factor = bars.close[cut - 1] / past.close[-1]
    values = {
        name: np.concatenate([getattr(past, name) * factor, getattr(bars, name)[cut:]])
        for name in PRICE_FIELDS
    }
    # The join is exact: what comes after it then is the same to the last bit.
    values["close"][cut - 1] = bars.close[cut - 1]
    values["high"][cut - 1] = max(values["high"][cut - 1], bars.close[cut - 1])
    values["low"][cut - 1] = min(values["low"][cut - 1], bars.close[cut - 1])
    volume = np.concatenate([past.volume, bars.volume[cut:]])
    return bars.with_values(None, volume=volume, **values)
