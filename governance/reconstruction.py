"""What a scenario says about rebuilding a session second by second from documented facts."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from finchaos.core.documents import Document
from finchaos.core.errors import DataError, DocumentError
from finchaos.core.provenance import sha256

FACT_COLUMNS = ("time_et", "instrument", "quantity", "value", "unit", "source", "status")
USABLE = "seen"
"""Status of facts that were read in their source; others are kept and never used."""
PRIOR_CLOSE = "prior_close"

Clock = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d$")]
Span = tuple[Clock, Clock]


class FactKey(Document):
    """Which row of the facts file."""

    time_et: str
    instrument: str
    quantity: str


class Point(Document):
    """A price at a second, read from one fact."""

    at: Clock
    fact: FactKey
    read_as: Literal["level", "return_until", "return_since", "points_until"] = "level"
    """``level``: the value is the price. ``return_until`` and ``points_until``: the value is the
    change, in per cent or points, from ``at`` to ``relative_to``. ``return_since``: the change
    in per cent from ``relative_to`` to ``at``."""
    relative_to: str | None = None
    """Second of a point listed before this one, or ``prior_close``."""
    because: str = ""

    @model_validator(mode="after")
    def _reference_given(self) -> Self:
        if (self.read_as == "level") != (self.relative_to is None):
            raise ValueError("a level has no relative_to; every change needs one")
        return self


class Extreme(Document):
    """A highest or lowest price that is documented for a span of time."""

    side: Literal["high", "low"]
    fact: FactKey
    within: Span
    """No price in this span lies beyond the extreme."""
    drawn: Span | None = None
    """Where its second is drawn by the seed, if it is not documented; None if a point holds it."""
    because: str = ""


class VolatilityBlock(Document):
    """Scale of the Brownian bridge from the end of the block before."""

    until: Clock
    volatility_annual: float = Field(ge=0)
    """0: the log price runs straight between its points, as while trading pauses."""
    because: str = Field(min_length=10)


class VolumeBlock(Document):
    """Contracts traded in some spans together."""

    spans: tuple[Span, ...] = Field(min_length=1)
    contracts: float = Field(ge=0)
    because: str = Field(min_length=10)


class Reconstruction(Document):
    """Rules from facts to one path a seed."""

    facts: str
    """CSV file beside the scenario."""
    symbol: str
    session: Span
    """New York time."""
    seeds: tuple[int, ...] = Field(min_length=2)
    points: tuple[Point, ...] = Field(min_length=2)
    extremes: tuple[Extreme, ...] = ()
    volatility: tuple[VolatilityBlock, ...] = Field(min_length=1)
    volume: tuple[VolumeBlock, ...] = Field(min_length=1)
    assumptions: tuple[str, ...] = Field(min_length=1)
    """What no fact says; repeated wherever the path appears."""

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        start, end = (seconds(clock) for clock in self.session)
        if start >= end or (end - start) % 60:
            raise ValueError("a session is a positive whole number of minutes")
        points = [seconds(point.at) for point in self.points]
        if len(set(points)) != len(points) or {start, end} - set(points):
            raise ValueError("one point a second, the first and last second of the session among")
        if min(points) < start or max(points) > end:
            raise ValueError("every point lies in the session")
        edges = [start, *(seconds(block.until) for block in self.volatility)]
        if edges != sorted(set(edges)) or edges[-1] != end:
            raise ValueError("volatility blocks follow each other to the end of the session")
        if len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds are distinct and not negative")
        self._volume_covers(start, end)
        return self

    def _volume_covers(self, start: int, end: int) -> None:
        spans = [span for block in self.volume for span in block.spans]
        edges = sorted((seconds(first), seconds(last)) for first, last in spans)
        whole = all(first % 60 == 0 and last % 60 == 0 for first, last in edges)
        joined = [start, *(last for _, last in edges)] == [*(first for first, _ in edges), end]
        if not (whole and joined):
            raise ValueError("volume spans are whole minutes and cover the session exactly once")

    @property
    def fact_keys(self) -> tuple[FactKey, ...]:
        """The facts that are used."""
        points = [point.fact for point in self.points]
        return (*points, *(extreme.fact for extreme in self.extremes))


@dataclass(frozen=True)
class Facts:
    """Documented facts of one event.

    Attributes
    ----------
    rows : tuple of dict
        Columns ``time_et, instrument, quantity, value, unit, source, status``, as text.
    digest : str
        SHA-256 of the file.
    """

    rows: tuple[dict[str, str], ...]
    digest: str

    def row(self, key: FactKey) -> dict[str, str]:
        """The one row with this key.

        Raises
        ------
        DataError
            If there is none, there are several, or it was not read in its source.
        """
        wanted = (key.time_et, key.instrument, key.quantity)
        found = [row for row in self.rows if tuple(row[n] for n in FACT_COLUMNS[:3]) == wanted]
        if len(found) != 1:
            raise DataError(
                f"the facts do not have exactly one row for {' / '.join(wanted)}",
                got=str(len(found)),
            )
        if found[0]["status"] != USABLE:
            raise DataError(
                f"the fact {' / '.join(wanted)} may not be used",
                expected=f"status {USABLE}",
                got=found[0]["status"],
                remedy="read it in its source first",
            )
        return found[0]

    def value(self, key: FactKey) -> float:
        """The number in the row with this key; it must be finite."""
        text = self.row(key)["value"]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError(f"the fact {key.quantity} at {key.time_et} is no number", got=text)
        return value


def parse_facts(text: str, name: str) -> Facts:
    """Read a file of facts; rows of every status are kept.

    Raises
    ------
    DataError
        If columns are missing or a row has no source or status.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or tuple(rows[0]) != FACT_COLUMNS:
        raise DataError(f"{name} is not a file of facts", expected=", ".join(FACT_COLUMNS))
    for line, row in enumerate(rows, start=2):
        if not (row["source"] and row["status"]):
            raise DataError(f"{name}, line {line}: every fact names its source and status")
    return Facts(tuple(rows), sha256(text.encode()))


def point_prices(spec: Reconstruction, facts: Facts, prior_close: float) -> dict[int, float]:
    """Prices at the points, by second of the day, as the facts say them.

    Raises
    ------
    DocumentError
        If a point refers to one that does not come before it.
    DataError
        If a price is not positive or a fact cannot be used.
    """
    known: dict[str, float] = {PRIOR_CLOSE: prior_close}
    for point in spec.points:
        value = facts.value(point.fact)
        if point.relative_to is not None and point.relative_to not in known:
            raise DocumentError(
                f"the point at {point.at} refers to {point.relative_to}",
                expected="a point listed before it, or prior_close",
            )
        reference = known.get(point.relative_to or "", math.nan)
        price = {
            "level": value,
            "return_until": reference / (1.0 + value / 100.0),
            "return_since": reference * (1.0 + value / 100.0),
            "points_until": reference - value,
        }[point.read_as]
        if not price > 0.0:
            raise DataError(f"the price at {point.at} is not positive", got=f"{price:g}")
        known[point.at] = price
    return {seconds(at): price for at, price in known.items() if at != PRIOR_CLOSE}


def seconds(clock: str) -> int:
    """Second of the day of a time such as ``14:45:28``."""
    hours, minutes, rest = (int(part) for part in clock.split(":"))
    return 3600 * hours + 60 * minutes + rest
