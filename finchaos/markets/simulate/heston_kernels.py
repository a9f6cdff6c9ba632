"""Compiled single-precision steps of Heston's model, written so that paths run side by side."""

from __future__ import annotations

import numba
import numpy as np

from finchaos.markets.simulate.float_normals import log32, lower_half, normal32, normal_size

_ZERO, _HALF, _ONE, _TWO = np.float32(0.0), np.float32(0.5), np.float32(1.0), np.float32(2.0)
_SWITCH = np.float32(1.5)
_LEAST_PSI = np.float32(1e-10)
"""Keeps the quadratic form finite where the variance has no noise: relative noise of 1e-5."""
_LEAST_GAP = np.float32(1e-6)
"""Keeps what is computed and then discarded finite, where a correction does not exist."""
_SIGN = np.uint32(31)


@numba.njit(cache=True, error_model="numpy")
def euler_step(
    bits: np.ndarray, law: np.ndarray, dt: np.float32, moved: np.ndarray, variance: np.ndarray
) -> None:
    """Full truncation, in place.

    Parameters
    ----------
    bits : numpy.ndarray, shape (2, p), uint32
        The first row moves the variance.
    law : numpy.ndarray, shape (6, p), float32
        kappa dt, theta, vol of vol, rho, sqrt(1 - rho^2), drift dt of every path.
    dt : float
        Years, float32.
    moved, variance : numpy.ndarray, shape (p,), float32
        Log price since the start, and variance, negative where Euler's scheme took it there.
    """
    half_dt = _HALF * dt
    for i in range(moved.shape[0]):
        first, second = normal32(bits[0, i]), normal32(bits[1, i])
        held = max(variance[i], _ZERO)
        vol = np.sqrt(held * dt)
        shock = law[3, i] * first + law[4, i] * second
        moved[i] += law[5, i] - half_dt * held + vol * shock
        variance[i] += law[0, i] * (law[1, i] - held) + law[2, i] * vol * first


@numba.njit(cache=True, error_model="numpy")
def quadratic_step(
    bits: np.ndarray, law: np.ndarray, dt: np.float32, moved: np.ndarray, variance: np.ndarray
) -> None:
    """The quadratic-exponential scheme, in place; parameters as in :func:`euler_step`.

    The rows of ``law`` are those of ``finchaos.markets.simulate.heston_closes.QUADRATIC_LAW``.
    Both forms are computed for every path and one is kept, by weights where a choice would become
    a branch that holds the other paths up. The
    price is written around the change D of the variance against its mean, so that nothing of
    first order cancels in single precision.
    """
    for i in range(moved.shape[0]):
        p = lower_half(bits[0, i])
        low = bits[0, i] >> _SIGN
        size = normal_size(p)
        z = -size if low else size
        upper = _ONE - p if low else p
        theta, k2, k3, tilt = law[0, i], law[7, i], law[8, i], law[9, i]
        v = variance[i]
        mean = theta + (v - theta) * law[1, i]
        psi = max((v * law[2, i] + law[3, i]) / (mean * mean), _LEAST_PSI)
        # Quadratic form.
        ratio = _TWO / min(psi, _SWITCH)
        b_squared = ratio - _ONE + np.sqrt(ratio) * np.sqrt(ratio - _ONE)
        a = mean / (_ONE + b_squared)
        smooth = a * (_TWO * np.sqrt(b_squared) * z + z * z - _ONE)
        pull = _TWO * tilt * a
        left = _ONE - pull
        smooth_extra = _HALF * pull * (b_squared * pull / max(left, _LEAST_GAP) - _ONE)
        smooth_extra -= _HALF * log32(np.float32(max(left, _LEAST_GAP)))
        # Exponential form.
        heavy_psi = max(psi, _ONE)
        zero = (heavy_psi - _ONE) / (heavy_psi + _ONE)
        beta = (_ONE - zero) / mean
        heavy = max(log32((_ONE - zero) / upper), _ZERO) / beta - mean
        gap = beta - tilt
        heavy_extra = log32(zero + beta * (_ONE - zero) / max(gap, _LEAST_GAP)) - tilt * mean
        quadratic = psi <= _SWITCH
        change = smooth if quadratic else heavy
        extra = smooth_extra if quadratic else heavy_extra
        exists = _ONE if (left if quadratic else gap) > _ZERO else _ZERO
        after = max(mean + change, _ZERO)
        fair = k2 * change - _HALF * k3 * (mean + v) - extra
        plain = law[5, i] + law[6, i] * v + k2 * after
        root = np.sqrt(k3 * (v + after))
        step = exists * fair + (_ONE - exists) * plain
        moved[i] += law[4, i] + step + root * normal32(bits[1, i])
        variance[i] = after
