"""The loops behind :mod:`finchaos.regimes.online`: each bar needs what the one before has left."""

from __future__ import annotations

import numpy as np
from numba import njit

State = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Shares (c,), means (c, w) and covariances without their floor (c, w, w), changed in place."""


@njit(cache=True)
def _factor(spread: np.ndarray, floor: float, lower: np.ndarray) -> float:
    """Cholesky factor of a covariance plus its floor; returns half the log determinant."""
    half = 0.0
    w = len(spread)
    for i in range(w):
        for j in range(i + 1):
            total = spread[i, j]
            if i == j:
                total += floor
            for m in range(j):
                total -= lower[i, m] * lower[j, m]
            if i == j:
                lower[i, i] = np.sqrt(max(total, 0.5 * floor))
                half += np.log(lower[i, i])
            else:
                lower[i, j] = total / lower[j, j]
    return half


@njit(cache=True)
def _square(away: np.ndarray, lower: np.ndarray, solved: np.ndarray) -> float:
    """Squared Mahalanobis length, by forward substitution."""
    total = 0.0
    for i in range(len(away)):
        value = away[i]
        for m in range(i):
            value -= lower[i, m] * solved[m]
        solved[i] = value / lower[i, i]
        total += solved[i] * solved[i]
    return total


@njit(cache=True)
def separations(mean: np.ndarray, spread: np.ndarray, floor: float) -> np.ndarray:
    """Bhattacharyya distances between Gaussians, shape (c, c).

    Parameters
    ----------
    mean : numpy.ndarray, shape (c, w)
    spread : numpy.ndarray, shape (c, w, w)
    floor : float
        Added to the diagonals.

    References
    ----------
    Kailath, The Divergence and Bhattacharyya Distance Measures in Signal Selection, IEEE
    Transactions on Communication Technology 15(1), 1967, equation 61.
    """
    c, w = mean.shape
    found = np.zeros((c, c))
    lower, solved = np.zeros((w, w)), np.empty(w)
    halves = np.empty(c)
    for k in range(c):
        halves[k] = _factor(spread[k], floor, lower)
    for one in range(c):
        for two in range(one):
            joint = _factor(0.5 * (spread[one] + spread[two]), floor, lower)
            square = _square(mean[one] - mean[two], lower, solved)
            distance = square / 8.0 + joint - 0.5 * (halves[one] + halves[two])
            found[one, two] = distance
            found[two, one] = distance
    return found


@njit(cache=True)
def _shares(scores: np.ndarray, temperature: float, out: np.ndarray) -> None:
    """Tempered exponentials of scores over their sum."""
    top = scores.max() / temperature
    total = 0.0
    for k in range(len(scores)):
        out[k] = np.exp(scores[k] / temperature - top)
        total += out[k]
    for k in range(len(scores)):
        out[k] /= total


@njit(cache=True)
def _moved(
    x: np.ndarray, share: np.ndarray, constants: np.ndarray, state: State, after: State
) -> None:
    """The state after a row that the regimes take in these shares, written to ``after``."""
    decay, beta, form = constants[1], constants[2], int(constants[3])
    least = constants[7]
    weight, mean, spread = state
    for k in range(len(weight)):
        rate = -np.expm1(-share[k] * decay)
        # Drawn towards the least weight instead of nought; the shares still sum to one.
        target = least + (1.0 - len(weight) * least) * share[k]
        after[0][k] = weight[k] + beta * (target - weight[k])
        for i in range(len(x)):
            after[1][k, i] = mean[k, i] + rate * (x[i] - mean[k, i])
            for j in range(len(x)):
                value = spread[k, i, j]
                if form == 2 or (form == 1 and i == j):
                    product = (x[i] - mean[k, i]) * (x[j] - mean[k, j])
                    value = (1.0 - rate) * (value + rate * product)
                after[2][k, i, j] = value


@njit(cache=True)
def _collapsed(start: np.ndarray, now: np.ndarray, least: float) -> bool:
    for one in range(len(start)):
        for two in range(one):
            if not now[one, two] >= least * start[one, two]:
                return True
    return False


@njit(cache=True)
def walk(
    rows: np.ndarray,
    center: np.ndarray,
    whitening: np.ndarray,
    constants: np.ndarray,
    start: np.ndarray,
    state: State,
    out: np.ndarray,
) -> int:
    """Judge and take rows in order until one makes two regimes one; returns how many were taken.

    Parameters
    ----------
    rows : numpy.ndarray, shape (t, k)
    center, whitening : numpy.ndarray, shapes (k,) and (k, w)
    constants : numpy.ndarray, shape (8,)
        Temperature, decay of a centre per bar (log), rate of the shares, form (0 K-Means,
        1 diagonal, 2 full), squared reach, least separation, floor of covariances,
        least weight.
    start : numpy.ndarray, shape (c, c)
        Separations at the start.
    state : tuple of numpy.ndarray
        Changed in place.
    out : numpy.ndarray, shape (t, c)
        Receives the probabilities.
    """
    weight, mean, spread = state
    c, w = mean.shape
    after = (weight.copy(), mean.copy(), spread.copy())
    lower, solved = np.zeros((w, w)), np.empty(w)
    scores, share = np.empty(c), np.empty(c)
    for t in range(len(rows)):
        x = np.zeros(w)
        for i in range(len(center)):
            away = rows[t, i] - center[i]
            for j in range(w):
                x[j] += away * whitening[i, j]
        nearest = np.inf
        for k in range(c):
            half = _factor(spread[k], constants[6], lower)
            square = _square(x - mean[k], lower, solved)
            nearest = min(nearest, square)
            scores[k] = np.log(weight[k]) - half - 0.5 * square
        _shares(scores, constants[0], out[t])
        if nearest > constants[4]:
            continue
        if constants[3] == 0.0:
            share[:] = 0.0
            share[scores.argmax()] = 1.0
        else:
            _shares(scores, 1.0, share)
        _moved(x, share, constants, state, after)
        if _collapsed(start, separations(after[1], after[2], constants[6]), constants[5]):
            return t
        weight[:], mean[:], spread[:] = after
    return len(rows)
