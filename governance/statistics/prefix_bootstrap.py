"""Block bootstrap of statistics that are functions of sums, such as a Sharpe ratio.

The sum over a block is a difference of two prefix sums, so that a draw costs as many steps as it
has blocks, not as it has rows; no resampled series is ever written down. The draws are those of
the stationary bootstrap, the same in law as :class:`governance.statistics.resampling.Bootstrap`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import DataError, InputError
from governance.record import Interval
from governance.statistics.resampling import percentile_interval

# Draws at a time: bounds the memory, whatever their number.
_CHUNK_BLOCKS = 2_000_000
Sums = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class SumBootstrap:
    """How draws are made.

    Attributes
    ----------
    block : float
        Mean length of the blocks, which is geometric, in rows.
    draws : int
    level : float
        Confidence level.
    """

    block: float
    draws: int = 1000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not (self.block >= 1.0 and self.draws >= 1 and 0.0 < self.level < 1.0):
            raise InputError(
                "cannot resample",
                expected="a block of 1 row or more, a draw, a level between 0 and 1",
                got=repr(self),
            )

    @property
    def method(self) -> str:
        """What the report prints beside an interval."""
        return (
            f"stationary block bootstrap by prefix sums, percentile, mean block {self.block:g} "
            f"bars, {self.draws} draws"
        )

    def sums(self, columns: Mapping[str, np.ndarray], rng: np.random.Generator) -> Sums:
        """Sum of every column over each resampled series, shape (draws,), on the same draws.

        Parameters
        ----------
        columns : mapping of name to numpy.ndarray, shape (n,)
            Finite. Sums are exact to rounding where a column's mean is small beside its spread:
            take the mean off first.
        rng : numpy.random.Generator

        Raises
        ------
        DataError
            If columns are empty, of several lengths, or not finite.
        """
        lengths = {np.shape(values) for values in columns.values()}
        if len(lengths) != 1 or len(next(iter(lengths))) != 1 or 0 in next(iter(lengths)):
            raise DataError("paired columns must have one length", got=str(sorted(lengths)))
        rows = np.stack([np.asarray(values, dtype=np.float64) for values in columns.values()])
        if not np.isfinite(rows).all():
            raise DataError("sums need finite values")
        n = rows.shape[1]
        # Twice around the circle: a block may begin at the last row and be as long as the series.
        prefix = np.zeros((2 * n + 1, len(rows)))
        np.cumsum(np.concatenate([rows, rows], axis=1).T, axis=0, out=prefix[1:])
        blocks = self._most_blocks(n)
        chunk = max(1, _CHUNK_BLOCKS // blocks)
        found = [
            self._chunk(prefix, n, min(chunk, self.draws - first), blocks, rng)
            for first in range(0, self.draws, chunk)
        ]
        return dict(zip(columns, np.concatenate(found).T, strict=True))

    def interval(
        self,
        statistic: Callable[[Sums], np.ndarray],
        columns: Mapping[str, np.ndarray],
        rng: np.random.Generator,
    ) -> Interval | None:
        """Percentile interval of a function of sums; None as for ``percentile_interval``."""
        values = np.asarray(statistic(self.sums(columns, rng)), dtype=np.float64)
        return percentile_interval(values, self.level, self.method)

    def _most_blocks(self, n: int) -> int:
        """Blocks after which hardly any draw is short; those that are get more."""
        mean = n / self.block
        return int(np.ceil(mean + 6.0 * np.sqrt(mean) + 8.0))

    def _chunk(
        self, prefix: np.ndarray, n: int, draws: int, blocks: int, rng: np.random.Generator
    ) -> np.ndarray:
        starts, lengths = self.blocks(n, draws, blocks, rng)
        return np.asarray((prefix[starts + lengths] - prefix[starts]).sum(axis=1))

    def blocks(
        self, n: int, draws: int, blocks: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """First rows and lengths of the blocks of each draw, both of shape (draws, k).

        Lengths of a draw add up to n: the block that passes the end is cut, those after are 0.
        """
        ends = np.cumsum(rng.geometric(1.0 / self.block, size=(draws, blocks)), axis=1)
        while int(ends[:, -1].min()) < n:
            more = np.cumsum(rng.geometric(1.0 / self.block, size=(draws, blocks)), axis=1)
            ends = np.concatenate([ends, ends[:, -1:] + more], axis=1)
        np.minimum(ends, n, out=ends)
        lengths = np.diff(ends, axis=1, prepend=0)
        return rng.integers(0, n, size=lengths.shape), lengths


def sharpe_interval(
    returns: np.ndarray, bootstrap: SumBootstrap, rng: np.random.Generator, *, bars_per_year: float
) -> Interval | None:
    """Interval of an annual Sharpe ratio, standard deviation with n - 1.

    Parameters
    ----------
    returns : numpy.ndarray, shape (n,)
        Of a period.
    bootstrap : SumBootstrap
    rng : numpy.random.Generator
    bars_per_year : float

    Raises
    ------
    DataError
        If there are fewer than two returns or they are not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise DataError("a Sharpe ratio needs two returns", got=str(values.shape))
    n, mean = len(values), float(values.mean())
    away = values - mean  # so that squares do not cancel

    def ratio(sums: Sums) -> np.ndarray:
        first, second = sums["r"] / n, sums["rr"] / n
        variance = np.maximum(second - first**2, 0.0) * n / (n - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: np.ndarray = (mean + first) / np.sqrt(variance) * np.sqrt(bars_per_year)
        return found

    return bootstrap.interval(ratio, {"r": away, "rr": away**2}, rng)
