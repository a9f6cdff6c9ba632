"""Features of the path's motion: velocity and acceleration of the log price, per bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.features.formula import Formula, Moves, checked_half_life, memory
from finchaos.features.recursion import Change, Ewma


@dataclass(frozen=True)
class _Smoothed:
    """What the formulas here share: an optional half-life of smoothing.

    Parameters
    ----------
    half_life : float, optional
        Of the exponentially weighted mean, in bars; none for the plain value.
    """

    half_life: float | None = None
    version: ClassVar[int] = 1
    needs_range: ClassVar[bool] = False
    bounded: ClassVar[bool] = False
    differences: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.half_life is not None:
            checked_half_life(self.half_life)

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        smoothing = 0 if self.half_life is None else memory(self.half_life)
        return self.differences + smoothing

    def open(self, paths: int) -> _Motion:
        """Start at rest."""
        return _Motion(self.half_life, self.differences, paths)


@dataclass(frozen=True)
class Velocity(_Smoothed):
    """First difference of the log price, r_t = ln(C_t / C_{t-1}), smoothed where asked for."""


@dataclass(frozen=True)
class Acceleration(_Smoothed):
    """Second difference of the log price, r_t - r_{t-1}, smoothed where asked for.

    Zero on the first bar.
    """

    differences: ClassVar[int] = 2


class _Motion:
    def __init__(self, half_life: float | None, differences: int, paths: int) -> None:
        self._mean = None if half_life is None else Ewma(half_life, 0.0, paths)
        self._change = Change() if differences > 1 else None

    def advance(self, moves: Moves) -> np.ndarray:
        motion = moves.log_return
        if self._change is not None:
            motion = self._change.advance(motion)
        return motion if self._mean is None else self._mean.advance(motion)


FORMULAS: dict[str, type[Formula]] = {"velocity": Velocity, "acceleration": Acceleration}
