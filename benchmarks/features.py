"""Rolling features: a million bars at once against other packages, and bar by bar.

Each comparison is refused where the values disagree after the warm-up. Ours are the indicators in
their own units, so that all sides compute the same thing.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import talib

from benchmarks.report import Cell, Options, Report, Table
from benchmarks.timing import interleaved
from finchaos.core.bars import Bar
from finchaos.core.provenance import random_stream
from finchaos.features import load_schema
from finchaos.features.formula import Moves
from finchaos.features.indicators import Atr, Bands, Directional, Macd, Rsi, Stochastic
from finchaos.features.parabolic import Parabolic
from finchaos.features.window_volatility import LogParkinson, LogYangZhang

ROWS = 1_000_000
SETTLED = 2000
"""Rows after which sides that start their means differently agree."""
TOLERANCE = 1e-8
SEEN = (1_000, 10_000, 100_000)
CALLS = 300
SCHEMAS = ("regime_v1", "technical_v1", "manifold_v1")
TALIB, CLASSIC, PANDAS = "TA-Lib", "pandas-ta-classic", "pandas"
SIMPLE: Any = 0
"""TA-Lib's number of the plain mean."""
Fields = Mapping[str, np.ndarray]
Job = Callable[[], np.ndarray]


@dataclass(frozen=True)
class Indicator:
    """What is compared: our job and the others', each giving one row of values per bar."""

    name: str
    ours: Job
    peers: Mapping[str, Job]


def run(options: Options) -> Report:
    """Both tables."""
    return Report("features", (batch(options), steps()))


def bars(rows: int) -> dict[str, np.ndarray]:
    """Prices with fat tails, gaps at the open and ranges; each of shape (rows,)."""
    rng = random_stream(7, "benchmarks.features")
    gap = 0.003 * rng.standard_normal(rows)
    body = 0.008 * rng.standard_t(4, rows)
    opened = np.cumsum(gap + body - np.mean(gap + body)) - body
    up, down = np.abs(0.004 * rng.standard_normal((2, rows)))
    logs = {
        "open": opened,
        "high": np.maximum(opened, opened + body) + up,
        "low": np.minimum(opened, opened + body) - down,
        "close": opened + body,
    }
    # Prices stay within a few orders of magnitude over a million bars.
    level = np.log(100.0) - 0.9 * pd.Series(logs["close"]).ewm(span=2000).mean().to_numpy()
    return {name: np.exp(values + np.roll(level, 1)) for name, values in logs.items()}


def batch(options: Options) -> Table:
    """All rows at once, in processor time."""
    rows: list[tuple[Cell, ...]] = []
    for indicator in indicators(bars(ROWS)):
        jobs = {"ours": indicator.ours, **indicator.peers}
        worst = agree(indicator.name, {name: job() for name, job in jobs.items()})
        spent = interleaved(jobs, options.protocol)
        ours = spent["ours"].median
        for peer in indicator.peers:
            took = spent[peer]
            cells = (1e3 * ours, 1e3 * took.median, took.n, took.median / ours, worst[peer])
            rows.append((indicator.name, peer, *cells))
    columns = ("indicator", "peer", "ours median ms", "peer median ms", "n", "peer / ours", "apart")
    notes = (
        f"{ROWS:,} bars, one path, float64, one thread; pandas-ta-classic without TA-Lib and with "
        "its own compiled loops.",
        f"apart: largest difference after {SETTLED} rows, over the larger of 1 and the value; "
        f"nothing is timed where it exceeds {TOLERANCE:g}.",
        "Ours keeps what the next bar needs, and sums windows anew where flat prices must give "
        "exactly nothing; TA-Lib does neither.",
    )
    return Table("Features of a million bars", columns, tuple(rows), notes)


