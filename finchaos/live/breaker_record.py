"""What a circuit breaker judges an account by, and what it keeps on disk.

It knows equity and exposure and nothing of models, bars or orders. That such controls exist is a
design policy here. SR 11-7 does not ask for them; pre-trade controls of broker-dealers come from
SEC Rule 15c3-5.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from finchaos.core.errors import CheckpointError, InputError
from finchaos.live.state_file import load_state, save_state
from finchaos.trading.two_person import (
    Rearm,
    RearmRequest,
    checked_seconds,
    confirmed,
    requested,
)

RECORD = "breaker.json"
_DAY = 86_400_000_000_000


@dataclass(frozen=True)
class BreakerLimits:
    """Beyond which trading stops. There are no defaults: whoever arms a breaker states them.

    Attributes
    ----------
    max_drawdown : float
        Loss from the highest equity reported since the breaker was armed, as a fraction of it.
    max_daily_loss : float
        Loss from the last equity of the day before (UTC), or from the first one reported.
    max_exposure : float
        Largest exposure, long or short, as a fraction of capital. Leave room for costs and for
        what the market adds between trades.
    silence_seconds : float
        Longest time without a report or a beat. Longer than the time between two bars.
    confirm_seconds : float or None
        Two persons re-arm the breaker: one asks, and another confirms within this time. None if
        one person is enough.

    Raises
    ------
    InputError
        If one is impossible.
    """

    max_drawdown: float
    max_daily_loss: float
    max_exposure: float
    silence_seconds: float
    confirm_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.confirm_seconds is not None:
            checked_seconds(self.confirm_seconds)
        losses = (self.max_drawdown, self.max_daily_loss)
        rest = (self.max_exposure, self.silence_seconds)
        if not (all(0.0 < x <= 1.0 for x in losses) and all(0.0 < x < math.inf for x in rest)):
            raise InputError(
                "impossible limits of a circuit breaker",
                expected="losses in (0, 1], exposure and seconds > 0 and finite",
                got=repr(self),
            )


@dataclass(frozen=True)
class BreakerRecord:
    """All that a breaker remembers. A record is replaced, never changed.

    Attributes
    ----------
    limits : BreakerLimits
    armed_by : str
        Who answers for it.
    reason : str
        Why trading must stop; empty while armed. The first reason stays.
    high_water : float or None
        Highest equity reported.
    day : int
        Days since 1970 UTC of the last report.
    day_open : float or None
        Equity that the loss of this day is counted from.
    equity : float or None
        Reported last.
    request : RearmRequest or None
        That one person asked for re-arming, where two are needed.
    rearms : tuple of Rearm
        Every time that two persons cleared the latch.

    Examples
    --------
    >>> record = BreakerRecord(BreakerLimits(0.1, 0.05, 1.0, 60.0), "Ada Byron")
    >>> record = record.after(0, 100.0, 1.0).after(1, 94.0, 1.0)
    >>> record.reason
    'a loss of 6.00 % in a day, limit 5.00 %'
    """

    limits: BreakerLimits
    armed_by: str
    reason: str = ""
    high_water: float | None = None
    day: int = 0
    day_open: float | None = None
    equity: float | None = None
    request: RearmRequest | None = None
    rearms: tuple[Rearm, ...] = ()

    def after(self, ts: int, equity: float, exposure: float) -> BreakerRecord:
        """The record after a report.

        Parameters
        ----------
        ts : int
            Nanoseconds since 1970 UTC. A day before the last one counts as the last one.
        equity, exposure : float
        """
        if not (math.isfinite(equity) and math.isfinite(exposure)):
            return self.tripped(f"a report that is no number: {equity}, {exposure}")
        day = ts // _DAY
        day_open = equity if self.day_open is None else self.day_open
        if self.equity is not None and day > self.day:
            day_open = self.equity
        high = equity if self.high_water is None else max(self.high_water, equity)
        known = replace(
            self, high_water=high, day=max(day, self.day), day_open=day_open, equity=equity
        )
        return known.tripped(known._beyond(exposure))

    def tripped(self, reason: str) -> BreakerRecord:
        """The record with the latch set, if it is not and there is a reason."""
        return self if self.reason else replace(self, reason=reason)

    def asked(self, person: str, now_ns: int) -> BreakerRecord:
        """The record with the request of one person that another may confirm.

        Raises
        ------
        InputError
            If one person is enough, the latch is not set, or this cannot be a name.
        """
        if self.limits.confirm_seconds is None:
            raise InputError("one person re-arms this breaker; there is nothing to ask for")
        if not self.reason:
            raise InputError("there is nothing to re-arm: the breaker has not tripped")
        return replace(self, request=requested(person, now_ns))

    def rearmed(self, person: str, now_ns: int) -> BreakerRecord:
        """A new record under the same limits; losses count from the next report on.

        Parameters
        ----------
        person : str
            Who clears the latch, or confirms what another asked for.
        now_ns : int
            Nanoseconds since 1970 UTC.

        Raises
        ------
        InputError
            If the name is blank; where two persons are needed, also if nobody asked in time or
            one person did both.
        """
        name, seconds = named(person), self.limits.confirm_seconds
        if seconds is None:
            return BreakerRecord(self.limits, name, rearms=self.rearms)
        done = confirmed(self.request, name, now_ns, within_seconds=seconds, reason=self.reason)
        both = f"{done.asked_by} and {done.confirmed_by}"
        return BreakerRecord(self.limits, both, rearms=(*self.rearms, done))

    def replaced_by(self, limits: BreakerLimits, person: str) -> BreakerRecord:
        """The record of a breaker that is armed anew by one person.

        Raises
        ------
        InputError
            If that would clear a latch that two persons clear, or end their having to.
        """
        seconds = self.limits.confirm_seconds
        if seconds is None:
            return BreakerRecord(limits, named(person), rearms=self.rearms)
        if self.reason:
            raise InputError(
                "two persons re-arm this breaker",
                expected="request_rearm by one and rearm by another, while it runs",
                got=f"{named(person)} alone, after: {self.reason}",
            )
        if limits.confirm_seconds is None or limits.confirm_seconds > seconds:
            raise InputError(
                "one person cannot end two-person re-arm or lengthen the time for it",
                expected=f"confirm_seconds of at most {seconds:g}",
                got=repr(limits.confirm_seconds),
                remedy="arm a breaker in another folder",
            )
        return BreakerRecord(limits, named(person), rearms=self.rearms)

    def _beyond(self, exposure: float) -> str:
        """Which limit the account is beyond; empty if none."""
        known = (self.equity, self.high_water, self.day_open)
        equity, high, opened = (float(value or 0.0) for value in known)
        limits = self.limits
        if equity <= 0.0:
            return "the capital is gone"
        if abs(exposure) > limits.max_exposure:
            return f"an exposure of {exposure:.4g}, limit {limits.max_exposure:.4g}"
        drawdown, loss = 1.0 - equity / high, 1.0 - equity / opened
        if drawdown > limits.max_drawdown:
            return f"a drawdown of {drawdown:.2%}, limit {limits.max_drawdown:.2%}".replace(
                "%", " %"
            )
        if loss > limits.max_daily_loss:
            text = f"a loss of {loss:.2%} in a day, limit {limits.max_daily_loss:.2%}"
            return text.replace("%", " %")
        return ""


def named(person: str) -> str:
    """A person's name.

    Raises
    ------
    InputError
        If it is blank.
    """
    if not isinstance(person, str) or not person.strip():
        raise InputError(
            "a circuit breaker is armed by a named person",
            expected="the name of whoever answers for it",
            got=repr(person),
        )
    return person.strip()


def save_record(folder: Path, record: BreakerRecord) -> None:
    """Replace the record in a folder, and flush it to the disk.

    Raises
    ------
    StorageError
        If the disk does not take it; the record there is then as it was.
    """
    save_state(folder / RECORD, asdict(record))


def load_record(folder: Path) -> BreakerRecord:
    """The record in a folder.

    Raises
    ------
    InputError
        If there is none: no breaker was ever armed there, or its record is lost.
    CheckpointError
        If it is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        raise InputError(
            f"no circuit breaker is armed in {folder}",
            expected=RECORD,
            remedy="a named person arms it with arm_breaker",
        )
    content: dict[str, Any] = load_state(path)
    try:
        limits = BreakerLimits(**content.pop("limits"))
        asked = content.pop("request", None)
        return BreakerRecord(
            limits,
            **{
                **content,
                "request": None if asked is None else RearmRequest(**asked),
                "rearms": tuple(Rearm(**done) for done in content.get("rearms", ())),
            },
        )
    except (KeyError, TypeError, InputError) as error:
        raise CheckpointError(f"{path} is no record of a breaker", got=str(error)) from error
