"""Intervals for statistics of dependent series: block bootstrap, single and paired.

Blocks keep the dependence inside them, so that intervals stay honest where volatility clusters.
Several columns resampled by the same rows stay paired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finchaos.core.errors import InputError
from governance.record import Interval

Scheme = Literal["stationary", "circular"]
Columns = Mapping[str, np.ndarray]
Statistic = Callable[[Columns], np.ndarray]
"""From columns of shape (draws, n) to one value per draw, shape (draws,)."""

# Rows gathered at a time: keeps a chunk of all columns within the processor's cache and
# memory use independent of the number of draws.
_CHUNK_ROWS = 400_000
# Draws in which a statistic may be undefined before its interval is withheld.
_UNDEFINED_SHARE = 0.01


def block_length(*series: np.ndarray) -> int:
    """Automatic block length: the largest over the series and their squares.

    Squares count because risk ratios depend on volatility, whose memory is the longer one. Never
    more than a quarter of the series; a constant series asks for 1.

    References
    ----------
    Politis & White, Automatic block-length selection for the dependent bootstrap, Econometric
    Reviews 23 (2004); corrected by Patton, Politis & White, Econometric Reviews 28 (2009).
    Computed by the package ``arch``.
    """
    from arch.bootstrap import optimal_block_length

    wanted, n = 1.0, min((len(values) for values in series), default=0)
    if n < 1:
        raise InputError("a block length needs at least one observation")
    for values in series:
        for power in (1, 2):
            column = np.asarray(values, dtype=np.float64) ** power
            if n >= 8 and np.ptp(column) > 0.0:
                found = float(optimal_block_length(column)["stationary"].iloc[0])
                wanted = max(wanted, found) if np.isfinite(found) else wanted
    return int(np.clip(np.ceil(wanted), 1, max(n // 4, 1)))


def resampled_rows(
    rng: np.random.Generator, n: int, block: int, draws: int, scheme: Scheme = "stationary"
) -> np.ndarray:
    """Row numbers of ``draws`` resampled series, shape (draws, n), int64.

    Parameters
    ----------
    rng : numpy.random.Generator
    n : int
        Length of the series.
    block : int
        Mean block length (``stationary``: geometric lengths) or the length (``circular``).
    draws : int
    scheme : {"stationary", "circular"}

    References
    ----------
    Politis & Romano, The stationary bootstrap, JASA 89 (1994); Politis & Romano, A circular
    block-resampling procedure for stationary data (1992).
    """
    if n < 1 or draws < 1 or not 1 <= block <= n:
        raise InputError(
            "cannot resample",
            expected="at least one row and draw, and a block between 1 and the length",
            got=f"{n} rows, {draws} draws, block {block}",
        )
    step = np.arange(n)
    if scheme == "circular":
        blocks = -(-n // block)
        starts = rng.integers(0, n, size=(draws, blocks))
        rows = starts[:, :, None] + np.arange(block)
        return rows.reshape(draws, -1)[:, :n] % n
    fresh = rng.random((draws, n)) < 1.0 / block
    fresh[:, 0] = True
    starts = rng.integers(0, n, size=(draws, n))
    last = np.maximum.accumulate(np.where(fresh, step, 0), axis=1)
    return (np.take_along_axis(starts, last, axis=1) + step - last) % n


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes
    ----------
    block : int
        Mean block length in bars.
    draws : int
        Resampled series.
    level : float
        Confidence level.
    scheme : {"stationary", "circular"}
    """

    block: int
    draws: int = 1000
    level: float = 0.95
    scheme: Scheme = "stationary"

    @property
    def method(self) -> str:
        """What the report prints beside an interval."""
        return (
            f"{self.scheme} block bootstrap, percentile, mean block {self.block} bars, "
            f"{self.draws} draws"
        )

    def distribution(
        self, statistics: Mapping[str, Statistic], columns: Columns, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Resampled values of every statistic, each of shape (draws,), on the same draws.

        Parameters
        ----------
        statistics : mapping of name to function
            Each takes the columns resampled, shape (b, n), and returns shape (b,).
        columns : mapping of name to numpy.ndarray, shape (n,)
            Series resampled by the same rows: differences between them stay paired.
        rng : numpy.random.Generator
        """
        lengths = {len(values) for values in columns.values()}
        if len(lengths) != 1:
            raise InputError("paired columns must have one length", got=str(sorted(lengths)))
        n = lengths.pop()
        chunk = max(1, _CHUNK_ROWS // n)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in statistics}
        for first in range(0, self.draws, chunk):
            count = min(chunk, self.draws - first)
            rows = resampled_rows(rng, n, min(self.block, n), count, self.scheme)
            drawn = {name: np.asarray(values)[rows] for name, values in columns.items()}
            for name, statistic in statistics.items():
                parts[name].append(np.asarray(statistic(drawn), dtype=np.float64))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def intervals(
        self, statistics: Mapping[str, Statistic], columns: Columns, rng: np.random.Generator
    ) -> dict[str, Interval | None]:
        """Percentile interval of every statistic; None as for :func:`percentile_interval`."""
        drawn = self.distribution(statistics, columns, rng)
        return {
            name: percentile_interval(values, self.level, self.method)
            for name, values in drawn.items()
        }


def percentile_interval(values: np.ndarray, level: float, method: str) -> Interval | None:
    """The central ``level`` of resampled values.

    None if more than one in a hundred is not finite, or if all are the same: a sample in which
    nothing varies says nothing about its own error.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < (1.0 - _UNDEFINED_SHARE) * len(values) or not len(finite):
        return None
    if finite.max() == finite.min():
        return None
    low, high = np.quantile(finite, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(low=float(low), high=float(high), level=level, method=method)
