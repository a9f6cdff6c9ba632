"""What a feature is made of: the moves of bars, and a formula that turns them into numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from finchaos.core.bars import PRICE_FIELDS
from finchaos.core.errors import DataError

PRIOR_VOLATILITY = 0.01
"""Volatility of a bar before anything is known; counts as one observation."""
VOLATILITY_FLOOR = 1e-5
"""Volatilities per bar below this are taken for it, so that logarithms stay finite."""


@dataclass(frozen=True, eq=False)
class Moves:
    """Scale-free moves of n paths over t bars; every array has shape (t, n).

    Attributes
    ----------
    log_return : numpy.ndarray
        Close to close. The first bar ever seen counts from its own open.
    log_range : numpy.ndarray
        High over low.
    log_body : numpy.ndarray
        Close over open.
    """

    log_return: np.ndarray
    log_range: np.ndarray
    log_body: np.ndarray


class Recursion(Protocol):
    """A formula at work: it remembers what it needs of the past."""

    def advance(self, moves: Moves) -> np.ndarray:
        """Feature values for the next rows, shape (t, n)."""
        ...


class Formula(Protocol):
    """A frozen dataclass whose fields are the parameters that a schema sets."""

    version: ClassVar[int]
    """Raised when the numbers would change for the same bars."""
    needs_range: ClassVar[bool]
    """Whether highs and lows matter."""
    bounded: ClassVar[bool]
    """Whether values are bounded by construction and need no robust scaling."""

    @property
    def lookback(self) -> int:
        """Bars after which what came before weighs little."""
        ...

    def open(self, paths: int) -> Recursion:
        """Start on ``paths`` paths that have seen nothing."""
        ...


HALF_LIVES_OF_MEMORY = 4
"""An exponential memory's look-back: after 4 half-lives a sixteenth of the weight is older."""


def memory(half_life: float) -> int:
    """Look-back in bars of an exponential memory."""
    return int(np.ceil(HALF_LIVES_OF_MEMORY * half_life))


def checked_half_life(half_life: float) -> None:
    """Refuse what is not a half-life.

    Raises
    ------
    DataError
    """
    if not (np.isfinite(half_life) and half_life > 0):
        raise DataError("a half-life must be positive", got=repr(half_life))


def log_volatility(variance: np.ndarray) -> np.ndarray:
    """Half the logarithm of a variance, floored."""
    return 0.5 * np.log(np.maximum(variance, VOLATILITY_FLOOR**2))


def price_rows(arrays: Mapping[str, np.ndarray], needs_range: bool) -> dict[str, np.ndarray]:
    """Prices of ``arrays``, shape (..., t), as contiguous (t, n), checked.

    Where no range is needed the close stands for all four, so that features of closes are the
    same whether or not the rest is known.

    Raises
    ------
    DataError
        If a field is missing or shaped differently, or a price is not finite and positive.
    """
    needed = PRICE_FIELDS if needs_range else ("close",)
    missing = [name for name in needed if name not in arrays]
    if missing:
        raise DataError(
            "prices are missing",
            expected=", ".join(needed),
            got=", ".join(sorted(arrays)) or "none",
        )
    shape = np.shape(arrays["close"])
    rows: dict[str, np.ndarray] = {}
    for name in PRICE_FIELDS:
        values = np.asarray(arrays[name if needs_range else "close"], dtype=np.float64)
        if values.shape != shape or not shape:
            raise DataError(
                f"{name} has the wrong shape", expected=str(shape), got=str(values.shape)
            )
        if not ((values > 0) & (values < np.inf)).all():
            bad = values[~((values > 0) & (values < np.inf))]
            raise DataError(
                f"{name} has {bad.size} unusable values",
                expected="finite positive prices",
                got=repr(float(bad[0])),
                remedy="repair the bars, or let a kill switch act on them",
            )
        rows[name] = np.ascontiguousarray(values.reshape(int(np.prod(shape[:-1])), shape[-1]).T)
    return rows
