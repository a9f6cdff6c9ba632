"""Rolling Hurst exponents of a million bars against antropy and a pandas apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pandas as pd

from benchmarks.compare import Comparison, compare
from benchmarks.comparisons import table
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream
from finchaos.features.formula import Formula, Moves
from finchaos.features.hurst import GeneralisedHurst, HurstDetrended

BARS, WINDOW, LAGS = 1_000_000, 128, 16
LIBRARY_WINDOWS, NAIVE_WINDOWS = 50_000, 2_000
DETRENDED = HurstDetrended(WINDOW, box_min=4, box_share=0.1, ratio=1.2)
"""With the sizes of boxes that antropy takes."""
ABSENT = "antropy is not installed: pip install antropy measures it."
NOTES: tuple[str, ...] = (
    "The peers' times are of fewer windows, one call each, scaled to as many windows as there "
    "are bars; ours are of all bars.",
    "Both sides start from log returns or log closes in memory. Box by box the line of least "
    "squares is the same whether the series runs forwards or backwards: antropy is given it "
    "backwards, as its boxes begin at the start and ours end at the newest bar.",
    "nolds 0.6.3 does not import on Python 3.11; antropy's routine is a compiled form of it.",
)
Rolled = Callable[[np.ndarray], np.ndarray]


def run(options: Options) -> Report:
    """Detrended fluctuation analysis and the generalised exponent, windows of 128 bars."""
    rng = random_stream(1, "benchmark/fractal")
    returns = 0.01 * rng.standard_t(4, BARS)
    rounds = options.protocol.rounds
    dfa = f"DFA of {BARS} windows of {WINDOW}"
    generalised = f"generalised Hurst of {BARS} windows of {WINDOW}, lags 1-{LAGS}"
    found = [
        _compared(dfa, "pandas apply", DETRENDED, _pandas_dfa, NAIVE_WINDOWS, returns, rounds),
        _compared(
            generalised,
            "pandas apply",
            GeneralisedHurst(WINDOW, LAGS),
            _pandas_generalised,
            NAIVE_WINDOWS,
            returns,
            rounds,
        ),
    ]
    notes = NOTES
    if find_spec("antropy") is None:
        notes = (*NOTES, ABSENT)
    else:
        peer = ("antropy, detrended_fluctuation", DETRENDED, _antropy, LIBRARY_WINDOWS)
        found.insert(0, _compared(dfa, *peer, returns, rounds))
    rows = table("Rolling Hurst exponent", found)
    return Report("fractal", (Table(rows.title, rows.columns, rows.rows, notes),))


def _compared(
    work: str,
    peer: str,
    formula: Formula,
    theirs: Rolled,
    windows: int,
    returns: np.ndarray,
    rounds: int,
) -> Comparison:
    """Timed only if every window that the peer is given has our value."""
    windows = min(windows, len(returns) - WINDOW + 1)
    moves = Moves(returns[:, None], np.zeros_like(returns)[:, None], returns[:, None])
    close = np.cumsum(returns[: windows + WINDOW - 1])
    own = formula.open(1).advance(moves)[WINDOW - 1 : WINDOW - 1 + windows, 0]
    gap = float(np.abs(np.clip(theirs(close), 0.0, 1.0) - own).max())
    if not gap < 1e-6:
        raise RuntimeError(f"{peer} differs from ours by up to {gap}")
    name = f"{peer}, scaled from {windows} windows"
    timed = compare(
        work, name, lambda: formula.open(1).advance(moves), lambda: theirs(close), rounds
    )
    return replace(timed, peer_s=timed.peer_s * len(returns) / windows)


def _antropy(close: np.ndarray) -> np.ndarray:
    from antropy import detrended_fluctuation

    steps = np.diff(close[::-1], prepend=close[-1])
    views = np.lib.stride_tricks.sliding_window_view(steps, WINDOW)[::-1]
    return np.array([detrended_fluctuation(view) for view in views])


def _pandas_dfa(close: np.ndarray) -> np.ndarray:
    sizes = np.array([4, 5, 6, 8, 9, 11])

    def exponent(window: np.ndarray) -> float:
        newest_first = window[::-1]
        fluctuation = np.empty(len(sizes))
        for index, size in enumerate(sizes):
            boxes = newest_first[: WINDOW // size * size].reshape(-1, size)
            line = np.arange(size) - 0.5 * (size - 1)
            boxes = boxes - boxes.mean(axis=1, keepdims=True)
            left = boxes - np.outer(boxes @ line / (line @ line), line)
            fluctuation[index] = np.sqrt(np.mean(left**2))
        return float(np.polyfit(np.log(sizes), np.log(fluctuation), 1)[0])

    return _applied(close, exponent)


def _pandas_generalised(close: np.ndarray) -> np.ndarray:
    lags = np.arange(1, LAGS + 1)

    def exponent(window: np.ndarray) -> float:
        squares = [np.mean((window[lag:] - window[:-lag]) ** 2) for lag in lags]
        return 0.5 * float(np.polyfit(np.log(lags), np.log(squares), 1)[0])

    return _applied(close, exponent)


def _applied(close: np.ndarray, exponent: Callable[[np.ndarray], float]) -> np.ndarray:
    rolled = pd.Series(close).rolling(WINDOW).apply(exponent, raw=True)
    return rolled.to_numpy()[WINDOW - 1 :]
