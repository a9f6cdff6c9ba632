"""Training of ``mamba_regime``: windows of sequences in memory, a robust loss, slow latents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.core.provenance import array_digest
from finchaos.models.mamba_regime import MambaRegimeNetwork, Outputs
from finchaos.training.dataset import Batch
from finchaos.training.losses import Loss, huber
from finchaos.training.trainer import Progress, TrainerConfig, fit

CHECKPOINT_EVERY = 50
"""Steps from one saved state to the next."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes
    ----------
    steps : int
        Optimisation steps; none leaves the network as it is.
    batch : int
        Windows per step.
    window_bars : int
        Bars per window.
    burn_in_bars : int
        First bars of each window that carry no loss, as their past is unknown.
    learning_rate : float
        At its peak.
    slowness : float
        Weight in the loss of the latents' roughness, see :func:`roughness`.
    """

    steps: int
    batch: int
    window_bars: int
    burn_in_bars: int
    learning_rate: float
    slowness: float = 1.0

    def __post_init__(self) -> None:
        sound = (
            self.steps >= 0
            and self.batch >= 1
            and 0 <= self.burn_in_bars < self.window_bars
            and 0 < self.learning_rate < math.inf
            and 0 <= self.slowness < math.inf
        )
        if not sound:
            raise InputError(
                "impossible training schedule",
                expected="steps >= 0, batch >= 1, burn-in shorter than the window, positive rate, "
                "slowness >= 0",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class Examples:
    """Sequences to learn from.

    Attributes
    ----------
    features : numpy.ndarray, shape (p, t, f)
        Scaled features of p sequences.
    targets : numpy.ndarray, shape (p, t, 1 + h)
        Standardised variance and forecasts; NaN where unknown.
    """

    features: np.ndarray
    targets: np.ndarray


class RandomWindows:
    """Windows at random places of sequences in memory, for ever.

    Parameters
    ----------
    examples : Examples
    schedule : Schedule
        Its batch and window.
    rng : numpy.random.Generator
        A named stream; it alone decides which windows are drawn.
    """

    def __init__(self, examples: Examples, schedule: Schedule, rng: np.random.Generator) -> None:
        self._examples, self._schedule, self._rng = examples, schedule, rng

    def next(self) -> Batch:
        """Windows of shapes (b, w, f) and (b, w, 1 + h), float32."""
        features, targets = self._examples.features, self._examples.targets
        paths, bars = features.shape[:2]
        window = min(self._schedule.window_bars, bars)
        path = self._rng.integers(0, paths, self._schedule.batch)[:, None]
        start = self._rng.integers(0, bars - window + 1, self._schedule.batch)[:, None]
        rows = start + np.arange(window)
        return Batch(
            torch.from_numpy(features[path, rows].astype(np.float32)),
            torch.from_numpy(targets[path, rows].astype(np.float32)),
        )

    def state(self) -> dict[str, Any]:
        """State of the generator; as text, since its integers are too large for JSON."""
        return {"generator": json.dumps(self._rng.bit_generator.state)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put the generator into a state."""
        self._rng.bit_generator.state = json.loads(state["generator"])

    def identity(self) -> dict[str, Any]:
        """Digest of the sequences, and the sizes."""
        arrays = {"features": self._examples.features, "targets": self._examples.targets}
        return {
            "sequences": array_digest(arrays),
            "batch": self._schedule.batch,
            "window": self._schedule.window_bars,
        }


def train(
    network: MambaRegimeNetwork,
    examples: Examples,
    schedule: Schedule,
    rng: np.random.Generator,
    *,
    stage: str,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> tuple[float, ...]:
    """Train the network in place.

    Parameters
    ----------
    network : MambaRegimeNetwork
    examples : Examples
    schedule : Schedule
    rng : numpy.random.Generator
        A named stream; it alone decides which windows are drawn.
    stage : str
        What progress calls this training.
    folder : Path, optional
        Where training states are saved. With one of this very training there, it is gone on with.
    progress : callable, optional
        Called as ``progress(stage, done, total)`` after every step.

    Returns
    -------
    tuple of float
        Loss of every step.

    Raises
    ------
    DivergenceError, CheckpointError
        See :func:`finchaos.training.trainer.fit`.
    """

    def objective(said: Outputs, batch: Batch) -> Loss:
        known = slice(schedule.burn_in_bars, None)
        loss = huber(said.targets[:, known], batch.targets[:, known])
        if not schedule.slowness:
            return loss
        slow = schedule.slowness * roughness(said.latents[:, known])
        return loss._replace(mean=loss.mean + slow)

    config = TrainerConfig(
        steps=schedule.steps,
        learning_rate=schedule.learning_rate,
        checkpoint_every=CHECKPOINT_EVERY if folder else 0,
    )
    return fit(
        network,
        RandomWindows(examples, schedule, rng),
        objective,
        config,
        stage=stage,
        folder=folder,
        identity={"schedule": asdict(schedule)},
        progress=progress,
    ).losses


def roughness(latents: Tensor) -> Tensor:
    """Mean squared change of the latents from bar to bar in units of their variance.

    0 for a constant, 2 for white noise. Regimes last; a latent that jumps with every bar would
    make clusters of single days.

    References
    ----------
    Wiskott and Sejnowski (2002), "Slow feature analysis", Neural Computation 14(4), eq. 1.
    """
    moved = (latents[:, 1:] - latents[:, :-1]).square().sum(-1).mean()
    spread = (latents - latents.mean((0, 1))).square().sum(-1).mean()
    return moved / (spread + 1e-6)
