"""Slices of an out-of-sample history by what was known before each period began."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from governance.statistics.out_of_sample import OutOfSample

VOLATILITY_BARS = 21
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_TERCILES = ("low volatility", "middling volatility", "high volatility")


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the periods.

    Attributes
    ----------
    by, name : str
        What sorts the periods, and which of its values this is.
    rows : numpy.ndarray, shape (n,), bool
    """

    by: str
    name: str
    rows: np.ndarray


def known_slices(tested: OutOfSample, bars: Bars, *, least: int) -> tuple[Slice, ...]:
    """Slices with at least ``least`` periods inside and outside.

    Period j runs between the closes of bars j + delay and j + delay + 1. It is sorted by the
    calendar, by the regime at its decision, and by closes up to the one that it begins at.

    Parameters
    ----------
    tested : OutOfSample
    bars : Bars
        The whole sample, with the bars before the first test.
    least : int
    """
    n, start = len(tested.net), int(bars.index.get_indexer(tested.bars.index[:1])[0])
    begins = start + tested.delay_bars + np.arange(n)
    labels = {
        "regime": np.array([f"regime {state}" for state in tested.state[:n]]),
        **_of_calendar(tested.index, bars.bars_per_year),
        **{by: values[begins] for by, values in _of_closes(bars.close).items()},
    }
    found = []
    for by, values in labels.items():
        for name in dict.fromkeys(sorted(values.tolist())):
            rows = values == name
            if name and least <= rows.sum() <= n - least:
                found.append(Slice(by, name, rows))
    return tuple(found)


def _of_calendar(index: pd.DatetimeIndex, bars_per_year: float) -> dict[str, np.ndarray]:
    """Of the close that a period ends at, which is known before it begins."""
    found = {
        "weekday": np.array(_DAYS)[index.day_of_week.to_numpy()],
        "month": np.array(_MONTHS)[index.month.to_numpy() - 1],
        "year": index.year.to_numpy().astype(str),
    }
    if bars_per_year > 400.0:
        found["hour"] = np.array([f"{hour:02d} h UTC" for hour in index.hour])
    return found


def _of_closes(close: np.ndarray) -> dict[str, np.ndarray]:
    """Labels of every bar from closes up to its own, empty where there are too few, shape (t,)."""
    moves = np.diff(np.log(close), prepend=np.log(close[0]))
    trend = np.zeros(len(close))
    trend[VOLATILITY_BARS:] = np.log(close[VOLATILITY_BARS:] / close[:-VOLATILITY_BARS])
    last = np.where(moves < 0.0, "after a fall", np.where(moves > 0.0, "after a rise", ""))
    month = np.where(
        trend < 0.0,
        f"below {VOLATILITY_BARS} bars before",
        np.where(trend > 0.0, f"above {VOLATILITY_BARS} bars before", ""),
    )
    return {"last move": last, "trend": month, "volatility": volatility_terciles(moves)}


def volatility_terciles(moves: np.ndarray) -> np.ndarray:
    """Tercile of each bar's realised volatility among all up to it, shape (t,); "" at first.

    Ranks are among the past alone, so that no later bar decides where one belongs.
    """
    found = np.full(len(moves), "", dtype="<U20")
    so_far: list[float] = []
    for row in range(VOLATILITY_BARS, len(moves)):
        value = float(np.std(moves[row - VOLATILITY_BARS + 1 : row + 1]))
        if len(so_far) >= VOLATILITY_BARS:
            share = bisect_left(so_far, value) / len(so_far)
            found[row] = _TERCILES[min(int(3.0 * share), 2)]
        insort(so_far, value)
    return found


def net_of_holding(held: np.ndarray, gross: np.ndarray, cost_bps: float) -> np.ndarray:
    """Net returns in which leaving is paid by the period that was held, shape (n,).

    Otherwise a slice in which nothing is held would consist of what it cost to get there. Over
    all periods the costs are the same.

    Parameters
    ----------
    held, gross : numpy.ndarray, shape (n,)
        Exposure of each period, nothing before the first, and returns on capital before costs.
    cost_bps : float

    Examples
    --------
    >>> net_of_holding(np.array([1.0, 1.0, 0.0]), np.zeros(3), 100.0).tolist()
    [-0.01, -0.01, 0.0]
    """
    before = np.concatenate([[0.0], held[:-1]])
    kept = np.where(before * held > 0.0, np.minimum(np.abs(before), np.abs(held)), 0.0)
    opened, closed = np.abs(held) - kept, np.abs(before) - kept
    return gross - (opened + np.append(closed[1:], 0.0)) * (cost_bps / 1e4)
