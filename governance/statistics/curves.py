"""Exhibits of out-of-sample histories: what the figures of outcomes analysis are drawn from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from governance.record import Column, Exhibit
from governance.statistics.out_of_sample import OutOfSample
from governance.statistics.performance import drawdown, wealth
from governance.statistics.regimes import Alarms, Episode


def equity_exhibit(check: str, returns: Mapping[str, np.ndarray], tested: OutOfSample) -> Exhibit:
    """Wealth from 1 over time, a column for every series of returns of shape (n,)."""
    return Exhibit(
        check=check,
        name="equity",
        title="Growth of one unit of capital, out of sample",
        kind="time_series",
        columns=(
            _times(tested.index.insert(0, tested.opening)),
            *(_column(name, wealth(values)) for name, values in returns.items()),
        ),
        y_label="wealth",
        note="Net of cost unless said otherwise. Each point is made by the model of its fold.",
    )


def drawdown_exhibit(check: str, returns: Mapping[str, np.ndarray], tested: OutOfSample) -> Exhibit:
    """Fall from the high over time, in per cent, a column for every series of returns."""
    return Exhibit(
        check=check,
        name="drawdown",
        title="Fall from the high",
        kind="time_series",
        columns=(
            _times(tested.index.insert(0, tested.opening)),
            *(_column(name, 100.0 * drawdown(v), "%") for name, v in returns.items()),
        ),
        y_label="below the high, %",
    )


def exposure_exhibit(check: str, tested: OutOfSample) -> Exhibit:
    """Position, stress probability and kill switch at every bar."""
    signals = tested.signals
    columns = [_times(tested.bars.index), _column("position decided", signals.position)]
    if signals.stress_probability is not None:
        columns.append(_column("stress probability", signals.stress_probability))
    if signals.tripped is not None:
        columns.append(_column("kill switch latched", signals.tripped.astype(float)))
    return Exhibit(
        check=check,
        name="exposure",
        title="What the model said",
        kind="time_series",
        columns=tuple(columns),
        y_label="fraction of capital, probability",
        note=f"As decided at each close; traded {tested.delay_bars} bar(s) later.",
    )


def falls_exhibit(
    check: str, tested: OutOfSample, episodes: tuple[Episode, ...], alarms: Alarms
) -> Exhibit:
    """Every fall of the market with what it cost until the signal saw it."""
    index, close = tested.bars.index, tested.bars.close
    rows: list[tuple[float | str | None, ...]] = []
    for number, episode in enumerate(episodes):
        off = tested.off[episode.peak : episode.trough + 1]
        seen = episode.peak + int(np.argmax(off)) if off.any() else None
        back = np.flatnonzero(~tested.off[episode.trough :])
        clear = episode.trough + int(back[0]) if len(back) and tested.off[episode.trough] else None
        rows.append(
            (
                str(index[episode.peak].date()),
                str(index[episode.trough].date()),
                100.0 * episode.depth,
                None if seen is None else float(alarms.detection_days[number]),
                None if seen is None else 100.0 * float(close[seen] / close[episode.peak] - 1.0),
                None if clear is None else (index[clear] - index[episode.trough]).days,
                None
                if clear is None
                else 100.0 * float(close[clear] / close[episode.trough] - 1.0),
            )
        )
    names = (
        ("peak", ""),
        ("trough", ""),
        ("depth", "%"),
        ("seen after", "calendar days"),
        ("market until seen", "%"),
        ("cleared after trough", "calendar days"),
        ("market until cleared", "%"),
    )
    return Exhibit(
        check=check,
        name="falls",
        title="Falls of the market dated in hindsight, and when the signal saw them",
        kind="table",
        columns=tuple(
            Column(name=name, unit=unit, values=tuple(row[k] for row in rows))
            for k, (name, unit) in enumerate(names)
        ),
        note="Peaks and troughs are known only afterwards; they serve to score the signal. "
        "Empty: not seen before the trough, or not risk-off at it, or not cleared since.",
    )


def trips_exhibit(check: str, tested: OutOfSample) -> Exhibit | None:
    """When the kill switch latched; None if it never did."""
    if tested.trips is None or not tested.trips.any():
        return None
    rows: list[int] = np.flatnonzero(tested.trips).tolist()
    close = tested.bars.close
    moves = [100.0 * float(close[row] / close[max(row - 1, 0)] - 1.0) for row in rows]
    return Exhibit(
        check=check,
        name="trips",
        title="Kill-switch trips out of sample",
        kind="table",
        columns=(
            Column(name="bar", values=tuple(tested.bars.index[row].isoformat() for row in rows)),
            Column(name="fold", values=tuple(str(tested.fold[row]) for row in rows)),
            Column(name="market at that bar", values=tuple(moves), unit="%"),
        ),
    )


def _times(index: pd.DatetimeIndex) -> Column:
    return Column(name="time", values=tuple(stamp.isoformat() for stamp in index))


def _column(name: str, values: np.ndarray, unit: str = "") -> Column:
    cells = [value if np.isfinite(value) else None for value in values.tolist()]
    return Column(name=name, values=tuple(cells), unit=unit)
