"""Subjects and contexts that the deep stress checks share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from finchaos.markets import load_builtin
from governance.check import Context
from governance.scenario import load_scenarios
from governance.splits import anchored_folds


@cache
def sample() -> Bars:
    """The S&P 500 of the demonstration."""
    return load_builtin("spx")


def context(*names: str, bars: Bars | None = None, **changes: Any) -> Context:
    """Six folds over the sample, with the scenarios named."""
    bars = bars or sample()
    folds = anchored_folds(len(bars), first_test=int(0.35 * len(bars)), count=6, gap=10)
    return Context(bars, folds, 7, scenarios=load_scenarios(names), **changes)


@dataclass(frozen=True)
class Constant:
    """Holds one position, always."""

    position: float = 1.0
    capabilities: frozenset[Capability] = frozenset()

    @property
    def card(self) -> ModelCard:
        """Limits wide enough for what is planted."""
        return ModelCard(name="constant", version="1", max_position=4.0, min_position=-4.0)

    @property
    def digest(self) -> str:
        """Class and position."""
        return f"{type(self).__name__} {self.position}"

    def fit(self, bars: Bars, *, seed: int) -> Constant:
        """Nothing to learn."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """The position at every bar."""
        return Signals(bars.index, np.full(len(bars), self.position))


class StopsAtTenPercent(Constant):
    """Holds until a close lies a tenth below the highest of the last 60, then nothing."""

    def signals(self, bars: Bars) -> Signals:
        """Back when the close is within two per cent of that high."""
        high = pd.Series(bars.close).rolling(60, min_periods=1).max().to_numpy()
        out, position = False, []
        for close, top in zip(bars.close, high, strict=True):
            out = close < 0.9 * top if not out else close < 0.98 * top
            position.append(0.0 if out else self.position)
        return Signals(bars.index, np.array(position))


class BlindToSmallFalls(Constant):
    """Planted defect: leaves on the day after a loss of four per cent, and on no other."""

    def signals(self, bars: Bars) -> Signals:
        """Out for good after one such day among the last 200."""
        moves = np.concatenate([[0.0], bars.returns()])
        hit = pd.Series(moves < -0.04).rolling(200, min_periods=1).max().to_numpy()
        return Signals(bars.index, np.where(hit > 0, 0.0, self.position))


class FailsOnLargeFalls(Constant):
    """Planted defect: raises on any day that loses two fifths."""

    def signals(self, bars: Bars) -> Signals:
        """The position, or an error."""
        if (bars.returns() < -0.4).any():
            raise ZeroDivisionError("no such day in training")
        return super().signals(bars)
