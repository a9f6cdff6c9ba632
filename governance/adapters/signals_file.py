"""Adapter: signals already made, in a CSV or Parquet file. There is no model behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.documents import validate_document
from finchaos.core.errors import DataError, InputError, MissingDependencyError, SubjectFault
from finchaos.core.extras import installing
from finchaos.core.provenance import array_digest, digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from governance.adapters import Declared

REQUIRED = ("ts", "position")
OPTIONAL = ("stress_probability", "regime", "forecast_mean", "forecast_volatility", "close")
CLOSE_TOLERANCE = 1e-6

PREDICTIONS_ONLY = "Signals made beforehand: nothing that needs a model can be assessed"
UNBOUND = (
    "The file holds no closes, so that signals cannot be tied to the prices they were made from: "
    "tests that alter prices see no effect"
)


class SignalsFileParams(Declared):
    """The file and how to treat bars before its first row."""

    path: str
    """CSV or Parquet with columns ts and position, optionally stress_probability and regime,
    optionally forecast_mean and forecast_volatility (of the simple return to the next bar's close,
    per bar), and optionally close, the price each signal was made from."""
    before_first: Literal["refuse", "flat"] = "refuse"
    """Bars before the first signal: refuse them, or hold nothing there."""


def build(params: Mapping[str, Any], *, seed: int) -> Subject:
    """The subject of a file of signals.

    Parameters
    ----------
    params : mapping
        See :class:`SignalsFileParams`.
    seed : int
        Unused: nothing is random.

    Raises
    ------
    DocumentError
        If a parameter is unknown, missing or of the wrong type.
    InputError
        If the file cannot be read, or its rows cannot be used.
    """
    said = validate_document(dict(params), SignalsFileParams, "the signals_file adapter")
    path = Path(said.path)
    frame = _ordered(_read(path), path)
    columns = {
        name: frame[name].to_numpy() for name in ("position", *OPTIONAL) if name in frame.columns
    }
    if said.before_first == "flat" and "forecast_volatility" in columns:
        raise InputError(
            f"{path} holds forecasts of volatility, and bars before its first row would have none",
            expected="before_first: refuse",
            got="before_first: flat",
            remedy="start the data at the first signal, or leave the forecasts out",
        )
    regimes = {"stress_probability", "regime"} <= set(columns)
    limitations = (*said.limitations, PREDICTIONS_ONLY)
    limitations += () if "close" in columns else (UNBOUND,)
    return SignalsFile(
        index=pd.DatetimeIndex(frame["ts"]),
        columns=columns,
        before_first=said.before_first,
        card=said.model_card(
            path.stem, limitations=limitations, backend="recorded signals", predictions_only=True
        ),
        capabilities=frozenset({Capability.REGIMES} if regimes else ()),
    )


@dataclass(frozen=True, eq=False)
class SignalsFile:
    """Recorded signals, looked up by time stamp.

    Attributes
    ----------
    index : pandas.DatetimeIndex, shape (t,)
        Close times, UTC, strictly increasing.
    columns : mapping of name to numpy.ndarray, shape (t,)
        position, and stress_probability, regime, the two forecasts and close where the file has
        them.
    before_first : {"refuse", "flat"}
    card : ModelCard
    capabilities : frozenset of Capability
        Regimes at most: there is no model to refit, stream or differentiate.
    """

    index: pd.DatetimeIndex
    columns: Mapping[str, np.ndarray]
    before_first: Literal["refuse", "flat"]
    card: ModelCard
    capabilities: frozenset[Capability]

    @property
    def digest(self) -> str:
        """SHA-256 of all rows, the card and the treatment of earlier bars."""
        arrays = {**self.columns, "index": self.index.as_unit("ns").asi8}
        return digest(
            {
                "adapter": "signals_file",
                "rows": array_digest(arrays),
                "card": self.card.as_json(),
                "before_first": self.before_first,
            }
        )

    def fit(self, bars: Bars, *, seed: int) -> SignalsFile:
        """Itself: recorded signals do not change."""
        return self

    def signals(self, bars: Bars) -> Signals:
        """The recorded rows of exactly these bars.

        Raises
        ------
        SubjectFault
            If a bar has no row, or its close is not the one its signal was made from.
        """
        rows = self.index.get_indexer(bars.index)
        early = np.zeros(len(bars), dtype=bool)
        if self.before_first == "flat":
            early = np.asarray(bars.index < self.index[0])
        missing = (rows < 0) & ~early
        if missing.any():
            raise SubjectFault(
                f"{self.card.name} has no signals for {int(missing.sum())} of {len(bars)} bars",
                expected=f"bars among the {len(self.index)} rows from "
                f"{self.index[0].isoformat()} to {self.index[-1].isoformat()}",
                got=f"the first without one at {bars.index[int(np.argmax(missing))].isoformat()}",
                remedy="start the data at the first signal, or set before_first: flat; time "
                "stamps must agree to the nanosecond",
            )
        self._check_closes(bars, rows, early)
        found = {
            name: np.where(early, 0, values[rows])
            for name, values in self.columns.items()
            if name != "close"
        }
        found["position"] = np.array(found["position"], dtype=np.float64)
        found["position"][: self.card.warmup_bars] = 0.0
        return Signals(bars.index, **found)

    def _check_closes(self, bars: Bars, rows: np.ndarray, early: np.ndarray) -> None:
        if "close" not in self.columns:
            return
        known = np.where(early, bars.close, self.columns["close"][rows])
        differs = ~(np.abs(bars.close / known - 1.0) <= CLOSE_TOLERANCE)
        if differs.any():
            row = int(np.argmax(differs))
            raise SubjectFault(
                f"{self.card.name} was made from other prices than these bars",
                expected=f"a close of {known[row]:g} at {bars.index[row].isoformat()}",
                got=f"{bars.close[row]:g}; {int(differs.sum())} closes differ",
                remedy="recorded signals cannot answer other bars; this needs the model",
            )


def _read(path: Path) -> pd.DataFrame:
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{path} is not a file of signals", expected="a .csv or .parquet file")
    try:
        return pd.read_csv(path) if kind == ".csv" else pd.read_parquet(path)
    except ImportError as error:
        raise MissingDependencyError(
            "reading Parquet needs pyarrow", remedy=f"{installing('data')}, or use CSV"
        ) from error
    except Exception as error:  # the parsers raise many kinds; all mean that it cannot be read
        raise DataError(f"cannot read {path}", got=f"{type(error).__name__}: {error}") from error


def _ordered(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows checked and typed: unknown columns, bad stamps and bad numbers are refused."""
    if "ts" not in frame.columns and frame.index.name == "ts":
        frame = frame.reset_index()
    names = set(map(str, frame.columns))
    if not set(REQUIRED) <= names or names - {*REQUIRED, *OPTIONAL}:
        raise DataError(
            f"{path} does not have the columns of a signals file",
            expected=f"{', '.join(REQUIRED)} and at most {', '.join(OPTIONAL)}",
            got=", ".join(map(str, frame.columns)),
        )
    if not len(frame):
        raise DataError(f"{path} holds no signals")
    columns: dict[str, Any] = {"ts": _stamps(frame["ts"], path)}
    for name in ("position", *OPTIONAL):
        if name in names:
            columns[name] = _numbers(frame[name], name, path)
    return pd.DataFrame(columns)


