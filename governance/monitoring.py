"""The record of one look at new data, and where it is kept beside the run.

::

    <store>/monitoring/<run digest>/<record digest>.json

A record never changes the run: it names it. The store's audit chain gets one entry for each.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from finchaos.core.documents import Document
from finchaos.core.errors import IntegrityError
from finchaos.core.files import write_atomic
from finchaos.core.provenance import sha256
from governance.record import Digest, InputRef, Record
from governance.signoff.audit import locked_chain

ACTION = "monitor"
TEST_TIMES = 5
"""How often tests are made, at most."""
LARGEST_FAMILY = 8
"""Tests of one time: two of inputs, outputs and latents each, one of performance, one to spare."""
Verdict = Literal["in_control", "alarm", "inconclusive"]


def draws_needed(false_alarm_rate: float) -> int:
    """Draws with which the smallest p-value, corrected for all tests, can still reject."""
    level = 0.5 * false_alarm_rate / TEST_TIMES
    return math.ceil(LARGEST_FAMILY / level)


class MonitorSettings(Document):
    """What is looked at and how often it may be wrong."""

    false_alarm_rate: float = Field(default=0.05, gt=0, le=0.5)
    """Probability of ever alarming without a change, by tests and bets together: half each."""
    run_length: float = Field(default=2520.0, ge=50, le=100_000)
    """Bars between false alarms of all charts together."""
    period_bars: int = Field(default=63, ge=20)
    """Tests are made at so many new bars, at twice as many, and so on for five times; each time
    may use a fifth of their false-alarm rate. Between the times the last test stands."""
    batch_bars: int = Field(default=21, ge=5)
    """Rows in a batch that is bet on."""
    bins: int = Field(default=10, ge=2)
    draws: int = Field(default=1999, ge=199)
    """Behind each p-value and limit."""

    @model_validator(mode="after")
    def _enough_draws(self) -> Self:
        least = draws_needed(self.false_alarm_rate)
        if self.draws < least:
            raise ValueError(
                f"{self.draws} draws cannot reject at a false-alarm rate of "
                f"{self.false_alarm_rate:g}: at least {least}"
            )
        return self


class SeriesDistance(Document):
    """How far one series is from its reference; limits are exceeded at 5 % without drift."""

    panel: str
    series: str
    rows: int
    psi: float
    psi_limit: float | None
    """None where the reference is constant."""
    jensen_shannon: float
    kl_reference_to_current: float
    kl_current_to_reference: float
    ks: float
    ks_limit: float | None
    mean_shift: float | None
    """In standard deviations of the reference."""
    scale_shift: float | None
    """Logarithm of the ratio of standard deviations."""


class DriftTest(Document):
    """One test of the family that is corrected together (Holm 1979)."""

    panel: str
    test: Literal["series", "energy", "mean"]
    statistic: float
    p_value: float
    adjusted: float
    rejected: bool


class ChartReading(Document):
    """One control chart since the end of the run."""

    series: str
    chart: str
    limit: float
    highest: float
    latest: float
    """Upper or lower side, whichever is larger."""
    direction: Literal["up", "down"]
    """Of the side that came highest."""
    first_alarm: str | None
    """Bar at which the limit was first exceeded, ISO 8601."""


class PanelCapital(Document):
    """What betting on change in one panel has made from 1."""

    panel: str
    batches: int
    latest: float


class MonitoringRecord(Record):
    """One look at new data, sealed; the same look gives the same digest."""

    schema_version: Literal[1] = 1
    run: Digest
    subject: Digest
    candidate: Digest
    """The trained subject that was asked."""
    reference: InputRef
    """The run's bars."""
    new: InputRef
    """The bars that were brought, as they are in their file."""
    new_bars: int
    first: str
    last: str
    settings: MonitorSettings
    code: Digest
    """Of the toolkit now; ``same_code`` says whether the run was made by it."""
    same_code: bool
    distances: tuple[SeriesDistance, ...]
    tests: tuple[DriftTest, ...]
    test_level: float | None
    """Familywise error rate spent at this time; None before the first."""
    charts: tuple[ChartReading, ...]
    chart_run_length: float | None
    """Bars between false alarms of each chart, so that all together keep the one in settings."""
    capital: tuple[PanelCapital, ...]
    highest_capital: float
    """The most that the mean over panels ever was; alarm at 2 / false_alarm_rate."""
    alarms: tuple[str, ...]
    not_measured: tuple[str, ...]
    verdict: Verdict


def record_path(store_root: Path, record: MonitoringRecord) -> Path:
    """Where a record is kept."""
    return Path(store_root) / "monitoring" / record.run / f"{record.digest}.json"


def keep(store_root: Path, record: MonitoringRecord, at: str) -> Path:
    """Write a record and enter it into the audit chain; what is there already stays as it is.

    Parameters
    ----------
    store_root : Path
    record : MonitoringRecord
    at : str
        ISO 8601 UTC.

    Raises
    ------
    IntegrityError
        If the audit chain is broken: nothing is written then.
    """
    path = record_path(store_root, record)
    body = {
        "run": record.run,
        "record": record.digest,
        "verdict": record.verdict,
        "bars": record.new.digest,
    }
    with locked_chain(store_root) as chain:
        if not path.exists() or path.read_bytes() != record.to_json():
            write_atomic(path, record.to_json())
        if chain.chain.find(ACTION, "record", record.digest) is None:
            chain.append(ACTION, "finchaos", body, at)
    return path


def records_of(store_root: Path, run: Digest) -> tuple[MonitoringRecord, ...]:
    """All records about a run, by the last bar they saw.

    Raises
    ------
    IntegrityError
        If one was changed.
    """
    found = []
    for path in sorted((Path(store_root) / "monitoring" / run).glob("*.json")):
        data = path.read_bytes()
        if sha256(data) != path.stem:
            raise IntegrityError(f"{path} was changed after it was sealed", got=sha256(data))
        found.append(MonitoringRecord.from_json(data))
    return tuple(sorted(found, key=lambda record: (record.last, record.digest)))
