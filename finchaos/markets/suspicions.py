"""Prices that could be used and look wrong: facts for a reader to weigh, never refused.

Scales are trailing, so that a move is judged by what was usual before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from finchaos.markets.faults import Fault
from finchaos.markets.usable import Settings, UsableRows

SCALE_WINDOW = 250
SCALE_LEAST = 20
RECENT_WINDOW = 10
MAD_TO_SD = 1.482602218505602
JUMP_MULTIPLE = 8.0
"""A split or a bad price is a move of at least so many robust standard deviations."""
SPLIT_RATIOS = np.array([1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50, 100, 1000])
SPLIT_TOLERANCE = 0.05
"""Distance in logs from a ratio that the market's own move may add."""
REVERSAL_SHARE = 0.25
"""A bad price is undone by the next bar, but for at most this share of the jump."""
AFTER_BARS = 5


def price_faults(rows: UsableRows, settings: Settings) -> Iterator[Fault]:
    """What looks wrong with prices and volumes."""
    close = rows.fields["close"]
    move = np.zeros(len(rows))
    move[1:] = np.diff(np.log(close))
    scale = trailing_scale(move)
    pairs = max(len(rows) - 1, 0)
    with np.errstate(invalid="ignore"):
        extreme = np.abs(move) > settings.extreme_multiple * scale
    yield rows.fault(
        "extreme_returns",
        f"Returns beyond {settings.extreme_multiple:g} robust deviations of the 250 before",
        extreme,
        pairs,
        lambda row: f"{np.expm1(move[row]):+.2%}",
    )
    rough = np.fmax(scale, recent_scale(move))
    yield _splits(rows, move, rough)
    yield _bad_prices(rows, move, rough)
    yield rows.fault(
        "stale_bars",
        f"Bars in runs of {settings.stale_run} or more equal closes, without the first of each",
        stale(close, settings.stale_run),
        len(rows),
        lambda row: f"close {close[row]:g}",
    )
    yield from _idle_faults(rows)


def trailing_scale(move: np.ndarray) -> np.ndarray:
    """Robust standard deviation of the 250 moves before each row; NaN where unknown or zero.

    Row t uses rows before t alone, and at least 20 of them.
    """
    size = pd.Series(np.abs(move[1:]))
    typical = size.rolling(SCALE_WINDOW, min_periods=SCALE_LEAST).median().shift(1).to_numpy()
    scale = np.full(len(move), np.nan)
    scale[1:] = np.where(typical > 0, MAD_TO_SD * typical, np.nan)
    return scale


def recent_scale(move: np.ndarray) -> np.ndarray:
    """Standard deviation of a normal with the mean size of the 10 moves before each row.

    In a crisis a day's move and its recovery are large for the year before and ordinary for the
    week before; only the second tells them from a bad price.
    """
    recent = np.full(len(move), np.nan)
    size = pd.Series(np.abs(move[1:])).rolling(RECENT_WINDOW, min_periods=1).mean().shift(1)
    recent[1:] = np.sqrt(0.5 * np.pi) * size.to_numpy()
    return recent


def stale(close: np.ndarray, run: int) -> np.ndarray:
    """Rows that repeat the close before within a run of at least ``run`` equal closes."""
    same = np.zeros(len(close), dtype=bool)
    same[1:] = close[1:] == close[:-1]
    starts = np.cumsum(~same)
    lengths = np.bincount(starts, minlength=1)
    return same & (lengths[starts] >= run)


def _splits(rows: UsableRows, move: np.ndarray, scale: np.ndarray) -> Fault:
    """Jumps near n to 1 after which the price stays at the new level."""
    close = rows.fields["close"]
    jump = move.copy()
    if rows.has_range:  # a split shows at the open, before the day's own move
        opened = np.log(rows.fields["open"][1:] / close[:-1])
        jump[1:] = np.where(opened != 0, opened, move[1:])
    distance = np.abs(np.abs(jump)[:, None] - np.log(SPLIT_RATIOS)[None, :])
    near = distance.min(axis=1, initial=np.inf) < SPLIT_TOLERANCE
    with np.errstate(invalid="ignore"):
        candidates = near & (np.abs(jump) > JUMP_MULTIPLE * scale)
    stays = np.zeros(len(rows), dtype=bool)
    for row in np.flatnonzero(candidates).tolist():
        after = np.median(np.log(close[row : row + AFTER_BARS]))
        stays[row] = abs(after - np.log(close[row - 1]) - jump[row]) < 0.5 * abs(jump[row])
    ratio = SPLIT_RATIOS[np.argmin(distance, axis=1)] if len(rows) else np.empty(0)
    return rows.fault(
        "suspected_splits",
        "Jumps near n to 1 after which the price stays: unadjusted splits or a change of unit",
        stays,
        max(len(rows) - 1, 0),
        lambda row: f"{ratio[row]:g} to 1" if jump[row] < 0 else f"1 to {ratio[row]:g}",
    )


def _bad_prices(rows: UsableRows, move: np.ndarray, scale: np.ndarray) -> Fault:
    """Jumps that the next bar undoes."""
    undone = np.zeros(len(rows), dtype=bool)
    with np.errstate(invalid="ignore"):
        large = np.abs(move) > JUMP_MULTIPLE * scale
    back = np.abs(move[:-1] + move[1:]) < REVERSAL_SHARE * np.abs(move[:-1])
    undone[:-1] = large[:-1] & back
    return rows.fault(
        "suspected_bad_prices",
        "Large moves of the close that the next bar undoes",
        undone,
        max(len(rows) - 1, 0),
        lambda row: f"{np.expm1(move[row]):+.2%}",
    )


def _idle_faults(rows: UsableRows) -> Iterator[Fault]:
    opened, high = rows.fields["open"], rows.fields["high"]
    low, close = rows.fields["low"], rows.fields["close"]
    count = len(rows)
    ranged = count if rows.has_range else 0
    yield rows.fault(
        "flat_bars",
        "Bars whose open, high, low and close are one price",
        rows.has_range & (high == low) & (opened == close),
        ranged,
    )
    repeated = np.zeros(count, dtype=bool)
    repeated[1:] = rows.has_range & (opened[1:] == close[:-1])
    yield rows.fault(
        "open_equals_prior_close",
        "Bars that open exactly at the close before: the open may not be a traded price",
        repeated,
        max(ranged - 1, 0),
    )
    yield rows.fault(
        "zero_volume_bars",
        "Bars without volume, where others have some",
        rows.has_volume & (rows.fields["volume"] == 0),
        count if rows.has_volume else 0,
    )
