"""Challenger: out of the market while its recent volatility is high."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import digest
from finchaos.core.signals import Signal, Signals
from finchaos.core.subject import Capability, ModelCard

_CAPABILITIES = frozenset(
    {
        Capability.REFIT,
        Capability.REGIMES,
        Capability.STREAMING,
        Capability.HYPER_PARAMETERS,
    }
)


@dataclass(frozen=True)
class VolatilityThreshold(HyperParameterFields):
    """Flat while realised volatility exceeds a quantile of its own training history.

    Parameters
    ----------
    window_bars : int
        Simple returns in the realised volatility.
    quantile : float
        Share of training bars with lower volatility.
    threshold : float or None
        Volatility per bar above which it is out; None until fitted, then it is always in.

    Examples
    --------
    >>> VolatilityThreshold().card.warmup_bars
    21
    """

    window_bars: int = 21
    quantile: float = 0.80
    threshold: float | None = None
    capabilities: frozenset[Capability] = field(default=_CAPABILITIES, init=False)

    hyper_fields: ClassVar[tuple[str, ...]] = ("quantile", "window_bars")

    def __post_init__(self) -> None:
        if self.window_bars < 2 or not 0.0 < self.quantile < 1.0:
            raise InputError(
                "a volatility threshold needs at least two returns and a quantile inside (0, 1)",
                got=f"{self.window_bars} bars, quantile {self.quantile}",
            )

    @property
    def card(self) -> ModelCard:
        """Warm-up lasts until the first window of returns is full."""
        return ModelCard(
            name="volatility threshold",
            version="1",
            purpose="Challenger: the simplest regime rule",
            intended_use="Comparison in validations",
            owner="finchaos",
            developer="finchaos",
            limitations=("Sees a fall only once it is volatile", "No debouncing: it flickers"),
            materiality="low",
            warmup_bars=self.window_bars,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of settings and threshold."""
        return digest(
            {
                "challenger": "volatility_threshold",
                "version": self.card.version,
                "window_bars": self.window_bars,
                "quantile": self.quantile,
                "threshold": self.threshold,
            }
        )

    def fit(self, bars: Bars, *, seed: int) -> VolatilityThreshold:
        """The same rule with the threshold of these bars; nothing is random."""
        history = self._volatility(bars)[self.window_bars :]
        if not len(history):
            raise DataError(
                "too few bars to train a volatility threshold",
                expected=f"more than {self.window_bars}",
                got=str(len(bars)),
            )
        return replace(self, threshold=float(np.quantile(history, self.quantile)))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar; stress probability is 0 or 1."""
        stressed = self._volatility(bars) > self._limit
        position = np.where(stressed, 0.0, 1.0)
        position[: self.window_bars] = 0.0
        return Signals(
            bars.index, position, stress_probability=stressed.astype(float), regime=stressed
        )

    def open(self, warmup: Bars | None = None) -> _Watch:
        """A session that has seen ``warmup``."""
        closes = [] if warmup is None else warmup.close[-self.window_bars - 1 :].tolist()
        return _Watch(self.window_bars, self._limit, deque(closes, maxlen=self.window_bars + 1))

    @property
    def _limit(self) -> float:
        return float("inf") if self.threshold is None else self.threshold

    def _volatility(self, bars: Bars) -> np.ndarray:
        """Realised volatility per bar, shape (t,); 0 until a window is full."""
        volatility = np.zeros(len(bars))
        if len(bars) > self.window_bars:
            growth = bars.close[1:] / bars.close[:-1]
            windows = np.lib.stride_tricks.sliding_window_view(growth, self.window_bars)
            # Contiguous rows are summed in the order of a single window: a stream agrees exactly.
            volatility[self.window_bars :] = _deviation(np.ascontiguousarray(windows))
        return volatility


def _deviation(growth: np.ndarray) -> np.ndarray:
    return np.asarray(growth.std(axis=-1, ddof=1))


class _Watch:
    """A live session: the last closes and the limit."""

    def __init__(self, window_bars: int, limit: float, closes: deque[float]) -> None:
        self._window_bars, self._limit, self._closes = window_bars, limit, closes

    def step(self, bar: Bar) -> Signal:
        """Take the next bar; flat while warming up or volatile."""
        self._closes.append(bar.close)
        full = len(self._closes) == self._window_bars + 1
        closes = np.array(self._closes)
        stressed = full and bool(_deviation(closes[1:] / closes[:-1]) > self._limit)
        return Signal(
            bar.ts,
            position=1.0 if full and not stressed else 0.0,
            stress_probability=float(stressed),
            regime=int(stressed),
        )
