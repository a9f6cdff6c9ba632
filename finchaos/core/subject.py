"""The seam between a model and its validation: the Subject protocol and its capabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.card import Claim as Claim
from finchaos.core.card import Materiality as Materiality
from finchaos.core.card import ModelCard as ModelCard
from finchaos.core.errors import InputError
from finchaos.core.signals import Signal, Signals


class Capability(StrEnum):
    """What a subject can do beyond ``signals``. Declared, never probed."""

    REFIT = "refit"
    """``fit`` trains; without it ``fit`` returns the subject unchanged."""
    LATENTS = "latents"
    """Signals carry latents."""
    REGIMES = "regimes"
    """Signals carry regime and stress probability."""
    GRADIENTS = "gradients"
    """The subject is :class:`Differentiable`."""
    STREAMING = "streaming"
    """The subject is :class:`Streaming`."""
    KILL_SWITCH = "kill_switch"
    """Its streams are :class:`HasKillSwitch`; signals carry ``tripped``."""
    PERSISTENCE = "persistence"
    """The subject is :class:`Persistent`."""
    MEMORY = "memory"
    """The subject is :class:`HasMemory`."""
    RESUMABLE = "resumable"
    """Its streams are :class:`Resumable`."""
    LAYERS = "layers"
    """The subject is :class:`HasLayers`."""
    TWO_PERSON_REARM = "two_person_rearm"
    """Its streams are :class:`HasTwoPersonRearm`: no single person clears the latch."""
    HYPER_PARAMETERS = "hyper_parameters"
    """The subject is :class:`HasHyperParameters`."""


@runtime_checkable
class Subject(Protocol):
    """A model as a validator sees it.

    ``signals`` must be causal: row t depends on ``bars`` up to and including row t and on what
    ``fit`` was given. Neither method changes the subject or the bars.
    """

    @property
    def card(self) -> ModelCard:
        """Who answers for the model and what it promises."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can do beyond ``signals``."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of what determines the subject's behaviour: configuration, weights, code."""
        ...

    def fit(self, bars: Bars, *, seed: int) -> Subject:
        """A new subject trained on ``bars`` alone."""
        ...

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar."""
        ...


class Stream(Protocol):
    """A live session of a streaming subject. Bars arrive in order; each yields one signal."""

    def step(self, bar: Bar) -> Signal:
        """Take the next bar and say what to hold after it."""
        ...


class Streaming(Protocol):
    """A subject that runs bar by bar with the same numbers as ``signals``."""

    def open(self, warmup: Bars | None = None) -> Stream:
        """A new session that has replayed ``warmup`` without issuing signals.

        ``signals(warmup followed by x)`` from ``len(warmup)`` on equals stepping through ``x``.
        """
        ...


class HasKillSwitch(Protocol):
    """What the streams of a subject with a kill switch add.

    Once tripped, a stream returns position 0 until ``rearm``; nothing else clears it.
    """

    @property
    def tripped(self) -> bool:
        """Whether the latch is set."""
        ...

    @property
    def trip_reason(self) -> str:
        """Why the switch tripped; empty while armed."""
        ...

    def step(self, bar: Bar) -> Signal:
        """Take the next bar and say what to hold after it."""
        ...

    def heartbeat(self, now: Any) -> Signal | None:
        """Tell the switch the wall-clock time (pandas.Timestamp, UTC) when no bar came.

        Trips on a stale feed and then returns a flat signal, else returns None.
        """
        ...

    def rearm(self, person: str) -> None:
        """Clear the latch in the name of a person.

        Raises
        ------
        InputError
            If ``person`` is blank.
        """
        ...


class HasTwoPersonRearm(HasKillSwitch, Protocol):
    """What the streams of a subject under two-person re-arm add to a kill switch.

    ``rearm`` confirms what another person asked for with ``request_rearm``, within the time that
    the subject states. It raises InputError, and the latch stays, if nobody asked, the request is
    too old, or the name may be that of the person who asked.
    """

    def request_rearm(self, person: str) -> None:
        """Ask, in the name of a person, that the latch be cleared.

        Raises
        ------
        InputError
            If ``person`` is blank or there is nothing to re-arm.
        """
        ...


class Resumable(Protocol):
    """What streams add that can be stopped and continued in another process.

    ``restore(state())`` on a stream that the same subject opened afresh gives the same signals,
    bit for bit, as if there had been no stop.
    """

    def step(self, bar: Bar) -> Signal:
        """Take the next bar and say what to hold after it."""
        ...

    def state(self) -> dict[str, Any]:
        """What it remembers: numbers, text, None, arrays, and lists and mappings of these."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Remember this and nothing else.

        Raises
        ------
        CheckpointError
            If it is not a state of such a stream.
        """
        ...


class Differentiable(Protocol):
    """A subject whose decision is a differentiable function of a window of features."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the f features of a window."""
        ...

    def feature_windows(self, bars: Bars, ends: np.ndarray, length: int) -> np.ndarray:
        """Model inputs, shape (n, length, f): the rows up to and including each of ``ends``."""
        ...

    def decision_module(self) -> Any:
        """A ``torch.nn.Module`` from windows (n, length, f) to stress probability (n,)."""
        ...

    def randomised(self, seed: int) -> Differentiable:
        """The same subject with its network's weights drawn anew."""
        ...


