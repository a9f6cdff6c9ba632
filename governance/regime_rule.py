"""What challengers that tell two regimes have in common: in the market unless it is stressed."""

from __future__ import annotations

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard

CAPABILITIES = frozenset({Capability.REFIT, Capability.REGIMES, Capability.HYPER_PARAMETERS})


def rule_card(name: str, purpose: str, limitations: tuple[str, ...], warmup_bars: int) -> ModelCard:
    """The card of such a challenger."""
    return ModelCard(
        name=name,
        version="1",
        purpose=f"Challenger: {purpose}",
        intended_use="Comparison in validations",
        owner="finchaos",
        developer="finchaos",
        limitations=limitations,
        materiality="low",
        warmup_bars=warmup_bars,
    )


def log_returns(bars: Bars) -> np.ndarray:
    """Of closes, shape (t,); 0 at the first bar."""
    logs = np.log(bars.close)
    return np.diff(logs, prepend=logs[0])


def in_unless_stressed(bars: Bars, stress: np.ndarray, warmup_bars: int) -> Signals:
    """Position 1 where the probability of stress is below a half, 0 elsewhere and in warm-up.

    Parameters
    ----------
    bars : Bars
    stress : numpy.ndarray, shape (t,)
        After each bar, from the bars up to it.
    warmup_bars : int
    """
    stressed = stress >= 0.5
    position = np.where(stressed, 0.0, 1.0)
    position[:warmup_bars] = 0.0
    return Signals(
        bars.index, position, stress_probability=np.clip(stress, 0.0, 1.0), regime=stressed
    )
