"""What a feature is made of: the moves of bars, and a formula that turns them into numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from finchaos.core.bars import PRICE_FIELDS
from finchaos.core.errors import DataError

PRIOR_VOLATILITY = 0.01
"""Volatility of a bar before anything is known; counts as one observation."""
VOLATILITY_FLOOR = 1e-5
"""Volatilities per bar below this are taken for it, so that logarithms stay finite."""


def _nothing() -> np.ndarray:
    return np.empty((0, 0))


@dataclass(frozen=True, eq=False)
class Moves:
    """Moves of n paths over t bars, and the bars themselves; every array has shape (t, n).

    The first three are scale-free. The rest is for formulas that need prices or volume, and empty
    where moves are made by hand without it.

    Attributes
    ----------
    log_return : numpy.ndarray
        Close to close. The first bar ever seen counts from its own open.
    log_range : numpy.ndarray
        High over low.
    log_body : numpy.ndarray
        Close over open.
    open, high, low, close : numpy.ndarray
        Prices; the close for all four where no feature needs the range.
    previous_close : numpy.ndarray
        The close of the bar before; on the first bar ever seen its own open.
    volume : numpy.ndarray
        Empty unless a feature needs it.
    """

    log_return: np.ndarray
    log_range: np.ndarray
    log_body: np.ndarray
    open: np.ndarray = field(default_factory=_nothing)
    high: np.ndarray = field(default_factory=_nothing)
    low: np.ndarray = field(default_factory=_nothing)
    close: np.ndarray = field(default_factory=_nothing)
    previous_close: np.ndarray = field(default_factory=_nothing)
    volume: np.ndarray = field(default_factory=_nothing)


class Recursion(Protocol):
    """A formula at work: it remembers what it needs of the past."""

    def advance(self, moves: Moves) -> np.ndarray:
        """Feature values for the next rows, shape (t, n)."""
        ...


class Formula(Protocol):
    """A frozen dataclass whose fields are the parameters that a schema sets.

    A formula that reads volume says so by a class variable ``needs_volume = True``.
    """

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


@runtime_checkable
class Fittable(Protocol):
    """A formula with constants that are measured on a training window."""

    def fit(self, moves: Moves) -> dict[str, float]:
        """Values of those of its fields that training moves determine."""
        ...


def needs_volume(formula: Formula) -> bool:
    """Whether a formula reads the volume."""
    return bool(getattr(formula, "needs_volume", False))


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


def whole(name: str, value: float, least: int = 1, most: float = np.inf) -> int:
    """A parameter that counts something, as an integer.

    Raises
    ------
    DataError
        If it is not a whole number, or outside ``least`` to ``most``.
    """
    if not (least <= value <= most and float(value).is_integer()):
        upper = f" and at most {most:g}" if np.isfinite(most) else ""
        raise DataError(
            f"{name} must be a whole number", expected=f"at least {least}{upper}", got=repr(value)
        )
    return int(value)


def checked_number(name: str, value: float, low: float, high: float) -> None:
    """Refuse a parameter outside ``low <= value <= high``.

    Raises
    ------
    DataError
    """
    if not low <= value <= high:
        raise DataError(f"{name} is out of range", expected=f"{low} to {high}", got=repr(value))


def log_volatility(variance: np.ndarray) -> np.ndarray:
    """Half the logarithm of a variance, floored."""
    return 0.5 * np.log(np.maximum(variance, VOLATILITY_FLOOR**2))


def price_rows(arrays: Mapping[str, np.ndarray], needs_range: bool) -> dict[str, np.ndarray]:
    """Prices of ``arrays``, shape (..., t), as contiguous writable (t, n), checked.

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
    rows = {}
    for name in needed:
        values = _shaped(name, arrays[name], shape)
        usable = (values > 0) & (values < np.inf)
        if not usable.all():
            raise unusable_price(name, int(np.sum(~usable)), float(values[~usable][0]))
        rows[name] = _time_first(values)
    return rows if needs_range else dict.fromkeys(PRICE_FIELDS, rows["close"])


def unusable_price(name: str, count: int, first: float) -> DataError:
    """The error of prices that are not finite and positive."""
    return DataError(
        f"{name} has {count} unusable values",
        expected="finite positive prices",
        got=repr(first),
        remedy="repair the bars, or let a kill switch act on them",
    )


def volume_rows(arrays: Mapping[str, np.ndarray], features: str) -> np.ndarray:
    """Volume of ``arrays``, shape (..., t), as contiguous writable (t, n), checked.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
    features : str
        The features that need it, for messages.

    Raises
    ------
    DataError
        If it is missing, shaped differently, or not finite and non-negative.
    """
    if "volume" not in arrays:
        raise no_volume(features, ", ".join(sorted(arrays)))
    values = _shaped("volume", arrays["volume"], np.shape(arrays["close"]))
    usable = (values >= 0) & (values < np.inf)
    if not usable.all():
        raise DataError(
            f"volume has {np.sum(~usable)} unusable values, and {features} need it",
            expected="finite non-negative volume",
            got=repr(float(values[~usable][0])),
            remedy="repair the bars, or use a schema without features of volume",
        )
    return _time_first(values)


def no_volume(features: str, got: str) -> DataError:
    """The error that says which features need the volume that bars lack."""
    return DataError(
        f"the bars have no volume, and {features} need it",
        expected="traded volume per bar",
        got=got,
        remedy="load bars with volume, or use a schema without features of volume",
    )


def _shaped(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != shape or not shape:
        raise DataError(f"{name} has the wrong shape", expected=str(shape), got=str(values.shape))
    return values


def _time_first(values: np.ndarray) -> np.ndarray:
    # Writable, as a compiled loop would be compiled once more for arrays that are not.
    shape = values.shape
    rows = values.reshape(int(np.prod(shape[:-1], dtype=np.int64)), shape[-1]).T
    return np.require(rows, requirements=["C", "W"])
