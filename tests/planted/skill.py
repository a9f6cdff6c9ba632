"""Markets without memory, and subjects whose skill is known because it is built in."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.nulls import closes_alone as closes_alone
from finchaos.core.bars import Bars
from finchaos.core.provenance import array_digest, digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard

CARD = ModelCard(name="planted", version="1", min_position=-1.0)


def memoryless_bars(seed: int, n: int, *, mean: float = 0.0, volatility: float = 0.01) -> Bars:
    """Independent normal daily returns; mean and volatility are per bar."""
    moves = mean + volatility * random_stream(seed, "planted.skill").standard_normal(n)
    return closes_alone(100.0 * np.cumprod(1.0 + moves))


@dataclass(frozen=True, eq=False)
class Scripted:
    """Says a prepared script, row by row from the first bar on."""

    position: np.ndarray
    regime: np.ndarray | None = None
    tripped: np.ndarray | None = None
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT})
    trained_rows: int = 0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        arrays = {"position": self.position}
        arrays |= {} if self.regime is None else {"regime": self.regime}
        object.__setattr__(
            self, "digest", digest([array_digest(arrays), self.trained_rows, self.card.as_json()])
        )

    def fit(self, bars: Bars, *, seed: int) -> Scripted:
        """Remember how many bars it was shown."""
        return Scripted(
            self.position, self.regime, self.tripped, self.card, self.capabilities, len(bars)
        )

    def signals(self, bars: Bars) -> Signals:
        """The script as far as the bars go."""
        n = len(bars)
        return Signals(
            bars.index,
            self.position[:n],
            regime=None if self.regime is None else self.regime[:n],
            stress_probability=None if self.regime is None else (self.regime[:n] > 0).astype(float),
            tripped=None if self.tripped is None else self.tripped[:n],
        )


def coin_flips(seed: int, n: int) -> Scripted:
    """In or out of the market by chance: no skill at all."""
    return Scripted(random_stream(seed, "planted.coin").integers(0, 2, n).astype(float))


def seer(bars: Bars, steps: int = 1) -> Scripted:
    """Knows the sign of the return that lies ``steps`` bars ahead."""
    ahead = np.sign(np.append(bars.returns(), np.zeros(steps))[steps - 1 :])
    return Scripted(ahead[: len(bars)])
