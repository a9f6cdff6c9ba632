"""Re-arming a kill switch by two persons: one asks, another confirms within a stated time.

The first person cannot confirm, however the name is spelt, and a request that grew old is worth
nothing. Names are taken as they are given: who may speak in a name is for whoever calls to see to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from finchaos.core.bars import Bar, Bars
from finchaos.core.errors import CheckpointError, InputError
from finchaos.core.people import checked_name, same_person
from finchaos.core.provenance import digest
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, ModelCard, Subject

_SECOND = 1_000_000_000
_KEPT = frozenset(
    {
        Capability.REFIT,
        Capability.REGIMES,
        Capability.LATENTS,
        Capability.STREAMING,
        Capability.KILL_SWITCH,
        Capability.RESUMABLE,
    }
)


@dataclass(frozen=True)
class RearmRequest:
    """What one person asked for.

    Attributes
    ----------
    person : str
    at_ns : int
        When, nanoseconds since 1970 UTC.
    """

    person: str
    at_ns: int


@dataclass(frozen=True)
class Rearm:
    """What is recorded of a latch that two persons cleared.

    Attributes
    ----------
    reason : str
        Why the latch had been set.
    asked_by, confirmed_by : str
    asked_ns, confirmed_ns : int
        Nanoseconds since 1970 UTC.
    """

    reason: str
    asked_by: str
    asked_ns: int
    confirmed_by: str
    confirmed_ns: int


def requested(person: str, now_ns: int) -> RearmRequest:
    """A request in the name of a person.

    Raises
    ------
    InputError
        If this cannot be a name.
    """
    return RearmRequest(checked_name(person), now_ns)


def confirmed(
    request: RearmRequest | None,
    person: str,
    now_ns: int,
    *,
    within_seconds: float,
    reason: str = "",
) -> Rearm:
    """The record of a request that another person confirms.

    Parameters
    ----------
    request : RearmRequest or None
        None if nobody has asked.
    person : str
        Who confirms.
    now_ns : int
        Nanoseconds since 1970 UTC.
    within_seconds : float
        Longest time between request and confirmation. A clock that went back is no proof that
        little time has passed.
    reason : str
        Why the latch had been set.

    Raises
    ------
    InputError
        If nobody asked, the request is too old, or one person did both.

    Examples
    --------
    >>> asked = requested("Ada Byron", 0)
    >>> confirmed(asked, "Emil Post", 60_000_000_000, within_seconds=300.0).confirmed_by
    'Emil Post'
    """
    name = checked_name(person)
    if request is None:
        raise InputError(
            "two persons re-arm this switch, and nobody has asked for it",
            expected="a request by one person, then the confirmation by another",
            got=f"a confirmation by {name}",
        )
    age = (now_ns - request.at_ns) / _SECOND
    if not 0.0 <= age <= within_seconds:
        raise InputError(
            "the request to re-arm is not of now",
            expected=f"a confirmation within {within_seconds:g} seconds",
            got=f"one {age:.0f} seconds after the request by {request.person}",
            remedy="ask anew",
        )
    if same_person(request.person, name):
        raise InputError(
            "two persons re-arm this switch",
            expected=f"the confirmation of somebody other than {request.person}",
            got=name,
        )
    return Rearm(reason, request.person, request.at_ns, name, now_ns)


def checked_seconds(within_seconds: float) -> float:
    """A time for confirming.

    Raises
    ------
    InputError
        If it is not above 0 and finite.
    """
    if not 0.0 < within_seconds < math.inf:
        raise InputError(
            "impossible time for a second person to confirm",
            expected="seconds above 0 and finite",
            got=repr(within_seconds),
        )
    return within_seconds


class TwoPersonStream:
    """A stream with a kill switch, whose latch no single person clears.

    Its clock is the feed's: the time of the bar or heartbeat that came last. A stream that has
    heard no time yet cannot be re-armed.

    Parameters
    ----------
    inner : HasKillSwitch
    within_seconds : float

    Attributes
    ----------
    rearms : list of Rearm
        Every time that the latch was cleared.
    """

    def __init__(self, inner: Any, within_seconds: float, now_ns: int | None = None) -> None:
        self._inner, self._within = inner, checked_seconds(within_seconds)
        self._now_ns = now_ns
        self._request: RearmRequest | None = None
        self.rearms: list[Rearm] = []

    @property
    def tripped(self) -> bool:
        """Whether the latch is set."""
        return bool(self._inner.tripped)

    @property
    def trip_reason(self) -> str:
        """Why the switch tripped; empty while armed."""
        return str(self._inner.trip_reason)

    def step(self, bar: Bar) -> Signal:
        """Take the next bar and say what to hold after it."""
        signal: Signal = self._inner.step(bar)
        self._hear(bar.ts)
        return signal

    def heartbeat(self, now: pd.Timestamp) -> Signal | None:
        """Tell the switch the time when no bar came."""
        signal: Signal | None = self._inner.heartbeat(now)
        self._hear(now)
        return signal

    def request_rearm(self, person: str) -> None:
        """Ask, in the name of a person, that the latch be cleared.

        Raises
        ------
        InputError
            If this cannot be a name, the switch has not tripped, or no time is known.
        """
        if not self.tripped:
            raise InputError("there is nothing to re-arm: the switch has not tripped")
        self._request = requested(person, self._time())

    def rearm(self, person: str) -> None:
        """Confirm what another person asked for.

        Raises
        ------
        InputError
            If nobody asked in time, one person did both, or the stream itself refuses.
        """
        done = confirmed(
            self._request,
            person,
            self._time(),
            within_seconds=self._within,
            reason=self.trip_reason,
        )
        self._request = None  # used up, whatever comes of it
        self._inner.rearm(f"{done.asked_by}, {done.confirmed_by}")
        self.rearms.append(done)

    def state(self) -> dict[str, Any]:
        """What it remembers, where the inner stream can be resumed."""
        asked = self._request
        return {
            "inner": self._inner.state(),
            "now_ns": self._now_ns,
            "request": None if asked is None else [asked.person, asked.at_ns],
            "rearms": [list(vars(rearm).values()) for rearm in self.rearms],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else.

        Raises
        ------
        CheckpointError
            If it is not a state of such a stream.
        """
        try:
            self._inner.restore(state["inner"])
            self._now_ns = None if state["now_ns"] is None else int(state["now_ns"])
            self._request = None if state["request"] is None else RearmRequest(*state["request"])
            self.rearms = [Rearm(*values) for values in state["rearms"]]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                "a saved state is not of this model", got=f"{type(error).__name__}: {error}"[:300]
            ) from error

    def _hear(self, ts: Any) -> None:
        if isinstance(ts, pd.Timestamp) and ts.tz is not None:
            self._now_ns = int(ts.as_unit("ns").value)

    def _time(self) -> int:
        if self._now_ns is None:
            raise InputError("no bar and no heartbeat has told the time yet")
        return self._now_ns


