"""Crises of other sizes: exact for a constant position, loud where the limit breaks."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from governance.check import Skip
from governance.checks.stress_severity import SEVERITIES, StressSeverity
from governance.harness import measure as run
from governance.policy import load_policy
from governance.scenario import load_scenario
from tests.governance.checks.stressed import (
    BlindToSmallFalls,
    Constant,
    FailsOnLargeFalls,
    StopsAtTenPercent,
    context,
)
from tests.planted.measurements import measure


def depths(exhibit) -> dict[str, tuple[float, ...]]:
    rows = zip(*(column.values for column in exhibit.columns), strict=True)
    return {row[0]: row[1:] for row in rows}


def test_holding_the_market_falls_as_the_scaled_market_does() -> None:
    found = measure(StressSeverity(), Constant(1.0), context("gfc_2008", "covid_2020"))
    (drawn,) = (item for item in found.exhibits if item.name == "drawdowns")
    for name, values in depths(drawn).items():
        moves = np.concatenate([[0.0], np.cumsum(np.log1p(load_scenario(name).returns))])
        for size, value in zip(SEVERITIES, values, strict=True):
            path = np.exp(size * moves)
            expected = 1.0 - (path / np.maximum.accumulate(path)).min()
            assert value == pytest.approx(expected, abs=1e-10)
    assert found.value("severity_held", scenario="gfc_2008", sample="unknown") == 0.0
    assert found.value("severity_held", scenario="covid_2020", sample="unknown") == 0.5
    assert found.value("monotone_share") == 1.0


def test_a_limit_that_holds_everywhere_is_a_lower_bound() -> None:
    found = measure(StressSeverity(), StopsAtTenPercent(0.2), context("gfc_2008", "covid_2020"))
    for name in ("gfc_2008", "covid_2020"):
        one = found.find("severity_held", scenario=name, sample="unknown")
        assert one.at_least
        assert one.value == SEVERITIES[-1]


def test_leverage_is_loud_and_caution_quiet() -> None:
    def verdicts(position: float) -> set[str]:
        where = context("gfc_2008", "ltcm_1998")
        judged = load_policy("baseline").judge(
            run(StressSeverity(), Constant(position), where).evidence
        )
        return {f.verdict for f in judged.findings if f.rule == "stress_severity.recorded"}

    assert verdicts(2.0) == {"fail"}
    assert verdicts(0.1) == {"pass"}


def test_a_mild_crisis_that_goes_unnoticed_breaks_monotony() -> None:
    where = context("ltcm_1998", "bear_2022", "downgrade_2011")
    found = measure(StressSeverity(), BlindToSmallFalls(1.0), where)
    assert found.value("monotone_share") < 1.0


def test_nothing_at_risk_is_no_evidence() -> None:
    found = measure(StressSeverity(), Constant(0.0), context("gfc_2008"))
    one = found.find("severity_held", scenario="gfc_2008", sample="unknown")
    assert one.status == "skipped"
    assert "nothing was at risk" in one.reason


def test_a_failing_model_is_errored_in_its_scenario_alone() -> None:
    found = measure(
        StressSeverity(), FailsOnLargeFalls(), context("black_monday_1987", "covid_2020")
    )
    status = {e.slice["scenario"]: e.status for e in found if e.metric == "severity_held"}
    assert status == {"black_monday_1987": "errored", "covid_2020": "measured"}


def test_without_daily_scenarios_it_says_so() -> None:
    with pytest.raises(Skip, match="no scenario"):
        list(StressSeverity().measure(Constant(), context("flash_crash_2010_minutes")))


def test_numbers_repeat() -> None:
    where = context("ltcm_1998")
    runs = [measure(StressSeverity(), StopsAtTenPercent(), where).digests for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("values", [{"drawdown_limit": 0.0}, {"warmup_bars": 99}])
def test_impossible_parameters_are_refused(values: dict) -> None:
    with pytest.raises(InputError):
        StressSeverity(**values)
