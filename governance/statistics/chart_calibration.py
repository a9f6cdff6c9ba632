"""Chart limits that hold for a series which follows itself: residuals, and blocks of a reference.

A chart of values that depend on those before it, or whose variance clusters, alarms far more often
than its tables say. So a series is first turned into normal scores of its reference, what an
autoregression foresees is taken out, and the limit is then set on stretches put together from
blocks of these residuals: at the limit, as many of them alarm as the stated run length allows.

A limit far in the tail of what the reference has shown is a guess at more than its mean. Every
stretch is therefore standardised by a resampled reference of its own, for the error in mean and
spread, and then divided by the root of a chi-square over its degrees of freedom, one for each
block of the reference, for the error in how blocks vary: what Student's t is to the normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.special import ndtri

from finchaos.core.errors import InputError
from governance.statistics.control_charts import Chart
from governance.statistics.resampling import block_length

LEAST_REFERENCE = 200
"""Rows of a reference below which no chart is calibrated."""
_MOST_LAGS = 5
_LEAST_BLOCK = 30
_STEPS = 2_000_000  # simulated bars behind a limit
_ALARMS = 100.0  # expected among them, at least


@dataclass(frozen=True, eq=False)
class Residuals:
    """How values become residuals: fitted on a reference, then fixed.

    Attributes
    ----------
    ordered : numpy.ndarray, shape (n,)
        The reference, sorted: values become normal scores of their rank in it.
    weights : numpy.ndarray, shape (p,)
        Autoregression of the scores, nearest lag first; as many lags as BIC asks for.
    mean, spread : float
        Of the reference's residuals.
    """

    ordered: np.ndarray
    weights: np.ndarray
    mean: float
    spread: float

    @classmethod
    def fit(cls, reference: np.ndarray) -> Residuals:
        """From a reference, shape (n,).

        Raises
        ------
        InputError
            If it is constant, not finite or shorter than :data:`LEAST_REFERENCE`.
        """
        series = np.asarray(reference, dtype=np.float64)
        if series.ndim != 1 or len(series) < LEAST_REFERENCE or not np.isfinite(series).all():
            raise InputError(
                "a chart cannot be calibrated on this reference",
                expected=f"at least {LEAST_REFERENCE} finite values",
                got=f"shape {series.shape}",
            )
        if np.ptp(series) == 0.0:
            raise InputError("a chart cannot be calibrated on a constant reference")
        ordered = np.sort(series)
        scores = _scores(ordered, series)
        best, weights = np.inf, np.zeros(0)
        for lags in range(_MOST_LAGS + 1):
            found = _autoregression(scores, lags)
            left = _unforeseen(scores, found)[_MOST_LAGS:]
            bic = len(left) * np.log(np.mean(left**2)) + lags * np.log(len(left))
            if bic < best:
                best, weights = bic, found
        left = _unforeseen(scores, weights)[len(weights) :]
        return cls(ordered, weights, float(left.mean()), float(left.std()))

    def of(self, history: np.ndarray, new: np.ndarray) -> np.ndarray:
        """Residuals of ``new``, shape (m,); ``history`` comes right before it.

        Row t depends on rows up to t.
        """
        lags = len(self.weights)
        before = np.asarray(history, dtype=np.float64)
        tail = before[max(0, len(before) - lags) :]
        if len(tail) < lags:
            raise InputError("too little history", expected=f"{lags} values", got=str(len(tail)))
        scores = _scores(self.ordered, np.concatenate([tail, new]))
        return (_unforeseen(scores, self.weights)[lags:] - self.mean) / self.spread

    def of_reference(self, reference: np.ndarray) -> np.ndarray:
        """Residuals of the reference itself, but for its first rows."""
        lags = len(self.weights)
        return self.of(reference[:lags], reference[lags:])


def calibrated_limit(
    chart: Chart,
    residuals: np.ndarray,
    run_length: float,
    rng: np.random.Generator,
    *,
    horizon: int = 500,
) -> float:
    """The limit that resampled stretches exceed once in ``run_length`` bars.

    Alarms that come at a constant rate leave a share of ``exp(-bars / run_length)`` of the
    stretches without one. An alarm stands until the chart is set up anew, so that several in one
    stretch are one.

    Parameters
    ----------
    chart : Chart
    residuals : numpy.ndarray, shape (n,)
        Of a reference.
    run_length : float
        Bars between false alarms.
    rng : numpy.random.Generator
    horizon : int
        Length of a stretch: how long the chart will be looked at before it is set up anew.

    Raises
    ------
    InputError
        If the run length is beyond what the simulated stretches can tell.

    References
    ----------
    Jones, Champ & Rigdon, The performance of exponentially weighted moving average charts with
    estimated parameters, Technometrics 43 (2001), and Gandy & Kvaloy, Guaranteed conditional
    performance of control charts via bootstrap methods, Scandinavian Journal of Statistics 40
    (2013), on the price of estimated parameters; Ibragimov & Müller, t-statistic based correlation
    and heterogeneity robust inference, JBES 28 (2010), on degrees of freedom from blocks.
    """
    if not 2.0 <= run_length <= _STEPS:
        raise InputError(
            "a chart cannot be calibrated to this run length",
            expected=f"from 2 to {_STEPS} bars",
            got=str(run_length),
        )
    steps = min(10.0 * _STEPS, max(_STEPS, _ALARMS * run_length))
    # Where alarms are frequent, stretches short enough that some have none.
    bars = max(1, min(horizon, math.ceil(run_length)))
    stretches = _stretches(np.asarray(residuals), math.ceil(steps / horizon), bars, rng)
    quiet = math.exp(-bars / run_length)
    return float(np.quantile(chart.highest(stretches), quiet, method="higher"))


def _stretches(
    residuals: np.ndarray, count: int, horizon: int, rng: np.random.Generator
) -> np.ndarray:
    """Stretches from blocks, each studentised by a reference from blocks; (count, horizon)."""
    n = len(residuals)
    block = min(max(_LEAST_BLOCK, 2 * block_length(residuals)), n // 4)
    sums = np.stack(
        [np.concatenate([[0.0], np.cumsum(np.tile(residuals**power, 2))]) for power in (1, 2)]
    )
    starts = rng.integers(0, n, size=(count, -(-n // block)))
    first, second = (
        (row[starts + block] - row[starts]).sum(axis=1) / (starts.shape[1] * block) for row in sums
    )
    spread = np.sqrt(np.maximum(second - first**2, 1e-12))
    freedom = n / block
    spread *= np.sqrt(rng.chisquare(freedom, size=count) / freedom)
    begin = rng.integers(0, n, size=(count, -(-horizon // block)))
    rows = (begin[:, :, None] + np.arange(block)).reshape(count, -1)[:, :horizon] % n
    return (residuals[rows] - first[:, None]) / spread[:, None]


def _scores(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Normal scores of ranks in a reference; beyond its range as at the end of it."""
    n = len(ordered)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return ndtri(np.clip(0.5 * (below + upto), 0.5, n - 0.5) / n)


def _autoregression(scores: np.ndarray, lags: int) -> np.ndarray:
    """Yule-Walker weights, nearest lag first: they always make a stationary series."""
    if not lags:
        return np.zeros(0)
    centred = scores - scores.mean()
    n = len(centred)
    covariance = np.array([centred[k:] @ centred[: n - k] / n for k in range(lags + 1)])
    return solve_toeplitz(covariance[:-1], covariance[1:])


def _unforeseen(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    left = scores.copy()
    for lag, weight in enumerate(weights, start=1):
        left[lag:] -= weight * scores[:-lag]
    return left