@dataclass(frozen=True, eq=False)
class TwoPersonRearm:
    """A subject with a kill switch, in live use under two-person re-arm.

    Parameters
    ----------
    base : Subject
        Streams of it must have a kill switch.
    within_seconds : float
        Longest time between one person's request and another's confirmation, by the feed's clock.

    Raises
    ------
    InputError
        If the subject has no kill switch, or the time is impossible.
    """

    base: Subject
    within_seconds: float = 900.0

    def __post_init__(self) -> None:
        checked_seconds(self.within_seconds)
        if Capability.KILL_SWITCH not in self.base.capabilities:
            raise InputError(
                f"{self.base.card.name} cannot be re-armed by two persons",
                expected="the capability kill_switch",
                got=", ".join(sorted(self.base.capabilities)),
            )

    @property
    def card(self) -> ModelCard:
        """Of the subject."""
        return self.base.card

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Of the subject, as far as they survive, and two-person re-arm."""
        return (self.base.capabilities & _KEPT) | {Capability.TWO_PERSON_REARM}

    @property
    def digest(self) -> str:
        """SHA-256 of the subject's and of the time allowed."""
        return digest(["two_person_rearm", self.base.digest, self.within_seconds])

    def fit(self, bars: Bars, *, seed: int) -> TwoPersonRearm:
        """Train the subject."""
        return TwoPersonRearm(self.base.fit(bars, seed=seed), self.within_seconds)

    def signals(self, bars: Bars) -> Signals:
        """The subject's."""
        return self.base.signals(bars)

    def open(self, warmup: Bars | None = None) -> TwoPersonStream:
        """A stream that two persons re-arm."""
        last = None
        if warmup is not None and len(warmup):
            last = int(warmup.index[-1].as_unit("ns").value)
        inner = self.base.open(warmup)  # type: ignore[attr-defined]
        return TwoPersonStream(inner, self.within_seconds, last)
