"""How a model's state behaves over time: whether it forgets, stays bounded and settles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals

_PARTS = 10
_REACH_QUANTILE = 0.99
# A latent that hardly moves anywhere has no spread that a difference could be measured in.
_LEAST_SPREAD = 1e-9


def spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation of each column, at least a billionth of its size; shape (d,).

    Parameters
    ----------
    values : numpy.ndarray, shape (t, d)
    """
    wide = _wide(values)
    floor = _LEAST_SPREAD * np.maximum(1.0, np.abs(wide).max(axis=0))
    return np.maximum(wide.std(axis=0), floor)


@dataclass(frozen=True, eq=False)
class Forgetting:
    """What another past still changes, by bars since it ended.

    Attributes
    ----------
    lags : numpy.ndarray, shape (k,)
        Bars since the last replaced bar, from 1.
    by_field : dict of name to numpy.ndarray, shape (k,)
        Mean over pasts of the largest change of a field: latents in standard deviations, the
        others in their own unit.
    """

    lags: np.ndarray
    by_field: dict[str, np.ndarray]

    def at(self, name: str, lag: int) -> float:
        """The change at a lag."""
        return float(self.by_field[name][int(np.flatnonzero(self.lags == lag)[0])])

    def bars_to(self, name: str, share: float) -> tuple[int, bool]:
        """Bars after which the change stays at or below a share, and whether that was seen.

        Where it never does within the lags, the longest lag and False.
        """
        above = np.flatnonzero(self.by_field[name] > share)
        if not len(above):
            return 0, True
        last = int(above[-1])
        if last == len(self.lags) - 1:
            return int(self.lags[-1]), False
        return int(self.lags[last + 1]), True


FORGOTTEN_FIELDS = ("position", "stress_probability", "latents")


def forgetting(base: Signals, others: list[tuple[int, Signals]], reach: int) -> Forgetting:
    """How a difference of the past dies away.

    Parameters
    ----------
    base : Signals
        On the history as it was.
    others : list of (cut, Signals)
        On histories that are the same from row ``cut`` on.
    reach : int
        Lags counted.

    Raises
    ------
    InputError
        If a history ends before the longest lag.
    """
    for cut, signals in others:
        if len(signals) != len(base) or cut + reach > len(base):
            raise InputError(
                "another past cannot be compared",
                expected=f"{len(base)} rows and a cut at most {len(base) - reach}",
                got=f"{len(signals)} rows, cut {cut}",
            )
    found: dict[str, np.ndarray] = {}
    for name in FORGOTTEN_FIELDS:
        whole = base.arrays().get(name)
        if whole is None:
            continue
        unit = spread(whole) if name == "latents" else np.ones(1)
        changes = [
            (np.abs(_wide(signals.arrays()[name] - whole)[cut : cut + reach]) / unit).max(axis=1)
            for cut, signals in others
        ]
        found[name] = np.mean(changes, axis=0)
    return Forgetting(np.arange(1, reach + 1), found)


def growth(latents: np.ndarray, warmup: int) -> float:
    """How much further latents reach in the last tenth of a long run than in the first.

    Reach is the 99th percentile of the distance from the median of the first tenth. A bounded,
    stationary state gives about 1, a sum over n bars about 19, a random walk about 3 to 10, and an
    explosive state any number. The largest over latents.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, d)
    warmup : int
        Leading rows left out.
    """
    wide = _long_run(latents, warmup)
    if not np.isfinite(wide).all():
        return float("inf")
    part = len(wide) // _PARTS
    first, last = wide[:part], wide[-part:]
    centre = np.median(first, axis=0)
    early = np.quantile(np.abs(first - centre), _REACH_QUANTILE, axis=0)
    late = np.quantile(np.abs(last - centre), _REACH_QUANTILE, axis=0)
    floor = _LEAST_SPREAD * np.maximum(1.0, np.abs(centre))
    return float((np.maximum(late, floor) / np.maximum(early, floor)).max(initial=1.0))


def _long_run(states: np.ndarray, warmup: int) -> np.ndarray:
    wide = _wide(states)[warmup:]
    if len(wide) < 10 * _PARTS:
        raise InputError(
            "growth needs a long run", expected=f"{10 * _PARTS} rows", got=str(len(wide))
        )
    return wide


def norm_growth(states: np.ndarray, warmup: int) -> float:
    """How much larger a layer's state is in the last tenth of a long run than in the second.

    Of the Euclidean norm over all states, the 99th percentiles. Single states may sleep for years
    and wake; the norm of a stable layer stays where it is. The first tenth is left out: states
    start from nothing and fill.

    Parameters
    ----------
    states : numpy.ndarray, shape (t, ...)
    warmup : int
        Leading rows left out.
    """
    wide = _long_run(states, warmup)
    if not np.isfinite(wide).all():
        return float("inf")
    norm, part = np.linalg.norm(wide, axis=1), len(wide) // _PARTS
    early = float(np.quantile(norm[part : 2 * part], _REACH_QUANTILE))
    late = float(np.quantile(norm[-part:], _REACH_QUANTILE))
    return max(late, _LEAST_SPREAD) / max(early, _LEAST_SPREAD)


def unsettled(latents: np.ndarray, unit: np.ndarray) -> float:
    """How far latents still move in the last half of a market in which nothing happens.

    Parameters
    ----------
    latents : numpy.ndarray, shape (t, d)
        After an even number of bars that repeat with period two.
    unit : numpy.ndarray, shape (d,)
        Standard deviations of the latents on real bars.
    """
    wide = _wide(latents)
    middle = len(wide) // 2
    middle -= (len(wide) - 1 - middle) % 2
    gaps = np.abs(wide[-1] - wide[middle]) / unit
    return float(np.where(np.isfinite(gaps), gaps, np.inf).max(initial=0.0))


def largest_eigenvalue(memory_bars: np.ndarray) -> float:
    """Share of a state that one bar leaves of it, the largest of a layer: 1 never forgets.

    Parameters
    ----------
    memory_bars : numpy.ndarray, shape (states,)
        Bars until 1/e is left; infinite where nothing is lost.

    Examples
    --------
    >>> round(largest_eigenvalue(np.array([1.0, -1 / np.log(0.94)])), 12)
    0.94
    """
    with np.errstate(divide="ignore"):
        return float(np.exp(-1.0 / np.asarray(memory_bars, dtype=np.float64)).max())


def _wide(values: np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(len(array), -1)