@dataclass(frozen=True, eq=False)
class Memory:
    """How far back a subject looks at the ends of n windows.

    Attributes
    ----------
    influence : numpy.ndarray, shape (n, length)
        Size of the derivative of the latents at a window's end with respect to the row of model
        inputs 0, 1, .. length - 1 bars before it, in any unit that all lags of a window share.
    layers : tuple of numpy.ndarray, each of shape (states,)
        For each layer that carries a state, first layer first: bars after which a state has kept
        1/e of what was put into it; infinite for a state that does not forget.
    input_lookback : int
        Bars after which what came before weighs little in one row of model inputs; 0 if a row
        knows its own bar alone.

    Raises
    ------
    InputError
        If a number is impossible.
    """

    influence: np.ndarray
    layers: tuple[np.ndarray, ...] = ()
    input_lookback: int = 0

    def __post_init__(self) -> None:
        found = self.influence
        if found.ndim != 2 or not (np.isfinite(found).all() and (found >= 0.0).all()):
            raise InputError(
                "influence by lag is impossible",
                expected="finite values of shape (n, length), none below zero",
                got=f"shape {found.shape}, least value {found.min(initial=np.inf)}",
            )
        for number, layer in enumerate(self.layers, start=1):
            if layer.ndim != 1 or not len(layer) or not (layer > 0.0).all():
                raise InputError(
                    f"memory lengths of layer {number} are impossible",
                    expected="at least one state, every one above zero bars",
                    got=f"shape {layer.shape}, least value {layer.min(initial=np.inf)}",
                )
        if self.input_lookback < 0:
            raise InputError("input_lookback must not be negative", got=str(self.input_lookback))


class HasMemory(Protocol):
    """A subject that can say how far back its latents look."""

    def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
        """Measured on the ``length`` rows up to and including each of ``ends``.

        What comes after an end changes nothing for its window.
        """
        ...


class HasLayers(Protocol):
    """A subject whose layers carry states that can be looked at."""

    def layer_states(self, bars: Bars) -> dict[str, np.ndarray]:
        """Hidden states after each bar by layer, first layer first, each of shape (t, ...).

        Row t depends on bars up to t alone.
        """
        ...


class HasHyperParameters(Protocol):
    """A subject that can be had with other values of the numbers that its developer chose."""

    @property
    def hyper_parameters(self) -> Mapping[str, int | float]:
        """Value by name, what decides most first; counts are ints. Training changes none."""
        ...

    def with_hyper_parameters(self, changed: Mapping[str, int | float]) -> Subject:
        """The subject as it was before any training, but for these values; its digest differs.

        Raises
        ------
        InputError
            If there is no such hyper-parameter, or the subject refuses a value.
        """
        ...


class Persistent(Protocol):
    """A subject that can be saved and loaded back with the same behaviour."""

    def save(self, folder: Path) -> None:
        """Write the subject into ``folder``, which must not exist or be empty."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Persistent:
        """Read a subject back.

        Raises
        ------
        CheckpointError
            If the folder is damaged, incomplete or of another configuration.
        """
        ...
