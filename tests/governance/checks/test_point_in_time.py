"""The instrument is silent on causal subjects and loud on each planted leak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.subject import Capability
from governance.alterations import ALTERATIONS
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.checks.point_in_time import PointInTime
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted import leaks
from tests.planted.defects import planted
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

CHECK = PointInTime()


@pytest.fixture(scope="module")
def bars() -> Bars:
    """700 bars with a single crash of 12 % in the last fold's test."""
    calm = regime_switching_bars(5, 700)
    factor = np.where(np.arange(700) >= 640, 0.88, 1.0)
    prices = {name: getattr(calm, name) * factor for name in ("open", "high", "low", "close")}
    return calm.with_values(None, **prices)


@pytest.fixture
def context(bars: Bars) -> Context:
    return context_of(bars)


@pytest.fixture(scope="module")
def leaking(bars: Bars) -> Callable[[str], Measured]:
    """What was measured of each defect, once."""
    return cache(lambda name: measure(CHECK, planted(name), context_of(bars)))


@pytest.mark.parametrize("continuous", [False, True])
def test_quiet_on_a_causal_subject_and_repeatable(context: Context, continuous: bool) -> None:
    subject = VolatilityRegime(continuous=continuous)
    found = measure(CHECK, subject, context)
    assert {e.value for e in found} == {0.0}
    assert found.find("changed_rows").self_check is not None
    assert found.find("changed_rows").self_check.holds  # type: ignore[union-attr]
    cuts = found.find("leaking_cuts_share")
    assert cuts.n == len(ALTERATIONS) + 4 * 16
    assert cuts.interval is not None
    assert 0.0 < cuts.interval.high < 0.06
    assert found.digests == measure(CHECK, subject, context).digests


@pytest.mark.parametrize(
    "defect",
    [
        "next_return",
        "next_return_on_fridays",
        "next_crash",
        "next_volume",
        "next_range",
        "smoothed_regime",
        "scaler_of_the_sample",
        "bars_to_come",
    ],
)
def test_loud_on_signals_that_know_the_future(
    leaking: Callable[[str], Measured], defect: str
) -> None:
    found = leaking(defect)
    assert found.value("failed_calls") == 0
    assert found.value("changed_rows") > 0
    assert found.value("leaking_cuts_share") > 0
    table = found.exhibits[0]
    assert any(value != "none" for value in table.columns[-1].values)


def test_reach_tells_how_far_a_leak_looks_ahead(leaking: Callable[[str], Measured]) -> None:
    assert leaking("next_return").value("reach_bars") == 1
    assert leaking("smoothed_regime").value("reach_bars") == 5
    assert leaking("scaler_of_the_sample").value("reach_bars") > 300


def test_alterations_tell_what_a_leak_reads(leaking: Callable[[str], Measured]) -> None:
    volume = leaking("next_volume")
    assert volume.value("changed_rows", alteration="volume") > 0
    assert volume.value("changed_rows", alteration="range") == 0
    spread = leaking("next_range")
    assert spread.value("changed_rows", alteration="range") > 0
    assert spread.value("changed_rows", alteration="volume") == 0
    end = leaking("bars_to_come")
    assert end.value("changed_rows", alteration="truncation") > 0
    assert end.value("changed_rows", alteration="noise") == 0
    assert end.value("max_position_change") == 1
    assert leaking("smoothed_regime").value("max_position_change") == 0


def test_a_leak_through_remembered_histories_is_found_in_fit(context: Context) -> None:
    found = measure(CHECK, planted("leak_in_training"), context)
    assert found.value("changed_rows") == 0
    assert found.value("refit_changed_rows") > 0


def test_a_leak_through_data_looked_up_by_date_is_found_in_fit(
    context: Context, bars: Bars
) -> None:
    found = measure(CHECK, leaks.LooksUpByDate(panel=bars), context)
    assert found.value("changed_rows") == 0
    assert found.value("refit_changed_rows") == 0
    assert found.value("anonymous_changed_rows", through="fit") > 0


