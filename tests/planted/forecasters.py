"""Subjects that forecast the next return, rightly or wrongly as planted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from benchmarks.nulls import Process
from finchaos.core.bars import Bars
from finchaos.core.provenance import array_digest, digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from tests.planted.skill import CARD


@dataclass(frozen=True, eq=False)
class Forecaster:
    """Says prepared fields, row by row from the first bar on."""

    fields: dict[str, np.ndarray]
    card: ModelCard = CARD
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT})
    trained_rows: int = 0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest([array_digest(self.fields), self.trained_rows]))

    def fit(self, bars: Bars, *, seed: int) -> Forecaster:
        """Remember how many bars it was shown."""
        return replace(self, trained_rows=len(bars))

    def signals(self, bars: Bars) -> Signals:
        """The fields as far as the bars go."""
        n = len(bars)
        return Signals(bars.index, **{name: values[:n] for name, values in self.fields.items()})


def true_forecaster(path: Process) -> Forecaster:
    """Knows mean and volatility of the next return; the last bar repeats the one before."""
    n = len(path.returns)
    return Forecaster(
        {
            "position": np.ones(n + 1),
            "forecast_mean": np.append(path.mean, path.mean[-1]),
            "forecast_volatility": np.append(path.volatility, path.volatility[-1]),
        }
    )


def constant_forecaster(path: Process, volatility: float = 0.01) -> Forecaster:
    """Forecasts the same every day."""
    n = len(path.returns) + 1
    return Forecaster(
        {
            "position": np.ones(n),
            "forecast_mean": np.zeros(n),
            "forecast_volatility": np.full(n, volatility),
        }
    )
