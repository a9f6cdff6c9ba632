"""Alterations of the future: bars that agree with the original before a cut and not after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bars, Provenance
from finchaos.core.errors import InputError

Alteration = Callable[[Bars, int, np.random.Generator], Bars]

CALENDAR_CYCLE_DAYS = 10_227
"""28 years: weekdays and leap years of the Gregorian calendar repeat (1901 to 2099)."""


def alter_future(bars: Bars, cut: int, name: str, rng: np.random.Generator) -> Bars:
    """Bars whose rows before ``cut`` are those given and whose other rows are altered.

    Parameters
    ----------
    bars : Bars
    cut : int
        First altered row, ``1 <= cut < len(bars)``.
    name : str
        One of :data:`ALTERATIONS`.
    rng : numpy.random.Generator
    """
    if not 1 <= cut < len(bars):
        raise InputError(
            "the cut must leave a past and a future",
            expected=f"1 to {len(bars) - 1}",
            got=str(cut),
        )
    return ALTERATIONS[name](bars, cut, rng)


def anonymous(bars: Bars) -> Bars:
    """The same values under another name and 28 years earlier, without their source.

    A model that looks data up by name or date cannot find them; one that reads what it is given
    sees no difference, weekdays, months and leap years included.
    """
    shift = pd.Timedelta(days=CALENDAR_CYCLE_DAYS)
    return replace(
        bars,
        index=pd.DatetimeIndex(bars.index - shift),
        known_at=None if bars.known_at is None else pd.DatetimeIndex(bars.known_at - shift),
        symbol="ANONYMOUS",
        provenance=Provenance("withheld", kind="simulated"),
    )


def rescale(bars: Bars, factor: float) -> Bars:
    """The same history at another price level: every price times ``factor``, volume as it is.

    A model that looks data up by price cannot find them; one that reads returns and ranges sees
    no difference beyond rounding, and none at all where ``factor`` is a power of two.

    Parameters
    ----------
    bars : Bars
    factor : float
        Positive and finite.

    Raises
    ------
    InputError
        If the factor is neither.
    """
    if not (np.isfinite(factor) and factor > 0.0):
        raise InputError(
            "prices need a usable factor", expected="a positive number", got=repr(factor)
        )
    return bars.with_values(None, **{name: factor * getattr(bars, name) for name in PRICE_FIELDS})


def price_factors(rng: np.random.Generator) -> tuple[float, float]:
    """A factor up and one down that no model can know: powers of two, 2 to 16 and 1/16 to 1/2.

    Multiplying by them is exact, so that ratios of prices keep every bit. Under other factors a
    return that equals a threshold, as one does where the threshold is a quantile of training
    returns, would change sides by rounding alone.
    """
    up, down = rng.integers(1, 5, 2)
    return float(2.0**up), float(2.0**-down)


def extend(bars: Bars, rows: int, rng: np.random.Generator) -> Bars:
    """``bars`` and then invented ones, so that the result is longer than any seen before."""
    step, vol = bars.index[-1] - bars.index[-2], _step_volatility(bars)
    index = pd.DatetimeIndex(bars.index[-1] + step * np.arange(1, rows + 1))
    path = bars.close[-1] * np.exp(np.cumsum(rng.normal(0.0, vol, rows)))
    margin = np.exp(vol) if bars.has_range else 1.0
    more = replace(
        bars,
        index=index,
        known_at=None,
        open=path,
        high=path * margin,
        low=path / margin,
        close=path,
        volume=np.full(rows, float(np.median(bars.volume))),
    )
    known_at = None if bars.known_at is None else pd.DatetimeIndex(bars.known_at.append(index))
    return replace(bars.followed_by(more), known_at=known_at)


def spread_cuts(bars: Bars, first: int, count: int, rng: np.random.Generator) -> list[int]:
    """Rows to cut before: two at the largest moves, the others at each weekday and hour in turn.

    Parameters
    ----------
    bars : Bars
    first : int
        No cut lies before this row; at least 1.
    count : int
        Number of cuts, fewer where there are not as many rows.
    rng : numpy.random.Generator
    """
    rows = rng.permutation(np.arange(max(first, 1), len(bars)))
    moves = np.abs(np.log(bars.close[rows] / bars.close[rows - 1]))
    largest = rows[np.argsort(-moves, kind="stable")[:2]].tolist()
    before = bars.index[rows - 1]
    moments = before.day_of_week.to_numpy() * 24 + before.hour.to_numpy()
    turn = np.empty(len(rows), dtype=np.int64)
    for moment in np.unique(moments):
        turn[moments == moment] = np.arange(int((moments == moment).sum()))
    spread = rows[np.argsort(turn, kind="stable")].tolist()
    return [int(row) for row in dict.fromkeys([*largest, *spread])][:count]


def _step_volatility(bars: Bars) -> float:
    """Standard deviation of log returns, at least a basis point so that noise is never nil."""
    return max(float(np.std(np.diff(np.log(bars.close)))), 1e-4)


def _spliced(bars: Bars, cut: int, **future: np.ndarray) -> Bars:
    """Replace rows from ``cut`` on by ``future``; the high and low are widened where needed."""
    values = {
        name: np.concatenate([getattr(bars, name)[:cut], future[name]])
        for name in BAR_FIELDS
        if name in future
    }
    body = [values.get(name, getattr(bars, name)) for name in ("open", "close")]
    for name, widest in (("high", np.maximum), ("low", np.minimum)):
        values[name] = widest(values.get(name, getattr(bars, name)), widest(*body))
    return bars.with_values(None, **values)


def _future(bars: Bars, cut: int) -> dict[str, np.ndarray]:
    return {name: getattr(bars, name)[cut:] for name in BAR_FIELDS}


def _noise(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Prices follow another random walk of twice the volatility; volume is scattered."""
    rows = len(bars) - cut
    factor = np.exp(np.cumsum(rng.normal(0.0, 2.0 * _step_volatility(bars), rows)))
    future = {name: values * factor for name, values in _future(bars, cut).items()}
    future["volume"] = _scattered(bars.volume[cut:], rng)
    return _spliced(bars, cut, **future)


