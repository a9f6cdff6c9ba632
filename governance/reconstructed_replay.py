"""Bars that carry a reconstructed session: in a model's own clock, or a minute for a bar."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import DataError
from finchaos.markets.sessions import (
    EXCHANGE_ZONE,
    SESSION_MINUTES,
    SESSIONS_PER_YEAR,
    session_closes,
)
from governance.minute_path import coarser
from governance.replay import Replay, business_closes, in_resolution, is_daily
from governance.scenario import Scenario


def scaled_replay(path: Bars, prior_close: float, warmup: Bars, index: pd.DatetimeIndex) -> Bars:
    """``warmup`` and then ``path`` at the warm-up's last price, stamped by ``index``.

    For paths that have ranges of their own. Volume keeps its shape around the warm-up's median.

    Parameters
    ----------
    path : Bars
    prior_close : float
        Price before the first bar of ``path``; it becomes the warm-up's last close.
    warmup : Bars
    index : pandas.DatetimeIndex, shape (len(path),)
    """
    scale = warmup.close[-1] / prior_close
    values = {name: getattr(path, name) * scale for name in BAR_FIELDS if name != "volume"}
    volume = path.volume / np.median(path.volume) * np.median(warmup.volume)
    if not warmup.has_range:
        values = dict.fromkeys(values, values["close"])
    return warmup.followed_by(
        replace(
            warmup,
            index=index,
            volume=volume,
            known_at=None,
            provenance=replace(
                path.provenance,
                notes=(
                    *path.provenance.notes,
                    f"replayed after the subject's bars to {warmup.index[-1].date()}",
                ),
            ),
            **values,
        )
    )


def session_replay(scenario: Scenario, seed: int, warmup: Bars, warmup_note: str) -> Replay:
    """A reconstructed session after intraday bars, in bars of their size.

    Raises
    ------
    DataError
        If the session does not divide into bars of the warm-up's size.
    """
    path = scenario.minute_path(seed)
    size = SESSION_MINUTES * SESSIONS_PER_YEAR / warmup.bars_per_year
    if is_daily(warmup) or size != round(size) or len(path) % round(size):
        raise DataError(
            "a session cannot be replayed in bars of this size",
            expected="intraday bars that divide a session of 390 minutes",
            got=f"{warmup.bars_per_year:g} bars a year",
        )
    path = coarser(path, round(size))
    day = warmup.index[-1].tz_convert(EXCHANGE_ZONE).tz_localize(None).normalize()
    close = session_closes(pd.DatetimeIndex([day + pd.offsets.BDay()]))[0]
    stamps = pd.DatetimeIndex(path.index + (close - path.index[-1]))
    bars = scaled_replay(path, scenario.prior_close, warmup, in_resolution(stamps, warmup.index))
    note = f"{reconstruction_note(scenario, seed)}; {warmup_note}"
    return Replay(bars, len(warmup), path.index, "reconstructed", note)


def minutes_as_days(scenario: Scenario, seed: int, warmup: Bars, warmup_note: str) -> Replay:
    """A reconstructed session after daily bars, one minute standing for one bar.

    What a daily model does with a shock of this speed in its own clock; not what it would have
    done on that day, when it saw one bar.
    """
    path = scenario.minute_path(seed)
    stamps = business_closes(warmup.index, len(path))
    bars = scaled_replay(path, scenario.prior_close, warmup, stamps)
    note = f"{reconstruction_note(scenario, seed)}; one minute stands for one bar; {warmup_note}"
    return Replay(bars, len(warmup), path.index, "reconstructed", note)


def reconstruction_note(scenario: Scenario, seed: int) -> str:
    """The label that a reconstructed path carries wherever it appears."""
    return f"reconstructed, seed {seed}, anchors sha256 {scenario.anchors_digest}"
