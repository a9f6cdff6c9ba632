"""Built-in bars: daily S&P 500 from installable packages, verified on every load."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import pandas as pd

from finchaos.core.bars import PRICE_FIELDS, Bars, Provenance
from finchaos.core.errors import DataError, MissingDependencyError, UnknownNameError
from finchaos.core.extras import installing
from finchaos.markets.sessions import session_closes

RETURN_TOLERANCE = 1e-6


@dataclass(frozen=True)
class BuiltinSet:
    """What a package's data were when they were checked against independent sources.

    Attributes
    ----------
    package, extra : str
        Distribution on the package index; the extra of finchaos that installs it, if any.
    licence : str
    read : callable
        Returns the frame: plain dates in order, open to close and volume, or close alone.
    rows : int
    first, last, anchor_day : str
        ISO dates.
    anchor_return : float
        Simple close-to-close return on ``anchor_day``.
    notes : tuple of str
        Faults a reader of a report must know.
    """

    package: str
    extra: str
    licence: str
    read: Callable[[], pd.DataFrame]
    rows: int
    first: str
    last: str
    anchor_day: str
    anchor_return: float
    notes: tuple[str, ...]


def _arch() -> pd.DataFrame:
    frame = importlib.import_module("arch.data.sp500").load()
    return frame.rename(columns=str.lower)[[*PRICE_FIELDS, "volume"]]


def _skfolio() -> pd.DataFrame:
    frame = importlib.import_module("skfolio.datasets").load_sp500_index()
    return frame.rename(columns={"SP500": "close"})[["close"]]


def _great_tables() -> pd.DataFrame:
    frame = importlib.import_module("great_tables.data").sp500  # newest first
    dated = frame.set_index(pd.DatetimeIndex(pd.to_datetime(frame["date"])))
    return dated.sort_index().loc["1973":, [*PRICE_FIELDS, "volume"]]


_STAMP_NOTE = "stamped at 16:00 New York time; on days of early closing that is late"

BUILTIN_SETS: dict[str, BuiltinSet] = {
    "spx": BuiltinSet(
        package="arch",
        extra="",
        licence="NCSA",
        read=_arch,
        rows=5031,
        first="1999-01-04",
        last="2018-12-31",
        anchor_day="2008-10-15",
        anchor_return=-0.09034977815503076,
        notes=(_STAMP_NOTE, "40 % of days open at the close before: the open is then no trade"),
    ),
    "skfolio": BuiltinSet(
        package="skfolio",
        extra="data",
        licence="BSD-3-Clause",
        read=_skfolio,
        rows=8313,
        first="1990-01-02",
        last="2022-12-28",
        anchor_day="2020-03-16",
        anchor_return=-0.11984050283657066,
        notes=(_STAMP_NOTE, "closes only", "the package says: for tests and examples"),
    ),
    "great_tables": BuiltinSet(
        package="great_tables",
        extra="data",
        licence="MIT",
        read=_great_tables,
        rows=10849,
        first="1973-01-02",
        last="2015-12-31",
        anchor_day="1987-10-19",
        anchor_return=-0.20466926070038904,
        notes=(
            _STAMP_NOTE,
            "64 % of days open at the close before: the open is then no trade",
            "rows before 1973 are left out: the package lacks sessions and has false closes there",
        ),
    ),
}
BUILTIN_NAMES: tuple[str, ...] = tuple(BUILTIN_SETS)


def load_builtin(
    name: str, start: str | pd.Timestamp | None = None, end: str | pd.Timestamp | None = None
) -> Bars:
    """Daily bars of the S&P 500 that a package brings.

    Parameters
    ----------
    name : {"spx", "skfolio", "great_tables"}
        ``spx`` needs nothing but finchaos; the others need its extra ``data``.
    start, end : str or pandas.Timestamp, optional
        First and last day, both included; all there is if left out.

    Returns
    -------
    Bars
        Stamped at 16:00 New York time, in UTC.

    Raises
    ------
    UnknownNameError
        If there is no such set.
    MissingDependencyError
        If its package is not installed.
    DataError
        If the package's data are no longer what was verified.

    Examples
    --------
    >>> bars = load_builtin("spx", "2008-10-15", "2008-10-16")
    >>> len(bars), str(bars.index[0])
    (2, '2008-10-15 20:00:00+00:00')
    """
    if name not in BUILTIN_SETS:
        raise UnknownNameError(
            f"no built-in bars {name!r}", expected=f"one of {', '.join(BUILTIN_NAMES)}"
        )
    known = BUILTIN_SETS[name]
    frame = _read(name, known)
    ranged = "open" in frame.columns
    if not ranged:
        frame = frame.assign(**dict.fromkeys(PRICE_FIELDS, frame["close"]), volume=0.0)
    bars = Bars.from_frame(
        frame.set_index(session_closes(pd.DatetimeIndex(frame.index))),
        symbol="SPX",
        has_range=ranged,
        provenance=Provenance(
            f"{known.package} {version(known.package)}", licence=known.licence, notes=known.notes
        ),
    )
    return bars.between(start, end)


def _read(name: str, known: BuiltinSet) -> pd.DataFrame:
    """The package's frame, if it is the one that was verified."""
    try:
        frame = known.read()
    except ImportError as error:
        raise MissingDependencyError(
            f"the built-in bars {name!r} come from the package {known.package}",
            got=str(error),
            remedy=installing(known.extra) if known.extra else f"pip install {known.package}",
        ) from error
    except (AttributeError, KeyError, OSError, ValueError) as error:
        raise _changed(name, known, f"{type(error).__name__}: {error}") from error
    index = pd.DatetimeIndex(frame.index)
    found = f"{len(frame)} rows"
    if len(frame):
        found += f", {index[0].date()} to {index[-1].date()}"
    if "close" not in frame.columns or found != f"{known.rows} rows, {known.first} to {known.last}":
        raise _changed(name, known, found)
    anchor = float(frame["close"].pct_change()[known.anchor_day])
    if not abs(anchor - known.anchor_return) < RETURN_TOLERANCE:
        raise _changed(name, known, f"{found}, return {anchor:.6f} on {known.anchor_day}")
    return frame


def _changed(name: str, known: BuiltinSet, found: str) -> DataError:
    return DataError(
        f"{known.package} {version(known.package)} no longer has the data verified as {name!r}",
        expected=f"{known.rows} rows, {known.first} to {known.last}, return "
        f"{known.anchor_return:.6f} on {known.anchor_day}",
        got=found,
        remedy=f"install an earlier version of {known.package}, or load a file of your own",
    )
