"""Where a result lies among those of windows in which the event did not happen."""

from __future__ import annotations

import numpy as np
from scipy.stats import beta

from finchaos.core.errors import InputError
from governance.record import Interval
from governance.statistics.resampling import resampled_rows


def percentile_among(value: float, placebos: np.ndarray) -> float:
    """Share of placebos below ``value``, those equal to it counting half.

    Examples
    --------
    >>> percentile_among(2.0, np.array([1.0, 2.0, 3.0, 4.0]))
    0.375
    """
    others = np.asarray(placebos, dtype=np.float64)
    if not len(others) or not np.isfinite(others).all() or not np.isfinite(value):
        raise InputError("a percentile needs finite placebos", got=f"{value} among {len(others)}")
    return float(np.mean(others < value) + 0.5 * np.mean(others == value))


def percentile_interval(share: float, independent: float, *, level: float = 0.95) -> Interval:
    """Interval of a percentile found among as many independent placebos as ``independent``.

    Clopper and Pearson's limits as quantiles of beta laws, which exist for counts that are not
    whole: windows that overlap say as much as fewer that do not.

    Parameters
    ----------
    share : float
        The percentile, in [0, 1].
    independent : float
        Effective number of placebos, at least 1.

    References
    ----------
    Clopper and Pearson, Biometrika 26 (1934).

    Examples
    --------
    >>> round(percentile_interval(0.0, 100).high, 6) == round(1 - 0.025 ** (1 / 100), 6)
    True
    """
    if not 0.0 <= share <= 1.0 or not independent >= 1.0:
        raise InputError(
            "no such percentile",
            expected="a share in [0, 1] and at least one placebo",
            got=f"{share} of {independent}",
        )
    tail, count = 0.5 * (1.0 - level), share * independent
    low = 0.0 if count <= 0.0 else float(beta.ppf(tail, count, independent - count + 1.0))
    rest = independent - count
    high = 1.0 if rest <= 0.0 else float(beta.ppf(1.0 - tail, count + 1.0, rest))
    return Interval(
        low=low,
        high=high,
        level=level,
        method=f"Clopper-Pearson for {independent:.4g} independent windows",
    )


def side_by_side(allowed: np.ndarray, length: int) -> int:
    """How many windows of ``length`` rows fit beside each other into runs of allowed rows.

    Parameters
    ----------
    allowed : numpy.ndarray, shape (t,), bool
    length : int

    Examples
    --------
    >>> side_by_side(np.array([1, 1, 1, 1, 0, 1, 1, 1], dtype=bool), 2)
    3
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], allowed.astype(np.int8), [0]])))
    return int(((edges[1::2] - edges[::2]) // length).sum())


def window_starts(
    allowed: np.ndarray, length: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """First rows of ``count`` windows that lie wholly in allowed rows, ascending, shape (count,).

    Drawn with equal probability and with replacement.

    Raises
    ------
    InputError
        If no window fits.
    """
    inside = np.concatenate([[0], np.cumsum(allowed)])
    fits = np.flatnonzero(inside[length:] - inside[: len(inside) - length] == length)
    if not len(fits):
        raise InputError("no window fits", expected=f"{length} allowed rows in a row")
    return np.sort(rng.choice(fits, count))


def block_paths(
    returns: np.ndarray, length: int, block: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Paths of returns shuffled in blocks, shape (count, length).

    Parameters
    ----------
    returns : numpy.ndarray, shape (n,)
    length : int
        Of every path, which may be longer than the returns.
    block : int
        Mean length of the stationary bootstrap's blocks, at most n.

    References
    ----------
    Politis & Romano, The stationary bootstrap, JASA 89 (1994).
    """
    n = len(returns)
    parts = [resampled_rows(rng, n, block, count) for _ in range(-(-length // max(n, 1)))]
    return np.asarray(returns)[np.concatenate(parts, axis=1)[:, :length]]
