"""The optimisation loop: windows of sequences, a robust loss, AdamW with a cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from finchaos.core.errors import InputError
from finchaos.models.mamba_regime import MambaRegimeNetwork

Progress = Callable[[str, int, int], None]

WEIGHT_DECAY = 1e-2
CLIP_NORM = 1.0
WARMUP_SHARE = 0.1
"""Share of the steps in which the learning rate rises to its peak."""


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

    def draw(self, schedule: Schedule, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Windows at random places, shapes (b, w, f) and (b, w, 1 + h), float32."""
        paths, bars = self.features.shape[:2]
        window = min(schedule.window_bars, bars)
        path = rng.integers(0, paths, schedule.batch)[:, None]
        start = rng.integers(0, bars - window + 1, schedule.batch)[:, None]
        rows = start + np.arange(window)
        return (
            torch.from_numpy(self.features[path, rows].astype(np.float32)),
            torch.from_numpy(self.targets[path, rows].astype(np.float32)),
        )


def train(
    network: MambaRegimeNetwork,
    examples: Examples,
    schedule: Schedule,
    rng: np.random.Generator,
    *,
    stage: str,
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
    progress : callable, optional
        Called as ``progress(stage, done, total)`` after every step.

    Returns
    -------
    tuple of float
        Loss of every step.

    References
    ----------
    Loshchilov and Hutter (2019), "Decoupled weight decay regularization", arXiv:1711.05101.
    Huber (1964), Annals of Mathematical Statistics 35(1).
    """
    optimiser = torch.optim.AdamW(_groups(network), lr=schedule.learning_rate)
    losses = []
    network.train()
    for step in range(schedule.steps):
        rate = schedule.learning_rate * _rate_share(step, schedule.steps)
        for group in optimiser.param_groups:
            group["lr"] = rate
        features, targets = examples.draw(schedule, rng)
        said = network(features)
        loss = masked_huber(
            said.targets[:, schedule.burn_in_bars :], targets[:, schedule.burn_in_bars :]
        )
        if schedule.slowness:
            loss = loss + schedule.slowness * roughness(said.latents[:, schedule.burn_in_bars :])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimiser.step()
        losses.append(float(loss.detach()))
        if progress is not None:
            progress(stage, step + 1, schedule.steps)
    network.eval()
    return tuple(losses)


def masked_huber(said: Tensor, targets: Tensor) -> Tensor:
    """Mean Huber loss over the targets that are known; zero if none is."""
    known = torch.isfinite(targets)
    losses = huber_loss(said, torch.where(known, targets, said.detach()), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


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


def _rate_share(step: int, steps: int) -> float:
    """Linear rise, then a half cosine down to nearly zero."""
    rise = max(1.0, WARMUP_SHARE * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1.0, steps - rise)))


def _groups(network: nn.Module) -> list[dict[str, object]]:
    """Weight decay on matrices only: it would move decay rates, skips and scales to no end."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        matrix = parameter.dim() >= 2 and not name.endswith("A_log")
        (decayed if matrix else kept).append(parameter)
    return [
        {"params": decayed, "weight_decay": WEIGHT_DECAY},
        {"params": kept, "weight_decay": 0.0},
    ]
