"""A model with an explicit state, sound unless told otherwise, and ways for its state to be wrong.

The sound one: an exponentially weighted variance of log returns, known eigenvalue, stress by a
logistic function of it. It steps, scans, resumes and says how long its state lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from finchaos.core.bars import Bar, Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, Memory, ModelCard

DECAY = 0.9
TYPICAL = 1e-4
CARD = ModelCard(
    name="planted-stateful", version="1", warmup_bars=30, owner="Test desk", developer="Developer"
)


@dataclass
class State:
    """What is carried from bar to bar."""

    variance: float = TYPICAL
    close: float = 0.0
    seen: int = 0
    sum: float = 0.0


@dataclass(frozen=True)
class Stateful:
    """The sound one; ``fit`` has nothing to learn."""

    card: ClassVar[ModelCard] = CARD
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.REFIT,
            Capability.REGIMES,
            Capability.LATENTS,
            Capability.STREAMING,
            Capability.RESUMABLE,
            Capability.LAYERS,
            Capability.MEMORY,
        }
    )

    @property
    def digest(self) -> str:
        return digest(type(self).__name__)

    def fit(self, bars: Bars, *, seed: int) -> Stateful:
        return self

    def new_state(self) -> State:
        return State()

    def advance(self, state: State, close: float) -> tuple[float, float]:
        """Stress and the latent after one more close; the state moves on."""
        if state.seen:
            move = np.log(close / state.close)
            state.variance = DECAY * state.variance + (1.0 - DECAY) * float(move) ** 2
        state.close, state.seen = close, state.seen + 1
        return self.stress(state), 0.5 * float(np.log(state.variance))

    def stress(self, state: State) -> float:
        return float(1.0 / (1.0 + np.exp(-2.0 * np.log(state.variance / TYPICAL))))

    def signal(self, state: State, ts: pd.Timestamp, close: float) -> Signal:
        stress, latent = self.advance(state, close)
        held = 1.0 - stress if state.seen > CARD.warmup_bars else 0.0
        latents = np.array([latent])
        return Signal(
            ts, held, stress_probability=stress, regime=int(stress > 0.5), latents=latents
        )

    def scan(self, bars: Bars, state: State) -> list[Signal]:
        return [
            self.signal(state, ts, close)
            for ts, close in zip(bars.index, bars.close.tolist(), strict=True)
        ]

    def signals(self, bars: Bars) -> Signals:
        return Signals.collect(self.scan(bars, self.new_state()))

    def open(self, warmup: Bars | None = None) -> Session:
        state = self.new_state()
        if warmup is not None:
            self.scan(warmup, state)
        return Session(self, state)

    def layer_states(self, bars: Bars) -> dict[str, np.ndarray]:
        latents = self.signals(bars).latents
        assert latents is not None
        return {"variance": latents}

    def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
        return Memory(
            influence=np.tile(DECAY ** np.arange(length), (len(ends), 1)),
            layers=(np.array([-1.0 / np.log(DECAY)]),),
        )


class Session:
    """A live session."""

    def __init__(self, subject: Stateful, state: State) -> None:
        self.subject, self.held = subject, state

    def step(self, bar: Bar) -> Signal:
        return self.subject.signal(self.held, bar.ts, bar.close)

    def state(self) -> dict[str, Any]:
        return dict(vars(self.held))

    def restore(self, state: dict[str, Any]) -> None:
        self.held = State(**state)


class StepDiffers(Stateful):
    """The recurrence discretises otherwise than the scan: its decay is another one."""

    def open(self, warmup: Bars | None = None) -> Session:
        session = super().open(warmup)
        session.step = self._step(session)  # type: ignore[method-assign]
        return session

    def _step(self, session: Session) -> Any:
        def step(bar: Bar) -> Signal:
            state = session.held
            before = state.variance
            signal = self.signal(state, bar.ts, bar.close)
            state.variance += 0.001 * before
            return signal

        return step


class SharedState(Stateful):
    """All streams hold one state, that of the stream opened last."""

    _shared: ClassVar[list[State]] = [State()]

    def open(self, warmup: Bars | None = None) -> Session:
        session = super().open(warmup)
        vars(self._shared[0]).update(vars(session.held))
        return Session(self, self._shared[0])


class NeverReset(Stateful):
    """Streams and calls begin with the variance that the call before left."""

    _left: ClassVar[list[float]] = [TYPICAL]

    def new_state(self) -> State:
        return State(variance=self._left[0])

    def scan(self, bars: Bars, state: State) -> list[Signal]:
        found = super().scan(bars, state)
        self._left[0] = state.variance
        return found


class ChunkDependent(Stateful):
    """A scan in chunks of 64 bars that drops the carry between them."""

    def scan(self, bars: Bars, state: State) -> list[Signal]:
        rows: list[Signal] = []
        for first in range(0, len(bars), 64):
            state.variance = TYPICAL
            rows += super().scan(bars.rows(first, first + 64), state)
        return rows


class LengthDependent(Stateful):
    """Chunks are a quarter of the call, and the carry between them is dropped."""

    def scan(self, bars: Bars, state: State) -> list[Signal]:
        rows: list[Signal] = []
        size = max(len(bars) // 4, 1)
        for first in range(0, len(bars), size):
            state.variance = TYPICAL
            rows += super().scan(bars.rows(first, first + size), state)
        return rows


class Unbounded(Stateful):
    """A latent that adds up every bar and forgets nothing."""

    def advance(self, state: State, close: float) -> tuple[float, float]:
        stress, latent = super().advance(state, close)
        state.sum += abs(latent)
        return stress, state.sum


class Unstable(Stateful):
    """A latent whose eigenvalue is a little above one."""

    def advance(self, state: State, close: float) -> tuple[float, float]:
        stress, latent = super().advance(state, close)
        state.sum = 1.002 * state.sum + latent
        return stress, state.sum

    def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
        return Memory(np.ones((len(ends), length)), layers=(np.array([np.inf]),))


class HalfPrecision(Stateful):
    """Squares prices in half precision: what exceeds 65504 is infinite."""

    def advance(self, state: State, close: float) -> tuple[float, float]:
        stress, _ = super().advance(state, close)
        with np.errstate(over="ignore"):
            return stress, float(np.float16(close) * np.float16(close))


class HiddenOverflow(Stateful):
    """The same, and what overflowed is said to be calm: every number is finite."""

    def advance(self, state: State, close: float) -> tuple[float, float]:
        stress, latent = super().advance(state, close)
        with np.errstate(over="ignore"):
            squared = np.float16(close) * np.float16(close)
        return (stress if np.isfinite(squared) else 0.0), latent


class ForgetfulState(Stateful):
    """The state that it hands out lacks the variance."""

    def open(self, warmup: Bars | None = None) -> Session:
        session = super().open(warmup)
        session.state = lambda: {  # type: ignore[method-assign]
            **vars(session.held),
            "variance": TYPICAL,
        }
        return session


class AliasedState(Stateful):
    """The state that it hands out is its own memory, which moves on."""

    def open(self, warmup: Bars | None = None) -> Session:
        session = super().open(warmup)
        session.state = lambda: vars(session.held)  # type: ignore[method-assign]
        return session


class NeverForgets(Stateful):
    """The first close decides for ever."""

    def stress(self, state: State) -> float:
        return super().stress(state) if state.sum % 2 < 1 else 1.0 - super().stress(state)

    def advance(self, state: State, close: float) -> tuple[float, float]:
        if state.seen == 5:
            state.sum = float(close > state.close)
        return super().advance(state, close)


class FailsWhenStill(Stateful):
    """Raises where nothing happens."""

    def signals(self, bars: Bars) -> Signals:
        if np.ptp(bars.close) < 0.001 * bars.close[0]:
            raise ZeroDivisionError("no variance")
        return super().signals(bars)


class ReadsAhead(Stateful):
    """Hidden states centred on the whole call."""

    def layer_states(self, bars: Bars) -> dict[str, np.ndarray]:
        states = super().layer_states(bars)["variance"]
        return {"variance": states - states.mean()}