def _stamps(values: pd.Series, path: Path) -> pd.DatetimeIndex:
    try:
        index = pd.DatetimeIndex(pd.to_datetime(values, utc=True, format=_format(values)))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} has time stamps that cannot be read",
            expected="ISO 8601 with a zone, such as 2024-01-02T21:00:00Z",
            got=str(error),
        ) from error
    zoned = isinstance(values.dtype, pd.DatetimeTZDtype) or (
        values.astype(str).str.contains(r"(?:Z|[+-]\d\d:?\d\d)$", regex=True).all()
    )
    if not zoned or index.hasnans or not index.is_monotonic_increasing or not index.is_unique:
        raise DataError(
            f"{path} has time stamps that cannot be used",
            expected="strictly increasing, none missing, each with a zone such as Z",
            got=f"zones {'given' if zoned else 'missing'}, "
            f"{int(index.duplicated().sum())} duplicates, "
            f"increasing: {index.is_monotonic_increasing}",
        )
    return index


def _format(values: pd.Series) -> str | None:
    return None if isinstance(values.dtype, pd.DatetimeTZDtype) else "ISO8601"


def _numbers(values: pd.Series, name: str, path: Path) -> np.ndarray:
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: column {name} is not numeric", got=str(error)) from error
    # Positions and probabilities pass as they are: what is wrong with them is the model's fault
    # and becomes a finding. A regime must be a whole number, and a close a price.
    usable = {
        "regime": np.isfinite(numbers) & (numbers == np.floor(numbers)),
        "close": np.isfinite(numbers) & (numbers > 0),
    }.get(name, np.ones(len(numbers), dtype=bool))
    if not usable.all():
        raise DataError(
            f"{path}: column {name} has unusable values",
            expected="whole numbers" if name == "regime" else "positive prices",
            got=f"{int((~usable).sum())} others",
        )
    return numbers
