"""One step of Heston's model by two schemes, for many paths at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import ndtr

FULL_TRUNCATION = "full_truncation"
QUADRATIC_EXPONENTIAL = "quadratic_exponential"
PSI_SWITCH = 1.5
"""Ratio of variance to squared mean at which the quadratic form hands over to the exponential."""
LAW = ("kappa", "theta", "vol_of_vol", "rho", "drift")


class Step(Protocol):
    """Moves log prices and variances on by one step."""

    def __call__(
        self, regime: np.ndarray, log_price: np.ndarray, variance: np.ndarray, normal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Log price and variance after the step and the variance of the move, shape (p,) each.

        ``regime``, ``log_price`` and ``variance`` have shape (p,), the standard normals (2, p):
        the first row moves the variance.
        """
        ...


def step_for(scheme: str, regimes: Sequence[Any], dt: float) -> Step:
    """The step of a scheme for these regimes' parameters, ``dt`` in years."""
    law = {name: np.array([getattr(regime, name) for regime in regimes]) for name in LAW}
    if scheme == QUADRATIC_EXPONENTIAL:
        return QuadraticExponential(dt=dt, **law)
    return FullTruncation(dt=dt, **law)


class FullTruncation:
    """Euler's scheme whose variance may go below zero and acts as zero while it is there.

    References
    ----------
    Lord, Koekkoek and van Dijk (2010), Quantitative Finance 10(2), table 1.
    """

    def __init__(
        self,
        *,
        kappa: np.ndarray,
        theta: np.ndarray,
        vol_of_vol: np.ndarray,
        rho: np.ndarray,
        drift: np.ndarray,
        dt: float,
    ) -> None:
        self.kappa, self.theta, self.vol_of_vol = kappa, theta, vol_of_vol
        self.rho, self.across, self.drift = rho, np.sqrt(1.0 - rho**2), drift
        self.dt, self.root_dt = dt, np.sqrt(dt)

    def __call__(
        self, regime: np.ndarray, log_price: np.ndarray, variance: np.ndarray, normal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :class:`Step`; the variance that comes back may be negative."""
        dt, moved = self.dt, normal * self.root_dt
        held = np.maximum(variance, 0.0)
        vol = np.sqrt(held)
        shock = self.rho[regime] * moved[0] + self.across[regime] * moved[1]
        end = log_price + (self.drift[regime] - 0.5 * held) * dt + vol * shock
        after = (
            variance
            + self.kappa[regime] * (self.theta[regime] - held) * dt
            + self.vol_of_vol[regime] * vol * moved[0]
        )
        return end, after, held * dt


class QuadraticExponential:
    """Andersen's scheme: moment-matched variance, martingale-corrected price, central weights.

    The variance after the step matches the exact conditional mean and variance. Where the
    correction does not exist (a strongly positive rho with large steps: the price would have no
    mean) the uncorrected constant stands in its place.

    References
    ----------
    Andersen (2008), Journal of Computational Finance 11(3): the two forms of the variance by
    moment matching, and the price with its martingale correction ("QE-M").
    """

    def __init__(
        self,
        *,
        kappa: np.ndarray,
        theta: np.ndarray,
        vol_of_vol: np.ndarray,
        rho: np.ndarray,
        drift: np.ndarray,
        dt: float,
    ) -> None:
        self.theta, self.drift_dt, self.dt = theta, drift * dt, dt
        self.decay = np.exp(-kappa * dt)
        gone = -np.expm1(-kappa * dt)
        self.spread_of_variance = vol_of_vol**2 * self.decay * gone / kappa
        self.least_spread = theta * vol_of_vol**2 * gone**2 / (2.0 * kappa)
        # A variance without noise has no correlation with the price either.
        steered = np.where(vol_of_vol > 0, rho / np.where(vol_of_vol > 0, vol_of_vol, 1.0), 0.0)
        own = np.where(vol_of_vol > 0, 1.0 - rho**2, 1.0)
        half = 0.5 * dt * (kappa * steered - 0.5)
        self.k0, self.k1, self.k2 = -steered * kappa * theta * dt, half - steered, half + steered
        self.k3 = 0.5 * dt * own
        self.tilt = self.k2 + 0.5 * self.k3

    def __call__(
        self, regime: np.ndarray, log_price: np.ndarray, variance: np.ndarray, normal: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See :class:`Step`; the variance that comes back is never negative."""
        k1, k2, k3, tilt = (x[regime] for x in (self.k1, self.k2, self.k3, self.tilt))
        mean = self.theta[regime] + (variance - self.theta[regime]) * self.decay[regime]
        psi = (variance * self.spread_of_variance[regime] + self.least_spread[regime]) / mean**2
        quadratic = psi <= PSI_SWITCH
        smooth, smooth_mean = _quadratic(psi, mean, normal[0], tilt)
        heavy, heavy_mean = _exponential(psi, mean, normal[0], tilt)
        after = np.where(psi == 0.0, mean, np.where(quadratic, smooth, heavy))
        log_mean = np.where(psi == 0.0, tilt * mean, np.where(quadratic, smooth_mean, heavy_mean))
        fair = -log_mean - (k1 + 0.5 * k3) * variance
        constant = np.where(np.isfinite(log_mean), fair, self.k0[regime])
        end = (
            log_price
            + self.drift_dt[regime]
            + constant
            + k1 * variance
            + k2 * after
            + np.sqrt(k3 * (variance + after)) * normal[1]
        )
        return end, after, 0.5 * (variance + after) * self.dt


def _quadratic(
    psi: np.ndarray, mean: np.ndarray, normal: np.ndarray, tilt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a (b + Z)^2 and the logarithm of their mean under exp(tilt v), NaN if infinite."""
    ratio = 2.0 / np.where((psi > 0.0) & (psi <= PSI_SWITCH), psi, PSI_SWITCH)
    b_squared = ratio - 1.0 + np.sqrt(ratio) * np.sqrt(ratio - 1.0)
    a = mean / (1.0 + b_squared)
    left = 1.0 - 2.0 * tilt * a
    left = np.where(left > 0.0, left, np.nan)
    log_mean = tilt * b_squared * a / left - 0.5 * np.log(left)
    return a * (np.sqrt(b_squared) + normal) ** 2, log_mean


def _exponential(
    psi: np.ndarray, mean: np.ndarray, normal: np.ndarray, tilt: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws that are zero with probability p, else exponential; the logarithm as above."""
    psi = np.maximum(psi, 1.0)
    zero = (psi - 1.0) / (psi + 1.0)
    beta = (1.0 - zero) / mean
    drawn = np.maximum(np.log((1.0 - zero) / ndtr(-normal)), 0.0) / beta
    gap = np.where(beta > tilt, beta - tilt, np.nan)
    return drawn, np.log(zero + beta * (1.0 - zero) / gap)
