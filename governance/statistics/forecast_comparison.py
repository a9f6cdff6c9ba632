"""Which of two forecasts was better, and whether the difference is more than luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class Comparison:
    """A test of equal accuracy.

    Attributes
    ----------
    difference : float
        Mean loss of the first forecast less that of the second.
    error : float
        Its standard error, any small-sample correction included.
    freedom : float
        Of Student's t to compare the ratio with.
    """

    difference: float
    error: float
    freedom: float

    @property
    def statistic(self) -> float:
        """Difference over error."""
        return self.difference / self.error

    @property
    def two_sided(self) -> float:
        """Probability of a difference this large either way."""
        return float(2.0 * student.sf(abs(self.statistic), self.freedom))

    @property
    def worse(self) -> float:
        """Probability of the first being worse by this much if both are equal."""
        return float(student.sf(self.statistic, self.freedom))

    def limits(self, level: float) -> tuple[float, float]:
        """Confidence interval of the difference."""
        half = self.error * float(student.ppf(0.5 + 0.5 * level, self.freedom))
        return self.difference - half, self.difference + half


def diebold_mariano(
    difference: np.ndarray, *, horizon: int = 1, bandwidth: int | None = None
) -> Comparison:
    """Diebold and Mariano's test with the correction of Harvey, Leybourne and Newbold.

    Parameters
    ----------
    difference : numpy.ndarray, shape (n,)
        Loss of one forecast less that of the other.
    horizon : int
        Steps ahead; autocovariances up to one less are counted in full.
    bandwidth : int, optional
        Lags weighed after Bartlett instead, where differences follow each other for longer.

    Raises
    ------
    InputError
        If differences do not vary, or their long-run variance is not positive.

    References
    ----------
    Diebold & Mariano, Comparing predictive accuracy, Journal of Business & Economic Statistics
    13(3), 1995; Harvey, Leybourne & Newbold, Testing the equality of prediction mean squared
    errors, International Journal of Forecasting 13(2), 1997, equation 8.
    """
    values = _varying(difference)
    n = len(values)
    lags = horizon - 1 if bandwidth is None else bandwidth
    variance = _long_run(values, lags, bartlett=bandwidth is not None) / n
    correction = (n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n
    error = float(np.sqrt(variance / correction))
    return Comparison(float(values.mean()), error, n - 1.0)


def fixed_smoothing(difference: np.ndarray) -> Comparison:
    """The same with a long-run variance from the lowest frequencies and Student's t for it.

    The cube root of n frequencies, twice as many degrees of freedom: keeps its level where loss
    differences follow each other over weeks, as those of volatility do.

    Parameters
    ----------
    difference : numpy.ndarray, shape (n,)

    References
    ----------
    Coroneo & Iacone, Comparing predictive accuracy in small samples using fixed-smoothing
    asymptotics, Journal of Applied Econometrics 35(4), 2020, equation 6.
    """
    values = _varying(difference)
    n = len(values)
    count = int(np.floor(n ** (1.0 / 3.0)))
    waves = np.fft.rfft(values - values.mean())[1 : count + 1]
    # The periodogram |w|^2 / (2 pi n) times 2 pi is the spectral density's share of the variance.
    variance = float((np.abs(waves) ** 2).mean() / n)
    return Comparison(float(values.mean()), float(np.sqrt(variance / n)), 2.0 * count)


def clark_west(
    outcome: np.ndarray, small: np.ndarray, large: np.ndarray, *, bandwidth: int = 0
) -> tuple[float, float]:
    """Whether a forecast says more than one nested in it: statistic and one-sided probability.

    The larger model's squared errors are relieved of what estimating its extra parts costs.

    Parameters
    ----------
    outcome, small, large : numpy.ndarray, shape (n,)
        What came, and its two forecasts.
    bandwidth : int
        Lags weighed after Bartlett.

    References
    ----------
    Clark & West, Approximately normal tests for equal predictive accuracy in nested models,
    Journal of Econometrics 138 (2007), equation 2.5.
    """
    gain = (outcome - small) ** 2 - ((outcome - large) ** 2 - (small - large) ** 2)
    values = _varying(gain)
    error = np.sqrt(_long_run(values, bandwidth, bartlett=True) / len(values))
    statistic = float(values.mean() / error)
    return statistic, float(norm.sf(statistic))


def qlike(outcome: np.ndarray, volatility: np.ndarray) -> np.ndarray:
    """Loss of a volatility forecast against the squared return, shape (n,), unbounded below.

    References
    ----------
    Patton, Volatility forecast comparison using imperfect volatility proxies, Journal of
    Econometrics 160 (2011): one of two losses whose ranking a noisy proxy does not change.
    """
    return 2.0 * np.log(volatility) + (outcome / volatility) ** 2


def pinball(outcome: np.ndarray, quantile: np.ndarray, level: float) -> np.ndarray:
    """Loss of a quantile forecast, shape (n,).

    References
    ----------
    Koenker & Bassett, Regression quantiles, Econometrica 46 (1978).
    """
    return (level - (outcome < quantile)) * (outcome - quantile)


def automatic_bandwidth(n: int) -> int:
    """Lags for Bartlett's weights: 4 (n / 100)^(2/9), Newey & West (1994)."""
    return int(np.floor(4.0 * (n / 100.0) ** (2.0 / 9.0)))


def _varying(values: np.ndarray) -> np.ndarray:
    series = np.asarray(values, dtype=np.float64)
    if series.ndim != 1 or len(series) < 10 or not np.isfinite(series).all():
        raise InputError(
            "forecasts cannot be compared on these losses",
            expected="a finite series of ten or more",
            got=f"shape {series.shape}",
        )
    if np.ptp(series) == 0.0:
        raise InputError("the two forecasts lose the same every day")
    return series


def _long_run(values: np.ndarray, lags: int, *, bartlett: bool) -> float:
    centred, n = values - values.mean(), len(values)
    total = float(centred @ centred)
    for lag in range(1, lags + 1):
        weight = 1.0 - lag / (lags + 1.0) if bartlett else 1.0
        total += 2.0 * weight * float(centred[lag:] @ centred[:-lag])
    if total <= 0.0:
        raise InputError(
            "the long-run variance is not positive", remedy="give a bandwidth, or a shorter horizon"
        )
    return total / n
