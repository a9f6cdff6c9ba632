"""Signals: what a model says at each bar, from that bar and earlier ones alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.errors import SubjectFault
from finchaos.core.provenance import array_digest

_FIELDS = (
    "position",
    "stress_probability",
    "regime",
    "tripped",
    "latents",
    "forecast_mean",
    "forecast_volatility",
)


@dataclass(frozen=True)
class Signal:
    """One row of :class:`Signals`, as a stream issues it.

    Attributes
    ----------
    ts : pandas.Timestamp
        Close time of the bar it was made from.
    position : float
        Target exposure as a fraction of capital, to be traded after this bar.
    stress_probability : float or None
    regime : int or None
        0 is the calmest regime.
    tripped : bool or None
        Whether the kill switch is latched; a tripped signal has position 0.
    latents : numpy.ndarray or None, shape (d,)
    forecast_mean, forecast_volatility : float or None
        Of the simple return from this bar's close to the next, per bar.
    """

    ts: pd.Timestamp
    position: float
    stress_probability: float | None = None
    regime: int | None = None
    tripped: bool | None = None
    latents: np.ndarray | None = None
    forecast_mean: float | None = None
    forecast_volatility: float | None = None


@dataclass(frozen=True, eq=False)
class Signals:
    """A model's output on bars, one row per bar; arrays are read-only.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
        Close times of the bars.
    position : numpy.ndarray, shape (t,), float64
        Target exposure as a fraction of capital decided at the bar's close. During a model's
        warm-up (``card.warmup_bars`` rows) it is 0.
    stress_probability : numpy.ndarray or None, shape (t,), float64
        Probability of the stressed regime, in [0, 1].
    regime : numpy.ndarray or None, shape (t,), int64
        Regime label after filtering; 0 is the calmest, the largest the most stressed.
    tripped : numpy.ndarray or None, shape (t,), bool
        Kill switch latched.
    latents : numpy.ndarray or None, shape (t, d), float64
    forecast_mean : numpy.ndarray or None, shape (t,), float64
        Mean of the simple return from this bar's close to the next bar's, as
        :meth:`finchaos.core.bars.Bars.returns` gives it; per bar, 0.001 is ten basis points.
    forecast_volatility : numpy.ndarray or None, shape (t,), float64
        Standard deviation of the same return, per bar and not annualised; positive.

    Only the shape is checked here, so that a model's non-finite values can be measured; see
    :func:`governance.observe.observe` for the contract.
    """

    index: pd.DatetimeIndex
    position: np.ndarray
    stress_probability: np.ndarray | None = None
    regime: np.ndarray | None = None
    tripped: np.ndarray | None = None
    latents: np.ndarray | None = None
    forecast_mean: np.ndarray | None = None
    forecast_volatility: np.ndarray | None = None

    def __post_init__(self) -> None:
        types: dict[str, Any] = {"regime": np.int64, "tripped": np.bool_}
        for name in _FIELDS:
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, dtype=types.get(name, np.float64))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
            want = 2 if name == "latents" else 1
            if array.ndim != want or len(array) != len(self.index):
                raise SubjectFault(
                    f"signals field {name} has the wrong shape",
                    expected=f"{want} dimension(s), {len(self.index)} rows",
                    got=str(array.shape),
                )

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> Signal:
        def pick(name: str, kind: type) -> Any:
            values = getattr(self, name)
            return None if values is None else kind(values[row])

        return Signal(
            self.index[row],
            float(self.position[row]),
            pick("stress_probability", float),
            pick("regime", int),
            pick("tripped", bool),
            None if self.latents is None else self.latents[row],
            pick("forecast_mean", float),
            pick("forecast_volatility", float),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields that are present, by name."""
        return {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}

    def rows(self, start: int | None = None, stop: int | None = None) -> Signals:
        """Signals ``start:stop`` by position."""
        cut = slice(start, stop)
        return Signals(self.index[cut], **{k: v[cut] for k, v in self.arrays().items()})

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all fields and time stamps."""
        return array_digest({**self.arrays(), "index": self.index.as_unit("ns").asi8})

    @classmethod
    def collect(cls, rows: list[Signal]) -> Signals:
        """Signals from the rows a stream issued."""
        index = pd.DatetimeIndex([row.ts for row in rows])
        columns = {
            name: np.array([getattr(row, name) for row in rows])
            for name in _FIELDS
            if rows and getattr(rows[0], name) is not None
        }
        if not rows:
            columns = {"position": np.empty(0)}
            index = index.tz_localize("UTC")
        return cls(index, **columns)
