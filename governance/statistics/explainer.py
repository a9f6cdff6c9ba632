"""A trained differentiable subject, asked why it decided as it did at given bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import SubjectFault
from finchaos.core.subject import Differentiable
from governance.statistics.attribution import Attributions
from governance.statistics.attribution_windows import calm_rows


class Network(Protocol):
    """Decisions and their gradients, by whatever library computes them.

    Attributes
    ----------
    windows_explained, gradients : int
        How many so far.
    """

    windows_explained: int
    gradients: int

    def decide(self, windows: np.ndarray) -> np.ndarray:
        """Decisions for windows, shapes (n, l, f) and (n,)."""
        ...

    def attribute(self, windows: np.ndarray, baselines: np.ndarray) -> Attributions:
        """Attributions of windows against baselines, both of shape (n, l, f)."""
        ...


@dataclass(frozen=True)
class Explainer:
    """Windows, baselines and attributions of one trained subject.

    Attributes
    ----------
    model : Differentiable
    as_network : function from torch.nn.Module to Network
    bars : Bars
        Training and test.
    trained_rows : tuple of int
        First and, exclusive, last row of training outside warm-up.
    length : int
        Bars in a window.
    """

    model: Differentiable
    as_network: Callable[[Any], Network]
    bars: Bars
    trained_rows: tuple[int, int]
    length: int

    @cached_property
    def network(self) -> Network:
        """The decision module."""
        return self.as_network(self.model.decision_module())

    def windows(self, ends: np.ndarray, length: int | None = None) -> np.ndarray:
        """Model inputs up to and including each row, shape (n, length, f).

        Raises
        ------
        SubjectFault
            If the subject returns another shape or values that are not finite.
        """
        length = length or self.length
        found = np.asarray(
            self.model.feature_windows(self.bars, np.asarray(ends), length), dtype=np.float64
        )
        wanted = (len(ends), length, len(self.model.feature_names))
        if found.shape != wanted or not np.isfinite(found).all():
            raise SubjectFault(
                "feature windows break the Differentiable contract",
                expected=f"finite values of shape {wanted}",
                got=f"shape {found.shape}, {int((~np.isfinite(found)).sum())} not finite",
            )
        return found

    @cached_property
    def training(self) -> np.ndarray:
        """Model inputs at every training bar, shape (t, f)."""
        return self.windows(np.arange(*self.trained_rows), 1)[:, 0, :]

    @cached_property
    def baseline(self) -> np.ndarray:
        """The training median of each feature at every bar, shape (length, f)."""
        return np.tile(np.median(self.training, axis=0), (self.length, 1))

    def calm_baseline(self, rng: np.random.Generator) -> np.ndarray | None:
        """A random one of the calmest tenth of training windows, shape (length, f).

        None if training is shorter than a window.
        """
        first, stop = self.trained_rows
        calm = calm_rows(self.bars.close, self.length, first + self.length - 1, stop)
        return self.windows(calm[[int(rng.integers(len(calm)))]])[0] if len(calm) else None

    def other_baselines(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Training mean of each feature, and a calm training window if there is one."""
        found = {"mean": np.tile(self.training.mean(axis=0), (self.length, 1))}
        calm = self.calm_baseline(rng)
        return found if calm is None else {**found, "calm": calm}

    def attribute(self, ends: np.ndarray, baseline: np.ndarray | None = None) -> Attributions:
        """Attributions of the windows that end at rows, against the training median if none."""
        windows = self.windows(ends)
        base = self.baseline if baseline is None else baseline
        return self.network.attribute(windows, np.broadcast_to(base, windows.shape))

    def ablated(self, ends: np.ndarray) -> np.ndarray:
        """Change of the decision when one feature is at its baseline throughout, shape (n, f)."""
        windows = self.windows(ends)
        before = self.network.decide(windows)
        moved = np.empty((len(windows), windows.shape[2]))
        for k in range(windows.shape[2]):
            without = windows.copy()
            without[:, :, k] = self.baseline[:, k]
            moved[:, k] = before - self.network.decide(without)
        return moved

    def randomised(self, seed: int) -> Explainer:
        """The same with the network's weights drawn anew."""
        return Explainer(
            self.model.randomised(seed), self.as_network, self.bars, self.trained_rows, self.length
        )
