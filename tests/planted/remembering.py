"""A differentiable subject that says how far back it looks, and says so truly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.subject import Capability, Memory
from tests.planted.differentiable import DifferentiableRegime

LOOKBACK = 1


@dataclass(frozen=True)
class Remembering(DifferentiableRegime):
    """A leaky sum, whose derivative with respect to a drive k bars before is decay**k.

    Parameters
    ----------
    decay_when_wild : float or None
        Decay in windows whose last bar has an absolute return above the median of training; the
        same as ``decay`` if None. Only what is said changes, not the signals.
    """

    decay_when_wild: float | None = None
    capabilities: frozenset[Capability] = frozenset(
        {Capability.REFIT, Capability.GRADIENTS, Capability.REGIMES, Capability.MEMORY}
    )

    def memory(self, bars: Bars, ends: np.ndarray, length: int) -> Memory:
        """The powers of the decay."""
        windows = self.feature_windows(bars, ends, length)
        decay = np.full((len(windows), 1), self.decay)
        if self.decay_when_wild is not None:
            decay[windows[:, -1, 1] > 0.0] = self.decay_when_wild
        return Memory(
            influence=decay ** np.arange(length),
            layers=(np.array([-1.0 / np.log(self.decay)]),),
            input_lookback=LOOKBACK,
        )
