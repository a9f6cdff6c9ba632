"""The baseline's rules of forecasts: silent on the truth, high severity for overconfidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.nulls import Process, process
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.calibration import Calibration
from governance.checks.forecast_comparison import ForecastComparison
from governance.checks.residuals import Residuals
from governance.checks.tail_risk import TailRisk
from governance.policy import load_policy
from governance.record import Evidence
from governance.splits import anchored_folds
from tests.planted.forecasters import true_forecaster

CHECKS = (TailRisk(draws=99), Calibration(draws=99), Residuals(), ForecastComparison())


def failed(subject: Subject, path: Process) -> set[tuple[str, str]]:
    """Rules of these checks that fail or warn, with severity."""
    bars = path.bars()
    folds = anchored_folds(len(bars), first_test=len(bars) // 3, count=2, gap=2)
    context = Context(bars=bars, folds=folds, seed=5)
    evidence = [
        item
        for check in CHECKS
        for item in check.measure(subject, context)
        if isinstance(item, Evidence)
    ]
    names = {check.card.name for check in CHECKS}
    findings = load_policy("baseline").judge(evidence).findings
    return {
        (f.rule, f.severity) for f in findings if f.check in names and f.verdict in ("fail", "warn")
    }


def test_nothing_is_said_against_the_truth() -> None:
    path = process("GARCH", 2, 1200)
    assert failed(true_forecaster(path), path) == set()


def test_overconfidence_and_a_market_that_broke_are_accused() -> None:
    path = process("GARCH", 2, 1200)
    sure = replace(path, volatility=0.5 * path.volatility)
    assert ("calibration.variance", "high") in failed(true_forecaster(sure), path)
    yearly = replace(path, volatility=np.sqrt(252.0) * path.volatility)
    assert ("calibration.timid", "moderate") in failed(true_forecaster(yearly), path)
    factor = np.where(np.arange(1200) < 400, 1.0, 2.5)
    broken = replace(path, returns=factor * path.returns)
    accused = failed(true_forecaster(broken), broken)
    assert {("tail_risk.hits", "high"), ("calibration.variance", "high")} <= accused
