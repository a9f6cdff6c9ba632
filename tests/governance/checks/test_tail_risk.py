"""Tail risk: quiet on forecasts that are right, loud on those that are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.nulls import NULLS, process
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.tail_risk import TailRisk
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from tests.planted.forecasters import constant_forecaster, true_forecaster
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted

QUICK = TailRisk(draws=99)
FAMILIES = ("coverage", "clustering", "joint", "shortfall")


def found_on(subject: Subject, bars: object, check: TailRisk = QUICK, seed: int = 5) -> Measured:
    n = len(bars)  # type: ignore[arg-type]
    folds = anchored_folds(n, first_test=n // 3, count=2, gap=2)
    return measure(check, subject, Context(bars=bars, folds=folds, seed=seed))  # type: ignore[arg-type]


def families(found: Measured, kind: str = "given") -> np.ndarray:
    return np.array(
        [found.value("adjusted_probability", family=f, forecast=kind) for f in FAMILIES]
    )


@pytest.mark.parametrize("null", NULLS)
def test_true_forecasts_are_rejected_as_often_as_the_level_says(null: str) -> None:
    said = []
    for seed in range(25):
        path = process(null, seed, 700)
        said.append(families(found_on(true_forecaster(path), path.bars())))
    # 25 times 4 families: 5 expected at 5 %.
    assert (np.array(said) <= 0.05).sum() <= 13


def test_a_forecast_that_ignores_clustering_is_found_but_not_its_coverage() -> None:
    path = process("GARCH", 3, 3000)
    found = found_on(constant_forecaster(path), path.bars())
    clustering = found.value("adjusted_probability", family="clustering", forecast="given")
    assert clustering <= 0.06
    assert found.value("dynamic_quantile_probability", level="0.05", forecast="given") == 0.01
    assert found.value("adjusted_probability", family="coverage", forecast="given") > 0.05


def test_losses_that_trebled_after_training_are_found() -> None:
    path = process("iid", 4, 1500)
    wilder = replace(path, returns=np.where(np.arange(1500) < 500, 1.0, 3.0) * path.returns)
    found = found_on(true_forecaster(wilder), wilder.bars())
    assert found.value("hit_rate", level="0.05", forecast="given") > 0.15
    assert found.value("shortfall", level="0.05", forecast="given") < -3.0
    assert families(found).max() <= 0.09
    assert found.value("coverage_probability", level="0.05", forecast="given") < 0.01


def test_a_regime_model_is_judged_by_what_its_regimes_imply_and_told_so() -> None:
    bars = regime_switching_bars(9, 1500)
    found = found_on(VolatilityRegime(), bars)
    evidence = found.find("hit_rate", level="0.05", forecast="implied")
    assert "forecasts no volatility" in evidence.note
    assert evidence.interval is not None
    assert evidence.interval.low < evidence.value < evidence.interval.high  # type: ignore[operator]
    assert len(found.exhibits) == 1
    assert found.digests == found_on(VolatilityRegime(), bars).digests


def test_what_no_loss_measures_is_said() -> None:
    path = process("iid", 4, 500)
    rising = replace(path, returns=0.01 + 0.0 * path.returns)
    rising = replace(rising, returns=rising.returns + 1e-3 * (np.arange(500) % 7))
    found = found_on(Scripted(np.ones(501)), rising.bars())
    evidence = found.find("shortfall_probability", level="0.05", forecast="implied")
    reason = evidence.reason
    assert "no loss" in reason
    missing = found.find("adjusted_probability", family="shortfall", forecast="implied")
    assert missing.status == "skipped"


@pytest.mark.parametrize("wrong", [{"levels": (0.6,)}, {"levels": ()}, {"draws": 50}, {"lags": 0}])
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        TailRisk(**wrong)  # type: ignore[arg-type]
