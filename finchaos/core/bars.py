"""Bars: market observations, the one input of every model and every check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError
from finchaos.core.provenance import array_digest, digest

PRICE_FIELDS = ("open", "high", "low", "close")
BAR_FIELDS = (*PRICE_FIELDS, "volume")
SECONDS_PER_DAY = 86_400

BarsKind = Literal["real", "simulated", "replay", "reconstructed"]


@dataclass(frozen=True)
class Provenance:
    """Where bars come from.

    Attributes
    ----------
    source : str
        Package, file or simulator, with its version where it has one.
    kind : {"real", "simulated", "replay", "reconstructed"}
        ``replay`` applies recorded returns at another level or after other bars;
        ``reconstructed`` interpolates between documented facts.
    licence : str
        Licence or terms stated by the source; empty if unknown.
    seed : int or None
        Root seed where randomness was used.
    notes : tuple of str
        Repairs, assumptions and caveats that a reader of the report must see.
    """

    source: str
    kind: BarsKind = "real"
    licence: str = ""
    seed: int | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The record as a JSON object."""
        return {
            "source": self.source,
            "kind": self.kind,
            "licence": self.licence,
            "seed": self.seed,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Bar:
    """One bar as a live feed delivers it, stamped at its close.

    Deliberately unchecked: faults of a feed must be able to reach a kill switch.
    """

    ts: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float


def _read_only(values: Any) -> np.ndarray:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Bars:
    """Open, high, low, close and volume on a strictly increasing UTC index.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
        Close time of each bar, UTC, strictly increasing.
    open, high, low, close : numpy.ndarray, shape (t,), float64
        Prices, positive and finite; read-only. ``low <= open, close <= high``.
    volume : numpy.ndarray, shape (t,), float64
        Traded volume, non-negative; zeros where unknown.
    symbol : str
        Instrument.
    bars_per_year : float
        Annualisation: 252 for daily bars of a stock exchange, 98 280 for its minutes.
    has_range : bool
        False if only closes are known; then open, high and low repeat the close, and features
        that need a range refuse the bars.
    provenance : Provenance
    known_at : pandas.DatetimeIndex or None
        When each bar could have been known, where later than its close.

    Raises
    ------
    DataError
        If any of the above does not hold.
    """

    index: pd.DatetimeIndex
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray
    symbol: str
    bars_per_year: float = 252.0
    has_range: bool = True
    provenance: Provenance = field(default_factory=lambda: Provenance("unknown"))
    known_at: pd.DatetimeIndex | None = None

    def __post_init__(self) -> None:
        for name in BAR_FIELDS:
            object.__setattr__(self, name, _read_only(getattr(self, name)))
        self._check_index()
        self._check_values()

    def _check_index(self) -> None:
        index = self.index
        if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
            raise DataError(
                "bars need a UTC time index",
                expected="a DatetimeIndex with time zone UTC",
                got=f"{type(index).__name__} with zone {getattr(index, 'tz', None)}",
                remedy="localise and convert the time stamps to UTC",
            )
        if index.hasnans or not index.is_monotonic_increasing or not index.is_unique:
            raise DataError(
                "bar time stamps must be strictly increasing",
                got=f"{int(index.duplicated().sum())} duplicates, "
                f"monotonic={index.is_monotonic_increasing}, missing={index.hasnans}",
                remedy="sort the rows and remove duplicates, knowing which one is right",
            )
        if self.known_at is not None and (
            len(self.known_at) != len(index) or bool((self.known_at < index).any())
        ):
            raise DataError("known_at must have one stamp per bar, none before the bar's close")

    def _check_values(self) -> None:
        for name in BAR_FIELDS:
            values = getattr(self, name)
            if values.shape != (len(self.index),):
                raise DataError(
                    f"bar field {name} has the wrong shape",
                    expected=f"({len(self.index)},)",
                    got=str(values.shape),
                )
            bad = ~np.isfinite(values) | ((values <= 0) if name != "volume" else (values < 0))
            if bad.any():
                row = int(np.argmax(bad))
                raise DataError(
                    f"bar field {name} has {int(bad.sum())} unusable values",
                    expected="finite positive prices and finite non-negative volume",
                    got=f"{values[row]!r} at {self.index[row].isoformat()}",
                    remedy="repair or drop those rows before loading",
                )
        low_ok = self.low <= np.minimum(self.open, self.close)
        high_ok = self.high >= np.maximum(self.open, self.close)
        if not (low_ok & high_ok).all():
            row = int(np.argmin(low_ok & high_ok))
            raise DataError(
                "bar range does not contain its open and close",
                expected="low <= open, close <= high",
                got=f"{self[row]}",
                remedy="repair the row; see the data-quality report",
            )
        if not (np.isfinite(self.bars_per_year) and self.bars_per_year > 0):
            raise DataError("bars_per_year must be positive", got=repr(self.bars_per_year))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> Bar:
        return Bar(self.index[row], *(float(getattr(self, name)[row]) for name in BAR_FIELDS))

    def __iter__(self) -> Iterator[Bar]:
        values = (getattr(self, name).tolist() for name in BAR_FIELDS)
        return map(Bar, self.index, *values)

    def rows(self, start: int | None = None, stop: int | None = None) -> Bars:
        """Bars ``start:stop`` by position, with the same provenance."""
        cut = slice(start, stop)
        values: dict[str, Any] = {name: getattr(self, name)[cut] for name in BAR_FIELDS}
        known_at = None if self.known_at is None else self.known_at[cut]
        return replace(self, index=self.index[cut], known_at=known_at, **values)

    def between(self, start: str | pd.Timestamp | None, end: str | pd.Timestamp | None) -> Bars:
        """Bars with ``start <= close time <= end``; a plain end date includes that whole day."""

        def stamp(value: str | pd.Timestamp) -> pd.Timestamp:
            moment = pd.Timestamp(value)
            return moment.tz_localize("UTC") if moment.tz is None else moment.tz_convert("UTC")

        first = 0 if start is None else int(self.index.searchsorted(stamp(start), side="left"))
        last = len(self)
        if end is not None:
            limit = stamp(end)
            if isinstance(end, str) and len(end) == len("2000-01-01"):
                limit += pd.Timedelta(days=1) - pd.Timedelta(1, unit="us")
            last = int(self.index.searchsorted(limit, side="right"))
        return self.rows(first, last)

    def with_values(self, provenance: Provenance | None = None, **values: Any) -> Bars:
        """A copy with some price or volume fields replaced, checked anew."""
        return replace(self, provenance=provenance or self.provenance, **values)

    def followed_by(self, other: Bars) -> Bars:
        """These bars and then ``other``, whose first bar must close after the last one here."""
        values: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in BAR_FIELDS
        }
        return replace(
            self,
            index=pd.DatetimeIndex(self.index.append(other.index)),
            has_range=self.has_range and other.has_range,
            provenance=other.provenance,
            known_at=None,
            **values,
        )

    def returns(self) -> np.ndarray:
        """Simple close-to-close returns, shape (t - 1,): row i runs from bar i to bar i + 1."""
        return self.close[1:] / self.close[:-1] - 1.0

    def frame(self) -> pd.DataFrame:
        """A new DataFrame of the five fields."""
        return pd.DataFrame({name: getattr(self, name) for name in BAR_FIELDS}, index=self.index)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, symbol: str, **kwargs: Any) -> Bars:
        """Bars from a frame with columns open, high, low, close, volume on a UTC index."""
        missing = [name for name in BAR_FIELDS if name not in frame.columns]
        if missing:
            raise DataError(
                "columns are missing",
                expected=", ".join(BAR_FIELDS),
                got=", ".join(map(str, frame.columns)),
                remedy=f"add {', '.join(missing)}",
            )
        values: dict[str, Any] = {
            name: frame[name].to_numpy(dtype=np.float64) for name in BAR_FIELDS
        }
        return cls(index=pd.DatetimeIndex(frame.index), symbol=symbol, **values, **kwargs)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over values, time stamps (UTC nanoseconds), symbol and provenance."""
        arrays = {name: getattr(self, name) for name in BAR_FIELDS}
        arrays["index"] = self.index.as_unit("ns").asi8
        if self.known_at is not None:
            arrays["known_at"] = self.known_at.as_unit("ns").asi8
        return digest(
            {
                "arrays": array_digest(arrays),
                "symbol": self.symbol,
                "bars_per_year": float(self.bars_per_year),
                "has_range": self.has_range,
                "provenance": self.provenance.as_json(),
            }
        )
