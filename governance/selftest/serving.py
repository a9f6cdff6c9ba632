"""Defects of the live form: what is served bar by bar is not what was validated on history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.signals import Signal
from finchaos.core.subject import Capability, Subject
from governance.selftest.planted import KEPT, Behaviour, Defect, Planted

_FAMILY = "serving"
Opening = Callable[[Any, Bars | None], Any]


def _soundly(sound: Any, warmup: Bars | None) -> Any:
    return sound.open(warmup)


@dataclass(frozen=True, eq=False)
class Served(Planted):
    """A sound subject whose streams are opened with a defect."""

    opening: Opening = _soundly

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Of the sound subject, as far as the wrapper keeps them."""
        streams = {Capability.STREAMING, Capability.KILL_SWITCH}
        return self.base.capabilities & (KEPT | streams)

    def open(self, warmup: Bars | None = None) -> Any:
        """A stream with the defect."""
        return self.opening(self.base, warmup)


@dataclass(frozen=True, eq=False)
class Stale(Served):
    """Serves the model of the training before the last."""

    older: Subject | None = None

    def fit(self, bars: Bars, *, seed: int) -> Stale:
        """Train, and keep what a shorter training gave."""
        older = self.base.fit(bars.rows(0, (2 * len(bars)) // 3), seed=seed)
        return replace(self, base=self.base.fit(bars, seed=seed), older=older)

    def open(self, warmup: Bars | None = None) -> Any:
        """A stream of the older model."""
        served: Any = self.older or self.base
        return served.open(warmup)


@dataclass(frozen=True)
class ServingDefect(Defect):
    """A defect of streams; it can be planted where there are some."""

    opening: Opening | None = None

    def fits(self, base: Subject) -> bool:
        """Whether the subject has what the defect spoils."""
        return Capability.STREAMING in base.capabilities

    def plant(self, base: Subject) -> Any:
        """The subject with this defect in its streams."""
        if self.opening is None:
            return Stale(base, self.name, Behaviour())
        return Served(base, self.name, Behaviour(), opening=self.opening)


class _Feed:
    """A sound stream behind a feed that is not the one of the history."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, bar: Bar) -> Signal:
        """Take the next bar."""
        signal: Signal = self._inner.step(self.changed(bar))
        return signal

    def changed(self, bar: Bar) -> Bar:
        """What arrives."""
        return bar


class _HalfPrecision(_Feed):
    def changed(self, bar: Bar) -> Bar:
        """Prices with eleven bits."""
        coarse = [float(np.float16(price)) for price in (bar.open, bar.high, bar.low, bar.close)]
        return replace(bar, open=coarse[0], high=coarse[1], low=coarse[2], close=coarse[3])


class _Before(_Feed):
    _last: Bar | None = None

    def changed(self, bar: Bar) -> Bar:
        """The bar before, under the time of this one."""
        before, self._last = self._last or bar, bar
        return replace(before, ts=bar.ts)


class _Gappy(_Feed):
    _number = 0
    _last: Signal | None = None

    def step(self, bar: Bar) -> Signal:
        """Every tenth bar is lost on the way, and the answer before it stands."""
        self._number += 1
        if self._number % 10 or self._last is None:
            self._last = super().step(bar)
        return replace(self._last, ts=bar.ts)


class _Answer(_Feed):
    _last: Signal | None = None

    def step(self, bar: Bar) -> Signal:
        """The answer before, under the time of this one."""
        signal = super().step(bar)
        before, self._last = self._last or signal, signal
        return replace(before, ts=signal.ts)


def _without_warmup(sound: Any, warmup: Bars | None) -> Any:
    return sound.open(None)


def _behind(feed: type[_Feed]) -> Opening:
    return lambda sound, warmup: feed(sound.open(warmup))


DEFECTS: tuple[ServingDefect, ...] = (
    ServingDefect("stale_weights", _FAMILY, "The model of an earlier training is served"),
    ServingDefect("no_warm_up", _FAMILY, "Streams begin without the history they are given",
                  opening=_without_warmup),
    ServingDefect("coarse_feed", _FAMILY, "Live prices come in half precision",
                  opening=_behind(_HalfPrecision)),
    ServingDefect("feed_a_bar_late", _FAMILY, "Live bars arrive a bar late",
                  opening=_behind(_Before)),
    ServingDefect("answers_a_bar_late", _FAMILY, "Live answers are those of the bar before",
                  opening=_behind(_Answer)),
    ServingDefect("feed_with_gaps", _FAMILY, "Every tenth live bar is lost",
                  opening=_behind(_Gappy)),
)  # fmt: skip
