"""Conformal prediction intervals of a stated or implied forecast, split and adaptive.

The scores are those of a density forecast's laws: standardised returns of training. An interval
at time t reads the law of t, fixed by training, and errors up to the bar before it.

References
----------
Vovk, Gammerman & Shafer, Algorithmic Learning in a Random World (2005): split conformal
prediction. Gibbs & Candes, Adaptive conformal inference under distribution shift, Advances in
Neural Information Processing Systems 34 (2021): the rule and its guarantee.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from governance.record import Column, Exhibit
from governance.statistics.implied_forecast import DensityForecast, Law


@dataclass(frozen=True, eq=False)
class Intervals:
    """Intervals for the next return, each of shape (n,), in the order of the forecasts.

    Attributes
    ----------
    alpha : numpy.ndarray
        Share of errors each was made for, known before its outcome; with the adaptive rule it
        may leave [0, 1].
    low, high : numpy.ndarray
        Ends, returns per bar; infinite where alpha is too small for the training rows, and
        ``low > high`` where it is 1 or more and nothing is inside.
    missed : numpy.ndarray, bool
        Whether the outcome fell outside.
    """

    alpha: np.ndarray
    low: np.ndarray
    high: np.ndarray
    missed: np.ndarray

    @property
    def bounded(self) -> np.ndarray:
        """Which have two finite ends, or hold nothing, shape (n,), bool."""
        return np.isfinite(self.width)

    @property
    def width(self) -> np.ndarray:
        """High less low, shape (n,), 0 for an empty one."""
        empty = self.alpha >= 1.0
        return np.where(empty, 0.0, self.high - self.low)

    @property
    def mean_width(self) -> float:
        """Mean width of the bounded ones; NaN if there is none."""
        return float(self.width[self.bounded].mean()) if self.bounded.any() else float("nan")

    def worst_window(self, bars: int) -> float:
        """Lowest coverage over any ``bars`` forecasts in a row; NaN if there are fewer."""
        if len(self.missed) < bars:
            return float("nan")
        total = np.concatenate([[0], np.cumsum(~self.missed)])
        return float((total[bars:] - total[:-bars]).min() / bars)


def adapt(
    missed: Callable[[int, float], bool], n: int, alpha: float, gamma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Adaptive conformal inference: ask for fewer errors after an error, for more after none.

    alpha_1 = alpha and alpha_{t+1} = alpha_t + gamma (alpha - err_t): equation 2 of Gibbs & Candes.
    At alpha_t <= 0 the set is the whole line and err_t = 0; at alpha_t >= 1 it is empty, err_t = 1.

    Parameters
    ----------
    missed : callable
        From t and alpha_t, inside (0, 1), to whether outcome t lies outside the set for alpha_t.
    n : int
    alpha : float
        Share of errors wanted.
    gamma : float
        Step, above 0; at 0 the rule is that of split conformal prediction.

    Returns
    -------
    alphas, errors : numpy.ndarray, shape (n,), float and bool

    Raises
    ------
    InputError
        If alpha is not inside (0, 1) or gamma is negative.

    Examples
    --------
    >>> alphas, errors = adapt(lambda t, alpha: t == 1, 4, 0.1, 0.05)
    >>> alphas.round(4).tolist()
    [0.1, 0.105, 0.06, 0.065]
    """
    if not 0.0 < alpha < 1.0 or not gamma >= 0.0:
        raise InputError(
            "adaptive conformal inference cannot use these parameters",
            expected="alpha inside (0, 1), gamma of 0 or more",
            got=f"alpha {alpha}, gamma {gamma}",
        )
    alphas, errors = np.empty(n), np.zeros(n, dtype=bool)
    now = alpha
    for t in range(n):
        alphas[t] = now
        errors[t] = now >= 1.0 or (now > 0.0 and missed(t, now))
        now = now + gamma * (alpha - errors[t])
    return alphas, errors


def error_bound(n: int, alpha: float, gamma: float) -> float:
    """Largest difference of the mean error and alpha after n steps, whatever the outcomes.

    (max(alpha_1, 1 - alpha_1) + gamma) / (gamma n): proposition 4.1 of Gibbs & Candes.
    """
    return (max(alpha, 1.0 - alpha) + gamma) / (gamma * n)


def intervals(forecast: DensityForecast, share: float, gamma: float = 0.0) -> Intervals:
    """Central intervals that should hold ``share`` of the outcomes, half the errors on each side.

    Parameters
    ----------
    forecast : DensityForecast
    share : float
    gamma : float
        Step of the adaptive rule; with 0 the intervals are split-conformal.
    """
    law_of = np.empty(len(forecast), dtype=np.int64)
    for number, law in enumerate(forecast.laws):
        law_of[law.tests] = number
    low, high = np.full(len(forecast), -np.inf), np.full(len(forecast), np.inf)
    residual = forecast.residual

    def outside(t: int, alpha: float) -> bool:
        below, above = _ends(forecast.laws[law_of[t]], alpha)
        low[t] = forecast.location[t] + forecast.scale[t] * below
        high[t] = forecast.location[t] + forecast.scale[t] * above
        return bool(not below <= residual[t] <= above)

    alphas, errors = adapt(outside, len(forecast), 1.0 - share, gamma)
    empty = alphas >= 1.0
    low[empty], high[empty] = np.inf, -np.inf
    return Intervals(alphas, low, high, errors)


def _ends(law: Law, alpha: float) -> tuple[float, float]:
    """Order statistics of ranks alpha/2 (n + 1) from either end, interpolated; else infinite."""
    sample, n = law.sample, len(law.sample)
    rank = 0.5 * alpha * (n + 1)
    if rank < 1.0:
        return -np.inf, np.inf
    whole = min(int(rank), n - 1)
    part = rank - whole
    below = sample[whole - 1] + part * (sample[whole] - sample[whole - 1])
    above = sample[n - whole] - part * (sample[n - whole] - sample[n - whole - 1])
    return float(below), float(above)


def conformal_exhibit(
    check: str, made: Mapping[tuple[str, str], Intervals], local_bars: int, gamma: float
) -> Exhibit:
    """A table of coverage and width by level and method."""
    rows = list(made.items())

    def finite(values: list[float]) -> tuple[float | None, ...]:
        return tuple(value if np.isfinite(value) else None for value in values)

    return Exhibit(
        check=check,
        name="conformal",
        title="Conformal intervals of the next return, split and adaptive",
        kind="table",
        columns=(
            Column(name="level", values=tuple(level for (level, _), _ in rows)),
            Column(name="method", values=tuple(method for (_, method), _ in rows)),
            Column(name="coverage", values=tuple(float(1.0 - f.missed.mean()) for _, f in rows)),
            Column(name=f"lowest coverage over {local_bars} bars",
                   values=finite([f.worst_window(local_bars) for _, f in rows])),
            Column(name="mean width", unit="return per bar",
                   values=finite([f.mean_width for _, f in rows])),
            Column(name="whole line", unit="bars",
                   values=tuple(float((~f.bounded).sum()) for _, f in rows)),
        ),
        note=f"Adaptive with gamma {gamma:g}. Its coverage is near the level by construction; that "
        "it had to be wider, or that split coverage sank meanwhile, tells against the forecast.",
    )  # fmt: skip
