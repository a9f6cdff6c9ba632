"""A Markov chain over regimes."""

from __future__ import annotations

import numba
import numpy as np

from finchaos.core.errors import InputError

_ROUNDING = 1e-9


def checked_transition(rows: tuple[tuple[float, ...], ...], count: int) -> np.ndarray:
    """The transition matrix of a chain, shape (k, k).

    Raises
    ------
    InputError
        If the rows are not ``count`` laws over ``count`` regimes.
    """
    square = len(rows) == count and all(len(row) == count for row in rows)
    matrix = np.array(rows, dtype=np.float64) if square else np.full((1, 1), np.nan)
    within = np.isfinite(matrix).all() and (matrix >= 0).all()
    if not within or np.abs(matrix.sum(axis=1) - 1.0).max() > _ROUNDING:
        raise InputError(
            "impossible transition matrix",
            expected=f"{count} rows of {count} probabilities that add up to 1",
            got=repr(rows),
        )
    return matrix


def stationary_law(transition: np.ndarray) -> np.ndarray:
    """Long-run share of every regime, shape (k,).

    Raises
    ------
    InputError
        If some regime is never reached from another: the shares then depend on the start.

    Examples
    --------
    >>> stationary_law(np.array([[0.9, 0.1], [0.3, 0.7]])).round(2).tolist()
    [0.75, 0.25]
    """
    count = len(transition)
    reached = np.linalg.matrix_power(np.eye(count) + transition, count) > 0
    if not reached.all():
        raise InputError(
            "a chain whose regimes do not all reach each other has no single stationary law",
            remedy="name the initial regime",
        )
    system = np.vstack([transition.T - np.eye(count), np.ones(count)])
    shares = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    return np.clip(shares, 0.0, None) / np.clip(shares, 0.0, None).sum()


def draw_regimes(transition: np.ndarray, first: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Regimes of every bar, shape (bars, paths), int64.

    Parameters
    ----------
    transition : numpy.ndarray, shape (k, k)
    first : numpy.ndarray, shape (paths,)
        Regime of the first bar.
    uniform : numpy.ndarray, shape (bars, paths)
        In [0, 1); the first row is not used.
    """
    regimes = np.empty(uniform.shape, dtype=np.int64)
    regimes[0] = first
    _walk(np.cumsum(transition, axis=1)[:, :-1].copy(), uniform, regimes)
    return regimes


@numba.njit(cache=True)
def _walk(edges: np.ndarray, uniform: np.ndarray, regimes: np.ndarray) -> None:
    for bar in range(1, regimes.shape[0]):
        for path in range(regimes.shape[1]):
            before, after = regimes[bar - 1, path], 0
            for k in range(edges.shape[1]):
                after += uniform[bar, path] >= edges[before, k]
            regimes[bar, path] = after
