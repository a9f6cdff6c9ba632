"""Reverse stress: the closed form for a constant position, honest bounds elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from finchaos.core.errors import InputError
from governance.checks.stress_reverse import HALVINGS, SLIDES, STEPS, StressReverse
from governance.policy import load_policy
from governance.scenario import load_scenario
from tests.governance.checks.stressed import (
    Constant,
    FailsOnLargeFalls,
    StopsAtTenPercent,
    context,
)
from tests.planted.measurements import measure

STEP_FALL = 0.6 / STEPS / 2**HALVINGS
STEP_SIZE = 4.0 / STEPS / 2**HALVINGS


@pytest.mark.parametrize("position", [0.5, 1.0, 2.0])
def test_the_gap_is_the_limit_over_the_exposure(position: float) -> None:
    """At a gap the loss is exposure times gap; the calm days after it may add a little."""
    found = measure(StressReverse(), Constant(position), context())
    gap = found.value("smallest_fall", shock="gap")
    assert gap <= 0.2 / position + STEP_FALL
    assert gap == pytest.approx(0.2 / position, abs=0.02)


def test_the_severity_solves_the_scenario_of_one_who_holds() -> None:
    found = measure(StressReverse(), Constant(1.0), context("gfc_2008"))
    moves = np.cumsum(np.log1p(load_scenario("gfc_2008").returns))
    root = brentq(lambda size: 1.0 - np.exp(size * moves).min() - 0.2, 1e-6, 4.0)
    size = found.value("smallest_severity", scenario="gfc_2008")
    assert root <= size <= root + STEP_SIZE


def test_none_up_to_the_bound_is_a_lower_bound() -> None:
    found = measure(StressReverse(), StopsAtTenPercent(0.3), context("ltcm_1998"))
    one = found.find("smallest_severity", scenario="ltcm_1998")
    assert (one.value, one.at_least) == (4.0, True)
    assert one.note.startswith("none up to the bound")
    assert measure(StressReverse(), Constant(1.0), context()).find(
        "smallest_fall", shock="gap"
    ).at_least is False  # fmt: skip


def test_who_leaves_survives_slides_but_not_gaps() -> None:
    found = measure(StressReverse(), StopsAtTenPercent(1.0), context())
    falls = {name: found.value("smallest_fall", shock=name) for name in SLIDES}
    assert falls["gap"] == pytest.approx(0.2, abs=0.02)
    assert falls["slide_60"] == 0.6
    held = measure(StressReverse(), Constant(1.0), context())
    assert all(held.value("smallest_fall", shock=name) < 0.25 for name in SLIDES)


def test_rules_accuse_leverage_and_nobody_unleveraged() -> None:
    def verdict(position: float) -> str:
        found = measure(StressReverse(), Constant(position), context()).evidence
        (finding,) = (
            f
            for f in load_policy("baseline").judge(found).findings
            if f.rule == "stress_reverse.gap"
        )
        return finding.verdict

    assert [verdict(p) for p in (0.5, 1.0, 2.0)] == ["pass", "pass", "fail"]


def test_nothing_at_risk_is_no_evidence() -> None:
    found = measure(StressReverse(), Constant(0.0), context("gfc_2008"))
    assert {e.status for e in found} == {"skipped"}
    assert not found.exhibits


def test_a_model_that_fails_on_a_shock_is_errored() -> None:
    found = measure(StressReverse(loss_limit=0.9), FailsOnLargeFalls(1.0), context())
    assert found.find("smallest_fall", shock="gap").status == "errored"


def test_numbers_repeat_and_the_table_names_every_shock() -> None:
    runs = [measure(StressReverse(), StopsAtTenPercent(), context("ltcm_1998")) for _ in range(2)]
    assert runs[0].digests == runs[1].digests
    (table,) = runs[0].exhibits
    assert len(table.columns[0].values) == len(SLIDES) + 1


@pytest.mark.parametrize(
    "values",
    [{"loss_limit": 1.0}, {"fall_bound": 1.0}, {"severity_bound": 0.0}, {"warmup_bars": 5}],
)
def test_impossible_parameters_are_refused(values: dict) -> None:
    with pytest.raises(InputError):
        StressReverse(**values)