def agree(name: str, found: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Largest relative differences to ours by peer.

    Raises
    ------
    RuntimeError
        If they exceed the tolerance.
    """
    ours = found["ours"].reshape(len(found["ours"]), -1)[:, SETTLED:]
    apart = {}
    for peer, values in found.items():
        theirs = values.reshape(ours.shape[0], -1)[:, SETTLED:]
        gap = np.abs(theirs - ours) / np.maximum(np.abs(ours), 1.0)
        apart[peer] = float(gap.max())
        if not apart[peer] <= TOLERANCE:
            raise RuntimeError(f"{name}: ours and {peer} differ by {apart[peer]:.2g}")
    return apart


def indicators(fields: Fields) -> list[Indicator]:
    """Everything that is compared, on these bars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classic: Any = import_module("pandas_ta_classic")
    return [*_smoothed(fields, classic), *_windowed(fields, classic), *_volatilities(fields)]


def _smoothed(fields: Fields, classic: Any) -> list[Indicator]:
    """Indicators that are exponential means."""
    high, low, close, column, series = _sides(fields)
    return [
        Indicator(
            "RSI 14",
            lambda: Rsi(14, 1).advance(column[2])[None],
            {
                TALIB: lambda: _rows(talib.RSI(close, 14)),
                CLASSIC: lambda: _rows(classic.rsi(series[2], 14, talib=False)),
                PANDAS: lambda: _rows(_pandas_rsi(series[2])),
            },
        ),
        Indicator(
            "ATR 14",
            lambda: Atr(14, 1).advance(*column)[None],
            {
                TALIB: lambda: _rows(talib.ATR(high, low, close, 14)),
                CLASSIC: lambda: _rows(classic.atr(*series, 14, talib=False)),
                PANDAS: lambda: _rows(_pandas_atr(*series)),
            },
        ),
        Indicator(
            "ADX, +DI, -DI 14",
            lambda: Directional(14, 1).advance(*column)[[2, 0, 1]],
            {
                TALIB: lambda: _rows(
                    talib.ADX(high, low, close, 14),
                    talib.PLUS_DI(high, low, close, 14),
                    talib.MINUS_DI(high, low, close, 14),
                ),
                CLASSIC: lambda: _columns(classic.adx(*series, 14, talib=False), 0, 1, 2),
            },
        ),
        Indicator(
            "MACD 12, 26, 9",
            lambda: Macd(12, 26, 9, 1).advance(column[2]),
            {
                TALIB: lambda: _rows(*talib.MACD(close, 12, 26, 9)[:2]),
                CLASSIC: lambda: _columns(classic.macd(series[2], 12, 26, 9, talib=False), 0, 2),
                PANDAS: lambda: _rows(*_pandas_macd(series[2])),
            },
        ),
    ]


def _windowed(fields: Fields, classic: Any) -> list[Indicator]:
    """Indicators of a window, and the parabolic stop."""
    high, low, close, column, series = _sides(fields)
    return [
        Indicator(
            "Bollinger bands 20",
            lambda: _bands(column[2]),
            {
                TALIB: lambda: _rows(*talib.BBANDS(close, 20, 2.0, 2.0)),
                CLASSIC: lambda: _columns(classic.bbands(series[2], 20, 2.0, talib=False), 2, 1, 0),
                PANDAS: lambda: _rows(*_pandas_bands(series[2])),
            },
        ),
        Indicator(
            "slow %K 14, 3",
            lambda: Stochastic(14, 3, 1).advance(*column)[None],
            {
                TALIB: lambda: _rows(talib.STOCH(high, low, close, 14, 3, SIMPLE, 1, SIMPLE)[0]),
                CLASSIC: lambda: _columns(classic.stoch(*series, 14, 3, 3, talib=False), 0),
                PANDAS: lambda: _rows(_pandas_stochastic(*series)),
            },
        ),
        Indicator(
            "parabolic SAR",
            lambda: Parabolic(0.02, 0.2, 1).advance(*column)[None],
            {
                TALIB: lambda: _rows(talib.SAR(high, low, 0.02, 0.2)),
                CLASSIC: lambda: _rows(
                    classic.psar(*series[:2], af0=0.02, af=0.02, max_af=0.2, talib=False)
                    .iloc[:, :2]
                    .max(axis=1)
                ),
            },
        ),
    ]


def _sides(fields: Fields) -> tuple[Any, ...]:
    """High, low and close for TA-Lib; the three as columns for us and as series for pandas."""
    rows = [fields[name] for name in ("high", "low", "close")]
    column = [np.ascontiguousarray(values[:, None]) for values in rows]
    return *rows, column, [pd.Series(values) for values in rows]


def _columns(frame: Any, *at: int) -> np.ndarray:
    return np.stack([frame.iloc[:, k].to_numpy() for k in at])


def _volatilities(fields: Fields) -> list[Indicator]:
    series = {name: pd.Series(values) for name, values in fields.items()}
    column = {name: np.ascontiguousarray(values[:, None]) for name, values in fields.items()}
    before = np.concatenate([column["open"][:1], column["close"][:-1]])

    def moves() -> Moves:
        return Moves(
            log_return=np.log(column["close"] / before),
            log_range=np.log(column["high"] / column["low"]),
            log_body=np.log(column["close"] / column["open"]),
            previous_close=before,
            **column,
        )

    return [
        Indicator(
            "Parkinson 20",
            lambda: np.exp(LogParkinson(20).open(1).advance(moves()))[None],
            {PANDAS: lambda: _rows(_pandas_parkinson(series))},
        ),
        Indicator(
            "Yang-Zhang 20",
            lambda: np.exp(LogYangZhang(20).open(1).advance(moves()))[None],
            {PANDAS: lambda: _rows(_pandas_yang_zhang(series))},
        ),
    ]


def _rows(*values: Any) -> np.ndarray:
    return np.stack([np.asarray(one) for one in values])


def _bands(close: np.ndarray) -> np.ndarray:
    away, deviation = Bands(20, 1).advance(close)
    middle = close + away
    return np.stack([middle + 2.0 * deviation, middle, middle - 2.0 * deviation])


def _wilder(values: pd.Series) -> pd.Series:
    return values.ewm(alpha=1.0 / 14.0, adjust=False).mean()


def _pandas_rsi(close: pd.Series) -> pd.Series:
    move = close.diff()
    up, down = _wilder(move.clip(lower=0.0)), _wilder(-move.clip(upper=0.0))
    return 100.0 * up / (up + down)


def _pandas_atr(high: pd.Series, low: pd.Series, close: pd.Series) -> pd.Series:
    last = close.shift()
    ranges = np.maximum(high - low, np.maximum((high - last).abs(), (low - last).abs()))
    return _wilder(pd.Series(ranges))


def _pandas_macd(close: pd.Series) -> tuple[pd.Series, pd.Series]:
    fast, slow = (close.ewm(span=span, adjust=False).mean() for span in (12, 26))
    line = fast - slow
    return line, line.ewm(span=9, adjust=False).mean()


def _pandas_bands(close: pd.Series) -> tuple[pd.Series, pd.Series, pd.Series]:
    window = close.rolling(20)
    middle, deviation = window.mean(), window.std(ddof=0)
    return middle + 2.0 * deviation, middle, middle - 2.0 * deviation


def _pandas_stochastic(high: pd.Series, low: pd.Series, close: pd.Series) -> pd.Series:
    top, bottom = high.rolling(14).max(), low.rolling(14).min()
    return (100.0 * (close - bottom) / (top - bottom)).rolling(3).mean()


def _pandas_parkinson(of: Mapping[str, pd.Series]) -> pd.Series:
    squares = pd.Series(np.log(of["high"] / of["low"]) ** 2)
    return pd.Series(np.sqrt(squares.rolling(20).mean() / (4.0 * np.log(2.0))))


def _pandas_yang_zhang(of: Mapping[str, pd.Series]) -> pd.Series:
    up, down, body = (pd.Series(np.log(of[name] / of["open"])) for name in ("high", "low", "close"))
    gap = pd.Series(np.log(of["open"] / of["close"].shift()))
    inside = (up * (up - body) + down * (down - body)).rolling(20).mean()
    k = 0.34 / (1.34 + 21.0 / 19.0)
    return pd.Series(
        np.sqrt(gap.rolling(20).var() + k * body.rolling(20).var() + (1.0 - k) * inside)
    )


def steps() -> Table:
    """Wall time of one more bar after so many, beside TA-Lib over all bars so far."""
    fields = bars(max(SEEN) + CALLS)
    rows: list[tuple[Cell, ...]] = []
    for name in SCHEMAS:
        schema = load_schema(name)
        spent = [_step_us(name, fields, seen) for seen in SEEN]
        rows.append((f"{name}, step", len(schema.names), *spent, spent[-1] / spent[0]))
    spent = [_recomputed_us(fields, seen) for seen in SEEN]
    rows.append(("RSI, ADX and SAR by TA-Lib over all bars", 3, *spent, spent[-1] / spent[0]))
    columns = ("path", "features", *(f"us at {seen:,} bars" for seen in SEEN), "last / first")
    notes = (f"Median wall time of {CALLS} bars, one path, one thread.",)
    return Table("One more bar", columns, tuple(rows), notes)


def _step_us(schema: str, fields: Fields, seen: int) -> float:
    stream = load_schema(schema).open()
    stream.advance({name: values[:seen] for name, values in fields.items()})
    start = pd.Timestamp("2020-01-01", tz="UTC")

    def bar(row: int) -> Bar:
        values = {name: float(fields[name][row]) for name in ("open", "high", "low", "close")}
        return Bar(ts=start, volume=0.0, **values)

    coming = [bar(row) for row in range(seen, seen + CALLS)]
    return _median_us([partial(stream.step, one) for one in coming])


def _recomputed_us(fields: Fields, seen: int) -> float:
    def last(row: int) -> tuple[float, float, float]:
        high, low, close = (fields[name][: row + 1] for name in ("high", "low", "close"))
        adx = talib.ADX(high, low, close, 14)[-1]
        return talib.RSI(close, 14)[-1], adx, talib.SAR(high, low, 0.02, 0.2)[-1]

    return _median_us([partial(last, row) for row in range(seen, seen + CALLS)])


def _median_us(calls: Sequence[Callable[[], object]]) -> float:
    spent = []
    for call in calls:
        begun = time.perf_counter_ns()
        call()
        spent.append(time.perf_counter_ns() - begun)
    return 1e-3 * float(np.median(spent))
