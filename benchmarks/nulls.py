"""Markets in which nothing is wrong: what a test must reject no more often than it says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars, Provenance
from finchaos.core.provenance import array_digest, digest, random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard

_BURN_IN = 500
NULLS = ("iid", "AR(1)", "GARCH")
_CARD = ModelCard(name="prepared answers", version="1")


@dataclass(frozen=True, eq=False)
class Process:
    """A path of daily returns, and the mean and volatility that each truly had.

    Attributes
    ----------
    returns, mean, volatility : numpy.ndarray, shape (n,)
        Of the same day; mean and volatility are known the day before.
    """

    returns: np.ndarray
    mean: np.ndarray
    volatility: np.ndarray

    def bars(self) -> Bars:
        """Closes alone, on weekdays, one more than there are returns."""
        return closes_alone(100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + self.returns])))


def closes_alone(close: np.ndarray) -> Bars:
    """Bars of these closes, on weekdays."""
    return Bars(
        pd.bdate_range("2001-01-02 21:00", periods=len(close), tz="UTC"),
        close,
        close,
        close,
        close,
        np.zeros(len(close)),
        "PLANTED",
        has_range=False,
        provenance=Provenance("given closes", kind="simulated"),
    )


def process(name: str, seed: int, n: int, *, scale: float = 0.01) -> Process:
    """One path.

    Parameters
    ----------
    name : {"iid", "AR(1)", "GARCH"}
        Independent Student returns of 5 degrees of freedom; an autoregression of 0.2 with such
        innovations; GARCH(1,1) with 0.08 and 0.90, Gaussian innovations.
    seed : int
    n : int
        Returns.
    scale : float
        Unconditional volatility of a day; of the innovation for AR(1).
    """
    rng = random_stream(seed, f"nulls.{name}")
    if name == "GARCH":
        return _garch(rng.standard_normal(n + _BURN_IN), scale)
    noise = scale * rng.standard_t(5, n + _BURN_IN) / np.sqrt(5.0 / 3.0)
    weight = {"iid": 0.0, "AR(1)": 0.2}[name]
    returns = np.empty(len(noise))
    before = 0.0
    for day, shock in enumerate(noise.tolist()):
        before = weight * before + shock
        returns[day] = before
    mean = weight * np.concatenate([[0.0], returns[:-1]])
    kept = slice(_BURN_IN, None)
    return Process(returns[kept], mean[kept], np.full(n, scale))


def _garch(noise: np.ndarray, scale: float) -> Process:
    variance = 1.0
    volatility = np.empty(len(noise))
    for day, shock in enumerate(noise.tolist()):
        volatility[day] = np.sqrt(variance)
        variance = 0.02 + variance * (0.90 + 0.08 * shock * shock)
    kept = slice(_BURN_IN, None)
    true = scale * volatility
    return Process((true * noise)[kept], np.zeros(len(noise) - _BURN_IN), true[kept])


@dataclass(frozen=True, eq=False)
class Prepared:
    """A subject that says prepared fields, row by row from the first bar on.

    Attributes
    ----------
    fields : dict of str to numpy.ndarray, shape (bars,)
        Of :class:`finchaos.core.signals.Signals`.
    """

    fields: dict[str, np.ndarray]
    card: ModelCard = _CARD
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT})
    trained_rows: int = 0
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest([array_digest(self.fields), self.trained_rows]))

    def fit(self, bars: Bars, *, seed: int) -> Prepared:
        """Remember how many bars it was shown."""
        return replace(self, trained_rows=len(bars))

    def signals(self, bars: Bars) -> Signals:
        """The fields as far as the bars go."""
        n = len(bars)
        return Signals(bars.index, **{name: values[:n] for name, values in self.fields.items()})


def knowing(path: Process, *, noise: np.ndarray | None = None) -> Prepared:
    """A subject that knows mean and volatility of the next return; the last bar repeats its own.

    Parameters
    ----------
    path : Process
    noise : numpy.ndarray, shape (n,), optional
        Added to the logarithm of the volatility.
    """
    volatility = path.volatility if noise is None else path.volatility * np.exp(noise)
    return Prepared(
        {
            "position": np.ones(len(volatility) + 1),
            "forecast_mean": np.append(path.mean, path.mean[-1]),
            "forecast_volatility": np.append(volatility, volatility[-1]),
        }
    )


def blind(seed: int, name: str, bars: int, *, spell: float = 20.0) -> Prepared:
    """In or out of the market in spells that know nothing of it, and a regime that says so.

    Parameters
    ----------
    seed : int
    name : str
        Of the random stream.
    bars : int
    spell : float
        Mean length in bars.
    """
    turns = random_stream(seed, f"nulls.blind.{name}").random(bars) < 1.0 / spell
    regime = np.cumsum(turns) % 2
    return Prepared({"position": 1.0 - regime, "regime": regime})
