from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import equality
from benchmarks.peers import PEERS, transformers
from benchmarks.stacks import Case
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE

CASES = (
    Case(MAMBA, 2, 9, ("mambapy", "transformers")),
    Case(MAMBA2, 2, 9, ("transformers", "transformers_64")),
)


def test_ours_equal_the_oracles_and_errors_are_told_for_every_side() -> None:
    double, single, errors = equality.run(ONCE, CASES).tables
    for table in (double, single):
        assert table.column("verdict") == ["equal"] * 4
    assert all(value < 1e-12 for value in double.column("gradients"))
    # Ours, two oracles and the definition in float32, for each case.
    assert len(errors.rows) == 8
    assert all(0 < value < 1e-5 for row in errors.rows for value in row[2:])


def test_another_model_is_not_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "layers.0.mixer.out_proj.weight"

    def altered(shape, weights):
        return transformers(shape, {**weights, name: 1.001 * weights[name]})

    monkeypatch.setitem(PEERS, "mambapy", replace(PEERS["mambapy"], build=altered))
    double, *_ = equality.run(ONCE, (Case(MAMBA, 2, 9, ("mambapy",)),)).tables
    assert double.column("verdict") == ["NOT EQUAL"]