def _reversal(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """The future runs backwards in time."""
    return _spliced(bars, cut, **{k: v[::-1] for k, v in _future(bars, cut).items()})


def _mirror(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Every future log return changes its sign."""
    square = bars.close[cut - 1] ** 2
    future = _future(bars, cut)
    return _spliced(
        bars,
        cut,
        open=square / future["open"],
        close=square / future["close"],
        high=square / future["low"],
        low=square / future["high"],
    )


def _scale(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Future prices are three times and future volumes ten times what they were."""
    future = {name: 3.0 * values for name, values in _future(bars, cut).items()}
    future["volume"] = 10.0 * bars.volume[cut:] + 1.0
    return _spliced(bars, cut, **future)


def _crash(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """The market falls by two fifths at once and stays there."""
    future = {name: 0.6 * values for name, values in _future(bars, cut).items()}
    future["volume"] = 5.0 * bars.volume[cut:] + 1.0
    return _spliced(bars, cut, **future)


def _volume(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Only future volumes change."""
    return _spliced(bars, cut, volume=_scattered(bars.volume[cut:], rng))


def _range(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """Only future highs and lows change: each bar reaches further both ways."""
    reach = np.exp(np.abs(rng.normal(0.0, 2.0 * _step_volatility(bars), (2, len(bars) - cut))))
    return _spliced(bars, cut, high=bars.high[cut:] * reach[0], low=bars.low[cut:] / reach[1])


def _truncation(bars: Bars, cut: int, rng: np.random.Generator) -> Bars:
    """There is no future."""
    return bars.rows(0, cut)


def _scattered(volume: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (volume + 1.0) * np.exp(rng.normal(0.0, 1.0, len(volume)))


ALTERATIONS: MappingProxyType[str, Alteration] = MappingProxyType(
    {
        "truncation": _truncation,
        "noise": _noise,
        "mirror": _mirror,
        "reversal": _reversal,
        "scale": _scale,
        "crash": _crash,
        "volume": _volume,
        "range": _range,
    }
)
