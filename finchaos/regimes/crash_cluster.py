"""Which regime is the dangerous one: the volatility and the falls inside it must agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError, InputError


@dataclass(frozen=True)
class CrashRule:
    """How far the dangerous regime must stand out from the next.

    Attributes
    ----------
    volatility_ratio : float
        Its volatility over that of the next most volatile one, above 1.
    drawdown_ratio : float
        Its mean drawdown over the next deepest one, above 1.
    window_bars : int
        How many bars of a regime back the high is sought that a drawdown is measured from. Without
        a limit a regime that holds for long would look deep for its length alone: a calm one of
        ten years against a crash of one, in simulations with both drifts known.
    least_bars : int
        Bars that every regime must hold.
    """

    volatility_ratio: float = 1.2
    drawdown_ratio: float = 1.2
    window_bars: int = 63
    least_bars: int = 20

    def __post_init__(self) -> None:
        sound = (
            1 < self.volatility_ratio < np.inf
            and 1 < self.drawdown_ratio < np.inf
            and self.window_bars >= 2
            and self.least_bars >= 2
        )
        if not sound:
            raise InputError(
                "impossible rule for the crash cluster",
                expected="ratios above 1, window_bars and least_bars >= 2",
                got=repr(self),
            )


@dataclass(frozen=True, eq=False)
class CrashCluster:
    """The dangerous regime and what it was told by.

    Attributes
    ----------
    label : int
    bars : numpy.ndarray, shape (c,), int64
        Bars of each regime.
    volatility : numpy.ndarray, shape (c,)
        Root mean square return per bar inside each.
    drawdown : numpy.ndarray, shape (c,)
        Mean depth of capital that is invested in this regime alone below its highest value of the
        last ``window_bars`` bars of it, at most 1.
    worst_drawdown : numpy.ndarray, shape (c,)
        The deepest.
    volatility_ratio, drawdown_ratio : float
        Of the dangerous regime over the next; infinite if the next is 0.
    """

    label: int
    bars: np.ndarray
    volatility: np.ndarray
    drawdown: np.ndarray
    worst_drawdown: np.ndarray
    volatility_ratio: float
    drawdown_ratio: float


def crash_cluster(
    labels: np.ndarray, log_returns: np.ndarray, *, count: int, rule: CrashRule | None = None
) -> CrashCluster:
    """Name the dangerous regime of training rows, or refuse.

    Volatility alone may point at a rebound, falls alone at a slow bear market that is calm day by
    day. The regime is named if it has the most of both, each by a margin.

    Parameters
    ----------
    labels : numpy.ndarray, shape (t,), int
        Regime of each training bar, 0 to ``count - 1``.
    log_returns : numpy.ndarray, shape (t,)
        Return of each bar.
    count : int
        Regimes, at least 2.
    rule : CrashRule, optional

    Raises
    ------
    InputError
        If shapes do not fit or a label is out of range.
    DataError
        If a return is not finite, a regime holds too few bars, the two measures name different
        regimes, or a margin is not reached.

    Examples
    --------
    >>> labels = np.repeat([0, 1], 40)
    >>> returns = np.where(labels == 1, -0.03, 0.004) * np.tile([1.0, -0.5], 40)
    >>> crash_cluster(labels, returns, count=2).label
    1
    """
    limits = rule or CrashRule()
    held = _sound(labels, log_returns, count, limits)
    volatility, drawdown, worst = np.empty(count), np.empty(count), np.empty(count)
    for k in range(count):
        inside = log_returns[labels == k]
        volatility[k] = np.sqrt(np.mean(inside**2))
        wealth = np.concatenate([[0.0], np.cumsum(inside)])
        high = pd.Series(wealth).rolling(limits.window_bars + 1, min_periods=1).max().to_numpy()
        depth = -np.expm1(wealth - high)[1:]
        drawdown[k], worst[k] = depth.mean(), depth.max()
    loudest, deepest = int(volatility.argmax()), int(drawdown.argmax())
    if loudest != deepest:
        raise DataError(
            "it is not clear which regime is the dangerous one",
            expected="the most volatile regime to be the one that falls most",
            got=f"regime {loudest} most volatile ({_listed(volatility)}), "
            f"regime {deepest} deepest ({_listed(drawdown)})",
            remedy="train on a longer window, or name the regime by hand",
        )
    ratios = _over_next(volatility), _over_next(drawdown)
    if ratios[0] < limits.volatility_ratio or ratios[1] < limits.drawdown_ratio:
        raise DataError(
            "no regime stands out as the dangerous one",
            expected=f"volatility {limits.volatility_ratio:g} and drawdown "
            f"{limits.drawdown_ratio:g} times those of the next",
            got=f"{ratios[0]:.3g} and {ratios[1]:.3g} times for regime {loudest}",
            remedy="the training window may hold one regime only: train on a longer one",
        )
    return CrashCluster(loudest, held, volatility, drawdown, worst, *ratios)


def _sound(labels: np.ndarray, log_returns: np.ndarray, count: int, rule: CrashRule) -> np.ndarray:
    """Bars of each regime, of input that can be used."""
    if labels.ndim != 1 or labels.shape != log_returns.shape or labels.dtype.kind not in "iu":
        raise InputError(
            "labels and returns do not fit together",
            expected="an integer label for each return",
            got=f"{labels.dtype} {labels.shape} and {log_returns.shape}",
        )
    if count < 2 or not len(labels) or labels.min() < 0 or labels.max() >= count:
        raise InputError("labels out of range", expected=f"0 to {count - 1}, of 2 or more regimes")
    if not np.isfinite(log_returns).all():
        raise DataError("returns must be finite")
    held = np.bincount(labels, minlength=count)
    if held.min() < rule.least_bars:
        raise DataError(
            "a regime holds too few bars to tell the dangerous one",
            expected=f"at least {rule.least_bars} in each",
            got=", ".join(map(str, held)),
        )
    return held


def _over_next(values: np.ndarray) -> float:
    """Largest over second largest."""
    second, first = np.sort(values)[-2:]
    if second > 0.0:
        return float(first / second)
    return float("inf") if first > 0.0 else 1.0


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
