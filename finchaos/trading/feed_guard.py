"""What is wrong with a bar, before any model sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from finchaos.core.bars import BAR_FIELDS, Bars
from finchaos.core.errors import CheckpointError, DataError

NANOSECONDS_PER_DAY = 86_400 * 1_000_000_000
_CLOCK_DAYS = 60.0 / 86_400.0


@dataclass(frozen=True)
class FeedLimits:
    """What a feed may do, learnt from training bars.

    Attributes
    ----------
    log_move : float
        Largest distance, as a log ratio, of any price from the close before, and of high from low,
        that is believed at all.
    log_shock : float
        Distance from the close before that is believed and yet without precedent.
    gap_days : float
        Longest time between two bars, in days of 24 hours.
    repeats : int
        How often in a row a bar may equal the one before it in every value.
    """

    log_move: float
    log_shock: float
    gap_days: float
    repeats: int

    def __post_init__(self) -> None:
        positive = (self.log_move, self.log_shock, self.gap_days, self.repeats)
        if not all(0 < limit < math.inf for limit in positive):
            raise CheckpointError("impossible limits of a feed", got=repr(self))

    @classmethod
    def learn(
        cls,
        bars: Bars,
        *,
        move_multiple: float,
        least_log_move: float,
        shock_multiple: float,
        gap_multiple: float,
    ) -> FeedLimits:
        """Limits from a training window.

        Parameters
        ----------
        bars : Bars
            At least two.
        move_multiple, shock_multiple : float
            The largest move of training, times these, is the largest that is believed, and the
            largest that is not without precedent.
        least_log_move : float
            No smaller move is called impossible, however calm training was.
        gap_multiple : float
            The longest gap of training, times this, is the longest that is no fault.

        Raises
        ------
        DataError
        """
        if len(bars) < 2:
            raise DataError("limits of a feed need at least two training bars", got=str(len(bars)))
        before = bars.close[:-1]
        reach = np.maximum(np.log(bars.high[1:] / before), np.log(before / bars.low[1:]))
        largest = max(float(reach.max()), float(np.log(bars.high / bars.low).max()))
        gaps = np.diff(bars.index.as_unit("ns").asi8)
        values = np.stack([getattr(bars, name) for name in BAR_FIELDS])
        same = (values[:, 1:] == values[:, :-1]).all(axis=0)
        return cls(
            log_move=max(least_log_move, move_multiple * largest),
            log_shock=shock_multiple * largest,
            gap_days=gap_multiple * float(gaps.max()) / NANOSECONDS_PER_DAY,
            repeats=max(1, _longest_run(same)),
        )


@dataclass(frozen=True)
class Fault:
    """Why a bar is not believed.

    Attributes
    ----------
    reason : str
    usable : bool
        Whether its prices can still be trusted, so that a model may go on learning its state.
    """

    reason: str
    usable: bool = False


class FeedGuard:
    """Watches one feed bar by bar.

    Parameters
    ----------
    limits : FeedLimits
    """

    def __init__(self, limits: FeedLimits) -> None:
        self.limits = limits
        self._close = math.nan
        self._time_ns = 0
        self._values: tuple[float, ...] = ()
        self._repeats = 0
        self._started = False
        self._vouched = False

    def inspect(self, time_ns: int, values: tuple[float, ...]) -> Fault | None:
        """What is wrong with the next bar; None if nothing.

        Parameters
        ----------
        time_ns : int
            Close time, nanoseconds since 1970 UTC.
        values : tuple of float
            Open, high, low, close, volume.
        """
        fault = self._values_fault(values) or self._fault_against_last(time_ns, values)
        self._vouched = False
        if fault is None or fault.usable:
            self._close, self._time_ns, self._started = values[3], time_ns, True
        return fault

    def vouch(self) -> None:
        """A person answers for the next bar: its level and its time are not compared."""
        self._vouched = True

    def stale(self, now_ns: int) -> str:
        """What is wrong with the silence since the last good bar; empty if nothing.

        Clocks of two machines differ: one that is behind by no more than a minute is no fault.
        """
        if not self._started:
            return ""
        days = (now_ns - self._time_ns) / NANOSECONDS_PER_DAY
        if days < -_CLOCK_DAYS:
            return f"the clock is {-days:.2f} days behind the last bar"
        if days > self.limits.gap_days:
            return f"no bar for {days:.1f} days, limit {self.limits.gap_days:.1f}"
        return ""

    def _values_fault(self, values: tuple[float, ...]) -> Fault | None:
        opening, high, low, close, volume = values
        if not all(map(math.isfinite, values)):
            return Fault("a value is not a finite number")
        if min(opening, high, low, close) <= 0.0:
            return Fault("a price is not positive")
        if volume < 0.0:
            return Fault("the volume is negative")
        if not low <= min(opening, close) <= max(opening, close) <= high:
            return Fault("the range does not contain open and close")
        width = math.log(high / low)
        if width > self.limits.log_move:
            return Fault(f"the range is {width:.3f} wide, limit {self.limits.log_move:.3f}")
        return None

    def _fault_against_last(self, time_ns: int, values: tuple[float, ...]) -> Fault | None:
        if not self._started:
            self._values = values
            return None
        move = max(math.log(values[1] / self._close), math.log(self._close / values[2]))
        days = (time_ns - self._time_ns) / NANOSECONDS_PER_DAY
        limits = self.limits
        if not self._vouched:
            if move > limits.log_move:
                return Fault(f"a price moved by {move:.3f}, limit {limits.log_move:.3f}")
            if days <= 0.0:
                return Fault("time did not advance")
        repeated = values == self._values
        self._values = values
        self._repeats = self._repeats + 1 if repeated else 0
        if self._repeats > limits.repeats:
            return Fault(f"{self._repeats + 1} identical bars in a row", usable=True)
        if self._vouched:
            return None
        if days > limits.gap_days:
            text = f"{days:.1f} days since the bar before, limit {limits.gap_days:.1f}"
            return Fault(text, usable=True)
        if move > limits.log_shock:
            text = f"a move of {move:.3f} without precedent, limit {limits.log_shock:.3f}"
            return Fault(text, usable=True)
        return None


def _longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True."""
    longest = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
