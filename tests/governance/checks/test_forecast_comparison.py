"""Comparison of forecasts: equal ones tie, worse ones are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.nulls import NULLS, process
from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.forecast_comparison import ForecastComparison
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from tests.planted.forecasters import Forecaster, true_forecaster
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted


def found_on(subject: Subject, bars: Bars, **rivals: Subject) -> Measured:
    folds = anchored_folds(len(bars), first_test=len(bars) // 3, count=2, gap=2)
    context = Context(bars=bars, folds=folds, seed=5, challengers=rivals)
    return measure(ForecastComparison(), subject, context)


def noisy(seed: int, name: str, null: str) -> Forecaster:
    path = process(null, seed, 900)
    noise = random_stream(seed, name).standard_normal(900)
    return true_forecaster(replace(path, volatility=path.volatility * np.exp(0.2 * noise)))


@pytest.mark.parametrize("null", NULLS)
def test_equally_good_forecasts_are_called_worse_as_often_as_the_level_says(null: str) -> None:
    said = []
    for seed in range(80):
        bars = process(null, seed, 900).bars()
        found = found_on(noisy(seed, "a", null), bars, rival=noisy(seed, "b", null))
        said.append(found.value("adjusted_probability", rival="rival"))
    assert (np.array(said) <= 0.05).mean() < 0.13


def test_the_truth_beats_what_ignores_it_and_not_the_reverse() -> None:
    path = process("GARCH", 3, 3000)
    truth = true_forecaster(path)
    blind = Scripted(np.ones(3001), regime=np.zeros(3001, dtype=int))
    good = found_on(truth, path.bars(), blind=blind)
    assert good.find("loss_difference", loss="qlike", rival="constant").interval.high < 0.0  # type: ignore[union-attr]
    assert good.value("adjusted_probability", rival="blind") == 1.0
    bad = found_on(blind, path.bars(), truth=truth)
    assert bad.value("adjusted_probability", rival="truth") < 0.05
    assert bad.value("dm_probability", loss="qlike", rival="truth") < 0.01
    assert "the same" in bad.find("adjusted_probability", rival="constant").reason
    assert "constant" in bad.find("mean_probability").reason


def test_a_mean_that_says_something_is_found() -> None:
    path = process("AR(1)", 3, 1500)
    assert found_on(true_forecaster(path), path.bars()).value("mean_probability") < 0.01


def test_a_regime_model_is_told_by_which_law_it_is_judged() -> None:
    bars = regime_switching_bars(9, 1500)
    found = found_on(VolatilityRegime(), bars)
    evidence = found.find("loss_difference", loss="qlike", rival="constant")
    assert "forecasts no volatility" in evidence.note
    assert evidence.value is not None
    assert evidence.value < 0.0
    (table,) = found.exhibits
    assert table.columns[0].values == ("model", "constant", "ewma")
    assert found.digests == found_on(VolatilityRegime(), bars).digests


class Failing(Scripted):
    """A rival that cannot answer."""

    def fit(self, bars: Bars, *, seed: int) -> Failing:
        return self

    def signals(self, bars: Bars) -> Signals:
        raise ValueError("planted")


def test_a_rival_that_fails_is_recorded_and_the_others_compared() -> None:
    path = process("iid", 1, 900)
    found = found_on(true_forecaster(path), path.bars(), broken=Failing(np.ones(901)))
    evidence = found.find("adjusted_probability", rival="broken")
    assert evidence.status == "errored"
    assert "planted" in evidence.reason
    assert found.find("adjusted_probability", rival="ewma").status == "measured"


@pytest.mark.parametrize("wrong", [{"level": 0.5}, {"decay": 1.0}, {"confidence": 0.2}])
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        ForecastComparison(**wrong)
