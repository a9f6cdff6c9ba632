"""Minutes of a session rebuilt from documented facts: a Brownian bridge through every anchor.

The result is a labelled reconstruction, never a record of what was traded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars, Provenance
from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.sessions import EXCHANGE_ZONE, SESSIONS_PER_YEAR
from governance.reconstruction import Facts, Reconstruction, point_prices, seconds


def minute_bars(
    spec: Reconstruction, facts: Facts, *, day: date, prior_close: float, seed: int
) -> Bars:
    """One minute path of a session.

    Parameters
    ----------
    spec : Reconstruction
    facts : Facts
    day : datetime.date
    prior_close : float
        Close of the session before.
    seed : int
        One of ``spec.seeds``.

    Returns
    -------
    Bars
        Minutes stamped at their close; every anchor is met exactly. Open is the close of the
        minute before; high and low are those of the path's seconds.

    Notes
    -----
    Between two anchors the log price is the straight line plus a Brownian bridge whose variance
    accumulates by the scenario's volatility blocks. Where it would pass a documented extreme it
    is reflected there, which leaves anchors where they are.

    References
    ----------
    Glasserman, Monte Carlo Methods in Financial Engineering (2004), section 3.1 (Brownian bridge).
    """
    if seed not in spec.seeds:
        raise InputError("this seed is not one of the scenario's", got=str(seed))
    rng = random_stream(seed, f"reconstruction {spec.symbol} {day}")
    start, end = (seconds(clock) for clock in spec.session)
    anchors = anchor_prices(spec, facts, prior_close, rng)
    price = _bridge(anchors, _variance_per_second(spec, start, end), start, rng)
    price = _reflected(price, spec, facts, start)
    for second, value in anchors.items():
        price[second - start] = value
    minutes = (end - start) // 60
    inside = price[:-1].reshape(minutes, 60)
    close = price[60::60]
    opening = pd.Timestamp(day, tz=EXCHANGE_ZONE).normalize() + pd.Timedelta(seconds=start)
    steps = pd.to_timedelta(60 * np.arange(1, minutes + 1), unit="s")
    return Bars(
        index=pd.DatetimeIndex(opening + steps).tz_convert("UTC").as_unit("us"),
        open=price[:-1:60],
        high=np.maximum(inside.max(axis=1), close),
        low=np.minimum(inside.min(axis=1), close),
        close=close,
        volume=_volume(spec, start, minutes, rng),
        symbol=spec.symbol,
        bars_per_year=float(SESSIONS_PER_YEAR * minutes),
        provenance=Provenance(
            source=f"reconstructed from documented facts of {day}",
            kind="reconstructed",
            seed=seed,
            notes=(
                f"reconstructed minutes, not traded prices: seed {seed}, "
                f"anchors sha256 {facts.digest}",
                *spec.assumptions,
            ),
        ),
    )


def anchor_prices(
    spec: Reconstruction, facts: Facts, prior_close: float, rng: np.random.Generator
) -> dict[int, float]:
    """Prices that the path meets exactly, by second of the day, in order of time.

    Points first; then extremes whose second is not documented, drawn among the free seconds.

    Raises
    ------
    DataError
        If a point lies beyond an extreme.
    """
    anchors = point_prices(spec, facts, prior_close)
    for extreme in spec.extremes:
        value = facts.value(extreme.fact)
        first, last = (seconds(clock) for clock in extreme.within)
        sign = 1.0 if extreme.side == "high" else -1.0
        beyond = [at for at, p in anchors.items() if first <= at <= last and sign * (p - value) > 0]
        if beyond:
            raise DataError(
                f"points lie beyond the {extreme.side} of {value:g}",
                got=", ".join(f"second {at}" for at in beyond),
            )
        if extreme.drawn is not None:
            early, late = (seconds(clock) for clock in extreme.drawn)
            free = [at for at in range(early, late + 1) if at not in anchors]
            anchors[int(rng.choice(free))] = value
    return dict(sorted(anchors.items()))


def _variance_per_second(spec: Reconstruction, start: int, end: int) -> np.ndarray:
    """Variance of the log price over each second of the session, shape (end - start,)."""
    variance = np.empty(end - start)
    first = 0
    for block in spec.volatility:
        last = seconds(block.until) - start
        variance[first:last] = block.volatility_annual**2 / (SESSIONS_PER_YEAR * (end - start))
        first = last
    return variance


def _bridge(
    anchors: dict[int, float], variance: np.ndarray, start: int, rng: np.random.Generator
) -> np.ndarray:
    """Prices at every second, the first included, shape (len(variance) + 1,)."""
    noise = rng.standard_normal(len(variance)) * np.sqrt(variance)
    at = np.array(list(anchors)) - start
    level = np.log(np.array(list(anchors.values())))
    log_price = np.interp(np.arange(len(variance) + 1), at, level)
    for first, last in pairwise(at.tolist()):
        walk = np.cumsum(noise[first:last])
        clock = np.cumsum(variance[first:last])
        if clock[-1] > 0.0:
            log_price[first + 1 : last + 1] += walk - walk[-1] * clock / clock[-1]
    return np.exp(log_price)


def _reflected(price: np.ndarray, spec: Reconstruction, facts: Facts, start: int) -> np.ndarray:
    """The path folded back at every documented extreme."""
    price = price.copy()
    for extreme in spec.extremes:
        limit = facts.value(extreme.fact)
        first, last = (seconds(clock) - start for clock in extreme.within)
        part = price[first : last + 1]
        mirror = limit * limit / part
        fold = np.minimum if extreme.side == "high" else np.maximum
        price[first : last + 1] = fold(part, mirror)
    for extreme in spec.extremes:  # a fold at one limit may cross another: it ends there
        limit = facts.value(extreme.fact)
        first, last = (seconds(clock) - start for clock in extreme.within)
        clip = np.minimum if extreme.side == "high" else np.maximum
        price[first : last + 1] = clip(price[first : last + 1], limit)
    return price


def _volume(spec: Reconstruction, start: int, minutes: int, rng: np.random.Generator) -> np.ndarray:
    """Contracts a minute: the documented totals, spread by gamma weights of unit mean."""
    weights = rng.gamma(4.0, 0.25, size=minutes)
    volume = np.zeros(minutes)
    for block in spec.volume:
        rows = np.zeros(minutes, dtype=bool)
        for span in block.spans:
            first, last = ((seconds(clock) - start) // 60 for clock in span)
            rows[first:last] = True
        volume[rows] = block.contracts * weights[rows] / weights[rows].sum()
    return volume


def coarser(bars: Bars, size: int) -> Bars:
    """Bars joined in groups of ``size``, which must divide their number.

    Examples
    --------
    One bar of a whole session: ``coarser(minutes, len(minutes))``.
    """
    if size < 1 or len(bars) % size:
        raise InputError(
            "bars cannot be joined in groups of this size",
            expected=f"a divisor of {len(bars)}",
            got=str(size),
        )
    groups = {name: getattr(bars, name).reshape(-1, size) for name in BAR_FIELDS}
    return replace(
        bars,
        index=bars.index[size - 1 :: size],
        open=groups["open"][:, 0],
        high=groups["high"].max(axis=1),
        low=groups["low"].min(axis=1),
        close=groups["close"][:, -1],
        volume=groups["volume"].sum(axis=1),
        bars_per_year=bars.bars_per_year / size,
    )
