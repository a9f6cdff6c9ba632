"""Defects that do not say the same again, or that remember what they must not."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import sha256
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.selftest.planted import Behaviour, Defect, stateless

_FAMILY = "repetition"
_LOOKUP = "memorised"


def _times(signals: Signals, share: float) -> Signals:
    return replace(signals, position=signals.position * share)


def _restless(base: Subject, bars: Bars) -> Signals:
    return _times(base.signals(bars), 0.9 + 0.1 * float(np.random.default_rng().random()))


def _global_draws(base: Subject, bars: Bars) -> Signals:
    np.random.random()  # noqa: NPY002
    random.random()  # noqa: S311
    return base.signals(bars)


def _unseeded() -> Behaviour:
    """Training draws what no seed controls; every trained subject keeps its own draw."""

    def train(base: Subject, bars: Bars, seed: int) -> Subject:
        fitted = base.fit(bars, seed=seed)
        return _Scaled(fitted, 0.8 + 0.2 * float(np.random.default_rng().random()))

    return Behaviour(train=train)


class _Scaled:
    """A trained subject whose exposure is multiplied by a number that belongs to it."""

    def __init__(self, base: Subject, share: float) -> None:
        self._base, self._share = base, share
        self.card, self.capabilities = base.card, base.capabilities

    @property
    def digest(self) -> str:
        return sha256(f"{self._base.digest}{self._share!r}".encode())

    def fit(self, bars: Bars, *, seed: int) -> Subject:
        return _Scaled(self._base.fit(bars, seed=seed), self._share)

    def signals(self, bars: Bars) -> Signals:
        return _times(self._base.signals(bars), self._share)


def _carrying() -> Behaviour:
    """The state of one history goes on into the next: exposure falls with every call."""
    calls = [0]

    def answer(base: Subject, bars: Bars) -> Signals:
        calls[0] += 1
        return _times(base.signals(bars), 1.0 / (1.0 + 0.01 * calls[0]))

    return Behaviour(answer)


def _half_precision_when_odd(base: Subject, bars: Bars) -> Signals:
    """Computed in half precision where the number of bars is odd."""
    signals = base.signals(bars)
    if len(bars) % 2 == 0:
        return signals
    moves = np.log(bars.close).astype(np.float16).astype(float)
    wobble = 0.05 * np.abs(np.diff(moves, prepend=moves[0]))
    return replace(signals, position=signals.position * (1.0 - np.clip(wobble, 0.0, 1.0)))


def _dates_known(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    bad = (12 * bars.index.year + bars.index.month) % 17 < 2
    position = np.where(bad, 0.0, signals.position)
    return replace(signals, position=position)


def _closes_known() -> Behaviour:
    """Looks every close up in its own copy of the longest history that it was shown."""
    falls: dict[float, bool] = {}

    def answer(base: Subject, bars: Bars) -> Signals:
        pairs = zip(bars.close[:-1].tolist(), (np.diff(bars.close) < 0).tolist(), strict=True)
        for close, fell in pairs:
            falls.setdefault(close, fell)
        flat = np.array([falls.get(close, False) for close in bars.close.tolist()])
        signals = base.signals(bars)
        return replace(signals, position=np.where(flat, 0.0, signals.position))

    return Behaviour(answer)


def _level_read(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    return replace(signals, position=np.where(bars.close > 100.0, 0.0, signals.position))


DEFECTS: tuple[Defect, ...] = (
    Defect("unseeded_training", _FAMILY, "Training draws what no seed controls", _unseeded),
    Defect("restless_answers", _FAMILY, "Every call gives other positions", stateless(_restless)),
    Defect("global_draws", _FAMILY, "Draws from the generators of the process",
           stateless(_global_draws)),
    Defect("state_carried_over", _FAMILY, "The state of one history goes on into the next",
           _carrying),
    Defect("half_precision", _FAMILY, "Other precision for histories of odd length",
           stateless(_half_precision_when_odd)),
    Defect("dates", _LOOKUP, "Flat in months that its developer knew to be bad",
           stateless(_dates_known)),
    Defect("closes", _LOOKUP, "Finds the next move by looking the close up", _closes_known),
    Defect("price_level", _LOOKUP, "Reads the level of the price", stateless(_level_read)),
)  # fmt: skip
