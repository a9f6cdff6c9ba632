"""JSON is the record."""

from __future__ import annotations

from finchaos.core.provenance import sha256
from governance.record import Run
from reports import render
from tests.reports.sample import sample


def test_the_bytes_are_those_of_the_digest() -> None:
    small = sample("small")
    data = render(small.run, small.exhibits, "json")
    assert sha256(data) == small.run.digest
    assert Run.from_json(data) == small.run
