"""Defects that break the contract of answers, or say what cannot be meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.selftest.planted import Behaviour, Defect, stateless

_FAMILY = "contract"


def _row(signals: Signals, row: int, **values: Any) -> Signals:
    """Signals with one row of some fields replaced; it is counted from the end if negative."""
    fields: dict[str, Any] = {}
    for name, value in values.items():
        known = getattr(signals, name)
        kinds = {"tripped": bool, "regime": np.int64}
        array = np.zeros(len(signals), kinds.get(name, float)) if known is None else known.copy()
        array[row] = value
        fields[name] = array
    return replace(signals, **fields)


def _one(row: int, **values: Any) -> Callable[[], Behaviour]:
    return stateless(lambda base, bars: _row(base.signals(bars), row, **values))


def _in_warmup(base: Subject, bars: Bars) -> Signals:
    return _row(base.signals(bars), max(0, base.card.warmup_bars - 1), position=0.5)


def _beyond_limits(base: Subject, bars: Bars) -> Signals:
    return _row(base.signals(bars), -5, position=base.card.max_position + 1.0)


def _in_percent(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    return replace(signals, position=100.0 * signals.position)


def _late(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    return replace(signals, index=signals.index.shift(1, freq="D"))


def _changing_bars(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    bars.close.flags.writeable = True
    bars.close[0] *= 1.0001
    return signals


def _failing_when_long(base: Subject, bars: Bars) -> Signals:
    if len(bars) > 700:
        raise MemoryError("planted")
    return base.signals(bars)


def _failing_on_jumps(base: Subject, bars: Bars) -> Signals:
    if (np.abs(np.diff(np.log(bars.close))) > 0.4).any():
        raise ValueError("planted")
    return base.signals(bars)


def _bare(base: Subject, bars: Bars) -> Any:
    return base.signals(bars).position


DEFECTS: tuple[Defect, ...] = (
    Defect("nan_position", _FAMILY, "One position is no number", _one(-9, position=np.nan)),
    Defect("rows_missing", _FAMILY, "The last two bars get no answer",
           stateless(lambda base, bars: base.signals(bars).rows(0, len(bars) - 2))),
    Defect("stamped_late", _FAMILY, "Every answer is stamped a day late", stateless(_late)),
    Defect("beyond_limits", _FAMILY, "One position exceeds the declared limit",
           stateless(_beyond_limits)),
    Defect("units", _FAMILY, "Positions in per cent, not as fractions", stateless(_in_percent)),
    Defect("cold_start", _FAMILY, "A position is held during the warm-up", stateless(_in_warmup)),
    Defect("impossible_probability", _FAMILY, "One probability is 1.2",
           _one(-9, stress_probability=1.2)),
    Defect("held_while_tripped", _FAMILY, "A position is held while the switch is latched",
           _one(-9, position=0.7, tripped=True)),
    Defect("changes_its_input", _FAMILY, "Writes to the bars it was given",
           stateless(_changing_bars)),
    Defect("fails_when_long", _FAMILY, "Fails on histories beyond 700 bars",
           stateless(_failing_when_long)),
    Defect("fails_on_jumps", _FAMILY, "Fails on a move of 40 %", stateless(_failing_on_jumps)),
    Defect("no_signals", _FAMILY, "Answers with a bare array", stateless(_bare)),
)  # fmt: skip