def test_signals_looked_up_by_date_are_found(context: Context) -> None:
    found = measure(CHECK, planted("dates"), context)
    assert found.value("changed_rows") == 0
    assert found.value("anonymous_changed_rows") > 0


def test_foresight_looked_up_by_close_is_found_at_another_price_level(
    context: Context, bars: Bars
) -> None:
    found = measure(CHECK, leaks.LooksUpByClose(panel=bars), context)
    for blind in ("changed_rows", "refit_changed_rows", "anonymous_changed_rows", "failed_calls"):
        assert found.value(blind) == 0
    for where in ({}, {"names": "withheld"}):
        assert found.value("rescaled_changed_rows", **where) > 100
        assert found.value("rescaled_max_position_change", **where) == 1.0


def test_foresight_by_close_or_else_by_date_is_found_once_both_are_withheld(
    context: Context, bars: Bars
) -> None:
    found = measure(CHECK, leaks.LooksUpByClose(panel=bars, or_date=True), context)
    assert found.value("anonymous_changed_rows") == 0
    assert found.value("rescaled_changed_rows") == 0
    assert found.value("rescaled_changed_rows", names="withheld") > 100


def test_inputs_that_depend_on_the_price_level_show_there_alone(context: Context) -> None:
    found = measure(CHECK, planted("price_level"), context)
    loud = {e.metric for e in found if e.value}
    assert loud == {"rescaled_changed_rows", "rescaled_max_position_change"}


@pytest.mark.parametrize("seed", range(6))
def test_a_threshold_that_equals_a_training_value_is_quiet_at_another_level(
    bars: Bars, seed: int
) -> None:
    # 622 rows of training leave 601 volatilities: their 80 % quantile is one of them.
    context = context_of(bars, seed=seed, first_test=624, folds=1)
    assert context.last_fold.train_end == 622
    found = measure(PointInTime(windows=0), VolatilityThreshold(), context)
    assert found.value("rescaled_changed_rows") == 0
    assert found.value("rescaled_changed_rows", names="withheld") == 0


def test_only_the_end_of_a_long_sample_is_rescaled(context: Context) -> None:
    found = measure(PointInTime(rescaled_bars=200), planted("price_level"), context)
    rescaled = found.find("rescaled_changed_rows")
    assert rescaled.n == 200 + VolatilityRegime().card.warmup_bars
    assert rescaled.window.end == context.bars.index[-1].isoformat()
    assert rescaled.window.start == context.bars.index[-rescaled.n].isoformat()
    quiet = measure(PointInTime(rescaled_bars=200), VolatilityRegime(continuous=True), context)
    assert quiet.value("rescaled_changed_rows") == 0


def test_a_model_that_refuses_altered_bars_is_counted(context: Context) -> None:
    found = measure(CHECK, planted("fails_on_jumps"), context)
    assert found.value("failed_calls") > 0
    refused = found.find("changed_rows", alteration="scale")
    assert refused.status == "errored"
    assert "ValueError: planted" in refused.reason
    assert found.value("changed_rows") == 0


def test_unsteady_signals_show_in_the_self_check(context: Context) -> None:
    found = measure(CHECK, planted("restless_answers"), context)
    check = found.find("changed_rows").self_check
    assert check is not None
    assert not check.holds


def test_without_refit_training_is_not_measured(context: Context) -> None:
    sound = VolatilityRegime()
    subject = replace(sound, capabilities=sound.capabilities - {Capability.REFIT})
    found = measure(CHECK, subject, context)
    skipped = found.find("refit_changed_rows")
    assert (skipped.status, skipped.reason) == ("skipped", "the subject does not declare refit")
    assert found.value("changed_rows") == 0


def test_small_samples_are_measured_too() -> None:
    bars = regime_switching_bars(2, 130)
    found = measure(CHECK, VolatilityRegime(), context_of(bars, first_test=80))
    assert found.value("changed_rows") == 0
    assert found.value("refit_changed_rows") == 0
