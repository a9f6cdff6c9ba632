from __future__ import annotations

import math

import pytest
import torch

from benchmarks import accuracy
from benchmarks.accuracy import SCANS, Deviation, Extremes, Grid, Sizes
from tests.benchmarks.small import ONCE

SMALL = Grid(batches=(1, 2), steps=(1, 7), channels=(16,), states=(3,))


def test_tables_of_errors_extremes_and_gradient_checks() -> None:
    extremes = Extremes(delta=(1e-3, 40.0), rate=(16.0,), sizes=Sizes(6, 16, 3, complete=False))
    report = accuracy.run(ONCE, SMALL, extremes)
    mamba, mamba2, extreme, gradients = report.tables
    for table in (mamba, mamba2):
        assert table.column("L") == [1, 7] * 2
        assert all(0 <= cell < 1e-5 for row in table.rows for cell in row[2:])
    assert all(cell < 1e-5 for cell in extreme.column("outputs") + extreme.column("gradients"))
    assert gradients.column("result") == ["passed"] * 4


@pytest.mark.parametrize("scan", SCANS)
def test_the_reference_against_itself_has_no_error_but_rounding(scan) -> None:
    ((outputs, gradients),) = accuracy.worst(scan, SMALL, ("reference",)).values()
    assert 0 < outputs < 1e-6
    assert 0 < gradients < 5e-6


def test_an_error_is_relative_to_the_largest_of_all_draws() -> None:
    together = Deviation(0.5, 1.0) | Deviation(0.25, 10.0)
    assert together.error == 0.05
    assert Deviation(0.0, 0.0).error == 0.0


def test_a_value_that_is_not_finite_is_an_infinite_error() -> None:
    found = accuracy._deviation(torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0]).double())
    assert found.error == math.inf


def test_the_declared_grid_is_complete() -> None:
    assert len(list(Grid().sizes())) == 9 * 3 * 3 * 2
