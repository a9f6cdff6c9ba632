"""Residuals: quiet on what follows nothing, loud on what follows itself."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.nulls import NULLS, process
from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.checks.residuals import Residuals
from governance.splits import anchored_folds
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.serial_dependence import jarque_bera
from tests.planted.forecasters import constant_forecaster, true_forecaster
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, closes_alone


def context_of(bars: Bars) -> Context:
    folds = anchored_folds(len(bars), first_test=len(bars) // 3, count=2, gap=2)
    return Context(bars=bars, folds=folds, seed=5)


def found_on(subject: Subject, bars: Bars) -> Measured:
    return measure(Residuals(), subject, context_of(bars))


def adjusted(found: Measured) -> tuple[float, float]:
    errors = found.value("adjusted_probability", family="errors", forecast="given")
    return found.value("adjusted_probability", family="returns"), errors


@pytest.mark.parametrize("null", NULLS)
def test_true_forecasts_leave_nothing(null: str) -> None:
    said = []
    for seed in range(100):
        path = process(null, seed, 900)
        said.append(adjusted(found_on(true_forecaster(path), path.bars())))
    returns, errors = (np.array(said) <= 0.05).mean(axis=0)
    assert errors < 0.13
    # The market itself follows itself where it is an autoregression.
    assert returns > 0.9 if null == "AR(1)" else returns < 0.11


def test_clustering_that_the_forecast_ignores_is_found_in_its_errors_alone() -> None:
    path = process("GARCH", 3, 3000)
    found = found_on(constant_forecaster(path), path.bars())
    returns, errors = adjusted(found)
    assert errors < 1e-6
    assert returns > 0.05
    assert found.value("arch_probability", lags="5", forecast="given") < 1e-6


def test_stale_prices_are_found() -> None:
    path = process("iid", 3, 1500)
    true = np.log(path.bars().close)
    stale = closes_alone(np.exp(0.5 * true + 0.5 * np.append(true[:1], true[:-1])))
    found = measure(Residuals(), Scripted(np.ones(1501)), context_of(stale))
    assert found.value("return_probability", lags="1") < 1e-6


def test_normality_is_reported() -> None:
    path = process("iid", 3, 900)
    context = context_of(path.bars())
    subject = Scripted(np.ones(901))
    found = measure(Residuals(), subject, context)
    expected = float(jarque_bera(out_of_sample(subject, context).net))
    assert found.value("normality_statistic") == expected
    assert len(found.exhibits) == 1
    assert found.digests == measure(Residuals(), subject, context).digests


def test_what_cannot_be_tested_says_why() -> None:
    path = process("iid", 1, 900)
    with pytest.raises(Skip, match="do not vary"):
        found_on(Scripted(np.zeros(901)), path.bars())
    few = process("iid", 1, 110).bars()
    with pytest.raises(Skip, match="too few"):
        found_on(Scripted(np.ones(111)), few)
    short = anchored_folds(901, first_test=90, count=1, gap=2)
    found = measure(
        Residuals(), Scripted(np.ones(901)), Context(bars=path.bars(), folds=short, seed=1)
    )
    assert "training returns" in found.find("adjusted_probability", family="errors").reason


@pytest.mark.parametrize("lags", [(), (0,), (101,)])
def test_impossible_parameters_are_refused(lags: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        Residuals(lags=lags)
