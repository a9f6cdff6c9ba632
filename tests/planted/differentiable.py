"""A small differentiable subject whose reasons are known: the reference for attribution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard

FEATURES = ("log_return", "absolute_return", "log_range")
CARD = ModelCard(
    name="planted-differentiable",
    version="1",
    purpose="Hold less as a leaky sum of features rises",
    owner="Test desk",
    developer="Test developer",
    limitations=("Knows three features",),
    materiality="low",
    warmup_bars=60,
    feature_names=FEATURES,
)


class LeakySum(nn.Module):
    """Stress probability from a leaky sum over time of a linear mix of the features."""

    def __init__(self, weights: tuple[float, ...], decay: float, gain: float) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights, dtype=torch.float64))
        self.decay, self.gain = decay, gain

    def forward(self, windows: Tensor) -> Tensor:
        """Probability after the last bar: (n, l, f) to (n,)."""
        return self.path(windows)[:, -1]

    def path(self, windows: Tensor) -> Tensor:
        """Probability after every bar, (n, l)."""
        drive = torch.tanh(windows @ self.weights)
        state = torch.zeros(len(windows), dtype=windows.dtype)
        states = []
        for bar in drive.unbind(dim=1):
            state = self.decay * state + (1.0 - self.decay) * bar
            states.append(state)
        return torch.sigmoid(self.gain * torch.stack(states, dim=1))


@dataclass(frozen=True)
class DifferentiableRegime:
    """Position 1 - stress probability.

    Parameters
    ----------
    weights : tuple of float
        What the decision makes of each of :data:`FEATURES`; zero: nothing.
    decay, gain : float
        Memory of the sum, steepness of the probability.
    ignores_weights : bool
        Planted defect: drawing the weights anew changes nothing.
    bias_of_signals : float
        Planted defect: signals that the decision module does not explain.
    center, scale : tuple of float
        Medians and spreads of the features in training.
    """

    weights: tuple[float, ...] = (-0.3, 0.8, 0.5)
    decay: float = 0.8
    gain: float = 4.0
    ignores_weights: bool = False
    bias_of_signals: float = 0.0
    center: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: tuple[float, ...] = (0.01, 0.01, 0.01)
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = frozenset(
        {Capability.REFIT, Capability.GRADIENTS, Capability.REGIMES}
    )

    @property
    def digest(self) -> str:
        """SHA-256 of all that determines the signals."""
        settings: dict[str, Any] = {
            name: getattr(self, name) for name in ("decay", "gain", "bias_of_signals")
        }
        lists = {name: list(getattr(self, name)) for name in ("weights", "center", "scale")}
        return digest({"class": type(self).__name__, **settings, **lists})

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features of a window."""
        return FEATURES

    def fit(self, bars: Bars, *, seed: int) -> DifferentiableRegime:
        """The subject with medians and spreads of these bars."""
        raw = _raw(bars)[1:]
        center = np.median(raw, axis=0)
        scale = np.median(np.abs(raw - center), axis=0) * 1.4826
        return replace(self, center=tuple(center.tolist()), scale=tuple(scale.tolist()))

    def feature_windows(self, bars: Bars, ends: np.ndarray, length: int) -> np.ndarray:
        """Scaled features up to and including each of ``ends``, shape (n, length, 3)."""
        rows = np.asarray(ends)[:, None] + np.arange(1 - length, 1)
        return self._features(bars)[rows]

    def decision_module(self) -> nn.Module:
        """The leaky sum."""
        return LeakySum(self.weights, self.decay, self.gain)

    def randomised(self, seed: int) -> DifferentiableRegime:
        """The same with weights drawn anew, unless that defect is planted."""
        if self.ignores_weights:
            return self
        drawn = random_stream(seed, "planted.differentiable").normal(size=len(self.weights))
        return replace(self, weights=tuple(drawn.tolist()))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar."""
        module = LeakySum(self.weights, self.decay, self.gain)
        with torch.no_grad():
            path = module.path(torch.from_numpy(self._features(bars)[None]))[0].numpy()
        probability = np.clip(path + self.bias_of_signals, 0.0, 1.0)
        position = 1.0 - probability
        position[: self.card.warmup_bars] = 0.0
        regime = (probability > 0.5).astype(np.int64)
        return Signals(bars.index, position, probability, regime)

    def _features(self, bars: Bars) -> np.ndarray:
        return (_raw(bars) - np.array(self.center)) / np.array(self.scale)


def _raw(bars: Bars) -> np.ndarray:
    move = np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))
    return np.stack([move, np.abs(move), np.log(bars.high / bars.low)], axis=1)
