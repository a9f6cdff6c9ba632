"""Faults of a live feed: what a stream gets in place of the bars that were due."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import BAR_FIELDS, PRICE_FIELDS, Bar
from finchaos.core.errors import InputError

FROZEN_BARS = 10
SILENT_BARS = 30
MISSING_BARS = 60
SKEW_BARS = 250
SPIKE = 1.5
MAX_SEVERITY = 3.0
BARS_NEEDED = MISSING_BARS + 1
"""Bars that must be due for every fault to find those it spoils."""


@dataclass(frozen=True)
class Delivery:
    """One thing a feed delivers.

    Attributes
    ----------
    bar : Bar or None
        None if no bar came and only the clock moves on.
    now : pandas.Timestamp
        Wall-clock time, UTC.
    resume : int
        Position among the due bars of the one that a repaired feed delivers next.
    """

    bar: Bar | None
    now: pd.Timestamp
    resume: int


Spoil = Callable[[Bar, Sequence[Bar], np.random.Generator, float], list[Delivery]]


@dataclass(frozen=True)
class Fault:
    """One way in which a feed goes wrong.

    Attributes
    ----------
    name, description : str
    spoil : callable
        From the last good bar, the bars due after it, random numbers and a severity to what is
        delivered.
    is_gradual : bool
        Whether the first delivery can pass for a good one, so that only repetition shows the
        fault.
    size : str
        What severity scales, as it is at severity 1; empty where there is nothing to scale.
    """

    name: str
    description: str
    spoil: Spoil
    is_gradual: bool = False
    size: str = ""

    @property
    def kind(self) -> Literal["immediate", "gradual"]:
        """Whether one delivery is enough to see the fault."""
        return "gradual" if self.is_gradual else "immediate"

    def deliveries(
        self, last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float = 1.0
    ) -> list[Delivery]:
        """What the feed delivers after ``last`` in place of ``due``.

        Parameters
        ----------
        last : Bar
        due : sequence of Bar
        rng : numpy.random.Generator
        severity : float
            In (0, 3]. From 1 on the fault is as bad as its name and a switch has to see it; below
            1 it may pass for an ordinary bar. What lasts is never longer than at 1.

        Raises
        ------
        InputError
            If fewer than :data:`BARS_NEEDED` bars are due, or the severity is impossible.
        """
        if len(due) < BARS_NEEDED:
            raise InputError(
                f"fault {self.name} needs more bars to spoil",
                expected=f"at least {BARS_NEEDED}",
                got=str(len(due)),
            )
        if not 0.0 < severity <= MAX_SEVERITY:
            raise InputError(
                f"impossible severity of fault {self.name}",
                expected=f"above 0, at most {MAX_SEVERITY:g}",
                got=repr(severity),
            )
        return self.spoil(last, due, rng, severity)


class UnreadableBar(Bar):
    """A bar whose values cannot be read: whatever watches the feed fails on it."""

    def __getattribute__(self, name: str) -> Any:
        if name in BAR_FIELDS:
            raise RuntimeError(f"field {name} cannot be read")
        return super().__getattribute__(name)


def _one(bar: Bar, due: Sequence[Bar], resume: int = 1) -> list[Delivery]:
    return [Delivery(bar, due[0].ts, resume)]


def _with(due: Sequence[Bar], **values: Any) -> list[Delivery]:
    return _one(replace(due[0], **values), due)


def _not_a_number(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, **{str(rng.choice(BAR_FIELDS)): float("nan")})


def _infinity(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, **{str(rng.choice(BAR_FIELDS)): float(rng.choice([-np.inf, np.inf]))})


def _zero_price(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, **{str(rng.choice(PRICE_FIELDS)): 0.0})


def _negative_volume(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, volume=-abs(due[0].volume) - 1.0)


def _frozen_feed(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    stamps = [bar.ts for bar in due[: _bars(FROZEN_BARS, severity)]]
    return [Delivery(replace(last, ts=ts), ts, row + 1) for row, ts in enumerate(stamps)]


def _silent_feed(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    silent = due[: _bars(SILENT_BARS, severity)]
    return [Delivery(None, bar.ts, row + 1) for row, bar in enumerate(silent)]


def _clock_backward(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, ts=last.ts - severity * 5 * _typical_step(due))


def _clock_forward(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, ts=due[0].ts + severity * SKEW_BARS * _typical_step(due))


def _time_gap(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    missing = _bars(MISSING_BARS, severity)
    late = due[missing]
    return [Delivery(late, late.ts, missing + 1)]


def _unit_error_up(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, **_scaled(due[0], 100.0**severity))


def _unit_error_down(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _with(due, **_scaled(due[0], 100.0**-severity))


def _price_spike(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    bar = due[0]
    if rng.random() < 0.5:
        close = bar.close * SPIKE**severity
        return _with(due, close=close, high=max(bar.high, close))
    close = bar.close / SPIKE**severity
    return _with(due, close=close, low=min(bar.low, close))


def _swapped_range(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    # A tick apart even where only closes are known, so that the swap is never invisible.
    return _with(due, high=due[0].low / 1.0001, low=due[0].high * 1.0001)


def _shuffled_fields(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    values = [getattr(due[0], name) for name in BAR_FIELDS]
    turned = np.roll(values, int(rng.integers(1, len(values))))
    return _with(due, **dict(zip(BAR_FIELDS, map(float, turned), strict=True)))


def _duplicated_bar(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return _one(last, due, resume=0)


def _dead_monitor(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    nothing = dict.fromkeys(BAR_FIELDS, float("nan"))
    return _one(UnreadableBar(due[0].ts, **nothing), due)


def _unreadable_clock(
    last: Bar, due: Sequence[Bar], rng: np.random.Generator, severity: float
) -> list[Delivery]:
    return [Delivery(None, pd.NaT, 0)]  # type: ignore[arg-type]  # that it is no time is the fault


def _bars(count: int, severity: float) -> int:
    return max(1, round(count * min(severity, 1.0)))


def _scaled(bar: Bar, factor: float) -> dict[str, float]:
    return {name: factor * getattr(bar, name) for name in PRICE_FIELDS}


def _typical_step(due: Sequence[Bar]) -> pd.Timedelta:
    return sorted(b.ts - a.ts for a, b in pairwise(due))[len(due) // 2 - 1]


FAULTS: MappingProxyType[str, Fault] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            Fault("not_a_number", "One field is NaN", _not_a_number),
            Fault("infinity", "One field is plus or minus infinity", _infinity),
            Fault("zero_price", "One price is zero", _zero_price),
            Fault("negative_volume", "Volume is below zero", _negative_volume),
            Fault(
                "frozen_feed",
                "The last bar repeats with new time stamps",
                _frozen_feed,
                True,
                size="ten repetitions",
            ),
            Fault(
                "silent_feed",
                "No bar comes while the clock moves on",
                _silent_feed,
                True,
                size="thirty bars of silence",
            ),
            Fault("clock_backward", "A bar is stamped five bars early", _clock_backward),
            Fault(
                "clock_forward",
                "A bar is stamped 250 bars late",
                _clock_forward,
                size="250 bars ahead",
            ),
            Fault("time_gap", "Sixty bars are missing", _time_gap, size="sixty bars missing"),
            Fault("unit_error_up", "Prices are a hundred times too high", _unit_error_up),
            Fault("unit_error_down", "Prices are a hundred times too low", _unit_error_down),
            Fault("price_spike", "One close is off by half", _price_spike, size="a factor of 1.5"),
            Fault("swapped_range", "High and low are exchanged", _swapped_range),
            Fault("shuffled_fields", "Values stand in each other's fields", _shuffled_fields),
            Fault("duplicated_bar", "The last bar comes twice", _duplicated_bar),
            Fault("dead_monitor", "Reading the bar raises an error", _dead_monitor),
            Fault("unreadable_clock", "A heartbeat tells no time", _unreadable_clock),
        )
    }
)
