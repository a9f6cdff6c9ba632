"""Calibration: quiet where probabilities are right, loud on overconfidence and inversion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.nulls import NULLS, Process, process
from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.calibration import Calibration
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.statistics.calibration import realised_volatility
from tests.planted.forecasters import Forecaster, constant_forecaster, true_forecaster
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted

QUICK = Calibration(draws=99)


def found_on(subject: Subject, bars: Bars, check: Calibration = QUICK) -> Measured:
    folds = anchored_folds(len(bars), first_test=len(bars) // 3, count=2, gap=2)
    return measure(check, subject, Context(bars=bars, folds=folds, seed=5))


@pytest.mark.parametrize("null", NULLS)
def test_true_forecasts_are_rejected_as_often_as_the_level_says(null: str) -> None:
    said = []
    for seed in range(25):
        path = process(null, seed, 700)
        found = found_on(true_forecaster(path), path.bars())
        said.append(
            [
                found.value("adjusted_probability", family=family, forecast="given")
                for family in ("uniformity", "independence")
            ]
        )
        ratio = found.find("variance_ratio").interval
        assert ratio is not None
        assert ratio.low < 1.4
    # 25 times 2 families: 2.5 expected at 5 %.
    assert (np.array(said) <= 0.05).sum() <= 8


def test_clustering_that_a_forecast_ignores_is_found() -> None:
    path = process("GARCH", 3, 3000)
    found = found_on(constant_forecaster(path), path.bars())
    assert found.value("adjusted_probability", family="independence", forecast="given") <= 0.04
    assert found.value("spread_dependence_probability", forecast="given") == 0.01
    assert found.value("adjusted_probability", family="uniformity", forecast="given") > 0.05


def test_overconfidence_shows_in_the_variance_ratio() -> None:
    path = process("GARCH", 3, 1500)
    sure = replace(path, volatility=0.5 * path.volatility)
    ratio = found_on(true_forecaster(sure), path.bars()).find("variance_ratio")
    assert ratio.value == pytest.approx(4.0, rel=0.2)
    assert ratio.interval is not None
    assert ratio.interval.low > 3.0


def test_a_law_that_no_longer_holds_is_found() -> None:
    path = process("iid", 4, 1500)
    wilder = Process(
        np.where(np.arange(1500) < 500, 1.0, 3.0) * path.returns, path.mean, path.volatility
    )
    found = found_on(true_forecaster(wilder), wilder.bars())
    assert found.value("interval_coverage", level="0.8", forecast="given") < 0.5
    assert found.value("adjusted_probability", family="uniformity", forecast="given") < 0.05


@pytest.mark.parametrize("null", NULLS)
def test_conformal_intervals_of_a_true_forecast_hold_what_they_say(null: str) -> None:
    path = process(null, 11, 2400)
    found = found_on(true_forecaster(path), path.bars())
    for level in ("0.5", "0.8", "0.95"):
        for method in ("split", "adaptive"):
            where = {"level": level, "method": method, "forecast": "given"}
            assert found.value("conformal_coverage", **where) == pytest.approx(
                float(level), abs=0.045
            )
        residual = found.find("conformal_coverage", **where).self_check
        assert residual is not None
        assert residual.holds
    split = found.value("interval_coverage", level="0.8", forecast="given")
    where = {"level": "0.8", "method": "split", "forecast": "given"}
    assert found.value("conformal_coverage", **where) == split


def test_adaptive_intervals_keep_their_share_where_split_ones_lose_it() -> None:
    path = process("iid", 4, 2400)
    growing = np.where(np.arange(2400) < 1000, 1.0, 2.5)
    wilder = Process(growing * path.returns, path.mean, path.volatility)
    found = found_on(true_forecaster(wilder), wilder.bars())

    def of(metric: str, method: str) -> float:
        return found.value(metric, level="0.8", method=method, forecast="given")

    assert of("conformal_coverage", "split") < 0.6
    assert of("conformal_coverage", "adaptive") == pytest.approx(0.8, abs=0.05)
    assert of("conformal_width", "adaptive") > 1.5 * of("conformal_width", "split")
    assert of("conformal_worst_window", "split") < of("conformal_worst_window", "adaptive")


def seer(bars: Bars, sign: float) -> Forecaster:
    ahead = realised_volatility(bars.returns(), 21)
    typical = np.nanquantile(ahead, 0.75)
    probability = 0.5 + sign * np.where(np.nan_to_num(ahead) > typical, 0.4, -0.4)
    return Forecaster({"position": np.ones(len(bars)), "stress_probability": probability})


def test_storms_foreseen_and_storms_inverted() -> None:
    bars = process("GARCH", 5, 2000).bars()
    good, bad = (found_on(seer(bars, sign), bars) for sign in (1.0, -1.0))
    assert good.value("brier_skill") > 0.5
    assert good.find("discrimination").interval.low > 0.5  # type: ignore[union-attr]
    assert bad.value("brier_skill") < -1.0
    assert bad.find("discrimination").interval.high < 0.0  # type: ignore[union-attr]
    parts = [good.value(name) for name in ("reliability", "resolution", "uncertainty")]
    assert parts[0] - parts[1] + parts[2] == pytest.approx(good.value("brier_score"), abs=1e-9)


def test_a_regime_model_is_told_by_which_law_it_is_judged() -> None:
    bars = regime_switching_bars(9, 1200)
    found = found_on(VolatilityRegime(), bars)
    assert "forecasts no volatility" in found.find("uniformity_distance", forecast="implied").note
    assert found.find("variance_ratio").status == "skipped"
    assert found.value("discrimination") > 0.0
    assert {exhibit.name for exhibit in found.exhibits} == {"ranks", "reliability", "conformal"}
    assert found.digests == found_on(VolatilityRegime(), bars).digests


def test_without_probabilities_or_training_the_reason_is_given() -> None:
    bars = process("iid", 1, 700).bars()
    found = found_on(Scripted(np.ones(701)), bars)
    assert "no stress probability" in found.find("brier_skill").reason
    short = measure(
        QUICK,
        Scripted(np.ones(701), regime=np.zeros(701, dtype=int)),
        Context(bars=bars, folds=anchored_folds(701, first_test=90, count=1, gap=2), seed=1),
    )
    assert "training returns" in short.find("adjusted_probability").reason
    assert short.value("brier_score") > 0.0


@pytest.mark.parametrize(
    "wrong",
    [{"intervals": (1.0,)}, {"intervals": ()}, {"draws": 10}, {"horizon": 1},
     {"storm_quantile": 1.0}, {"adaptation": 0.0}],
)  # fmt: skip
def test_impossible_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Calibration(**wrong)  # type: ignore[arg-type]
