"""Fractional noise and chaotic maps for the tests of scaling and chaos."""

from __future__ import annotations

import numpy as np

from finchaos.features.formula import Formula, Moves


def fractional_noise(hurst: float, count: int, paths: int, rng: np.random.Generator) -> np.ndarray:
    """Exact fractional Gaussian noise of unit variance, shape (count, paths).

    Davies and Harte (1987), Biometrika 74(1): the covariance is embedded in a circulant matrix.
    """
    k = np.arange(count + 1.0)
    power = 2.0 * hurst
    covariance = 0.5 * ((k + 1.0) ** power - 2.0 * k**power + np.abs(k - 1.0) ** power)
    eigenvalues = np.fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    assert eigenvalues.min() > -1e-9
    size = len(eigenvalues)
    noise = rng.standard_normal((2, paths, size))
    waves = np.sqrt(np.maximum(eigenvalues, 0.0) / size) * (noise[0] + 1j * noise[1])
    return np.ascontiguousarray(np.fft.fft(waves, axis=1).real[:, :count].T)


def moves_of(returns: np.ndarray) -> Moves:
    """Moves with these log returns, shape (t,) or (t, n), and no range."""
    rows = returns if returns.ndim == 2 else returns[:, None]
    return Moves(rows, np.zeros_like(rows), rows)


def values_of(formula: Formula, returns: np.ndarray) -> np.ndarray:
    """What a formula makes of log returns, from the first bar; the shape of ``returns``."""
    moves = moves_of(returns)
    return formula.open(moves.log_return.shape[1]).advance(moves).reshape(returns.shape)


def logistic(count: int) -> np.ndarray:
    """The logistic map at r = 4."""
    x = np.empty(count)
    x[0] = 0.3
    for i in range(1, count):
        x[i] = 4.0 * x[i - 1] * (1.0 - x[i - 1])
    return x


def henon(count: int) -> np.ndarray:
    """First coordinate of Henon's map at 1.4, 0.3, on the attractor."""
    x = np.full(count + 100, 0.1)
    for i in range(2, len(x)):
        x[i] = 1.0 - 1.4 * x[i - 1] ** 2 + 0.3 * x[i - 2]
    return x[100:]


def lorenz(count: int, step: float) -> np.ndarray:
    """First coordinate of Lorenz's flow at 10, 28, 8/3, by Runge-Kutta, on the attractor."""

    def flow(x: float, y: float, z: float) -> tuple[float, float, float]:
        return 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z

    state, path = (1.0, 1.0, 20.0), np.empty(count + 1000)
    for i in range(len(path)):
        a = flow(*state)
        b = flow(*(s + 0.5 * step * v for s, v in zip(state, a, strict=True)))
        c = flow(*(s + 0.5 * step * v for s, v in zip(state, b, strict=True)))
        d = flow(*(s + step * v for s, v in zip(state, c, strict=True)))
        state = tuple(
            s + step / 6.0 * (p + 2.0 * q + 2.0 * r + w)
            for s, p, q, r, w in zip(state, a, b, c, d, strict=True)
        )
        path[i] = state[0]
    return path[1000:]
