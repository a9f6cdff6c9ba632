"""Drift as an instrument: quiet on one law, loud and with the right sign on a planted shift."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Capability
from finchaos.features.schema import load_schema
from governance.check import Skip
from governance.checks.drift import Drift
from governance.selftest.volatility_regime import CARD, VolatilityRegime
from governance.statistics.two_sample import DISTANCES, distances
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

CHECK = Drift(draws=200)
FIRST_TEST = 2000


def market(seed: int, volatility_factor: float = 1.0, drift: float = 0.0) -> Bars:
    """A planted market whose test rows have other volatility and drift than its training rows."""
    bars = regime_switching_bars(seed, 2500)
    logs = np.log(np.stack([bars.open, bars.high, bars.low, bars.close]))
    before = np.concatenate([logs[3, :1], logs[3, :-1]])
    factor = np.where(np.arange(len(bars)) >= FIRST_TEST, volatility_factor, 1.0)
    added = np.where(np.arange(len(bars)) >= FIRST_TEST, drift, 0.0)
    moves = (logs - before) * factor + added
    close = logs[3, 0] + np.cumsum(moves[3])
    start = np.concatenate([logs[3, :1], close[:-1]])
    prices = np.exp(start + moves)
    # A shift of the whole bar leaves its range where it was relative to open and close.
    return bars.with_values(open=prices[0], high=prices[1], low=prices[2], close=prices[3])


@cache
def run(seed: int, volatility_factor: float = 1.0, drift: float = 0.0) -> Measured:
    bars = market(seed, volatility_factor, drift)
    return measure(CHECK, VolatilityRegime(), context_of(bars, first_test=FIRST_TEST, folds=1))


def test_quiet_on_one_law() -> None:
    seeds = range(20, 32)
    beyond = [run(seed).value("share_beyond_null") for seed in seeds]
    joint = [run(seed).value("joint_excess", panel="inputs") > 1.0 for seed in seeds]
    # Stated 5 %; twelve markets.
    assert np.mean(beyond) < 0.15
    assert sum(joint) <= 2


def test_loud_on_a_volatility_shift_with_direction() -> None:
    found = run(20, volatility_factor=5.0)
    for feature in ("absolute_return", "log_range"):
        where = {"panel": "inputs", "feature": feature}
        for name in DISTANCES:
            assert found.value(f"{name}_excess", **where) > 1.0, name
        assert found.value("shift_direction", **where) > 0.5
    assert found.value("joint_excess", panel="inputs") > 1.0
    assert found.value("share_beyond_null", panel="inputs") == 1.0
    calm, stressed = (run(20, v).value for v in (1.0, 5.0))
    where = {"panel": "inputs", "feature": "log_return"}
    assert stressed("scale_shift", **where) - calm("scale_shift", **where) == pytest.approx(
        np.log(5.0), abs=0.01
    )
    lower = run(20, volatility_factor=1 / 5)
    assert lower.value("shift_direction", panel="inputs", feature="log_range") < -0.5
    assert lower.value("joint_excess", panel="inputs") > 1.0


def test_latents_and_outputs_see_it_too() -> None:
    found = run(20, volatility_factor=5.0)
    assert found.value("shift_direction", panel="latents", feature="latent_0") > 0.5
    assert found.value("psi_excess", panel="latents", feature="latent_0") > 1.0
    assert found.value("shift_direction", panel="outputs", feature="stress_probability") > 0.5
    assert found.value("shift_direction", panel="outputs", feature="position") < 0.0


def test_values_are_those_of_training_and_test_rows() -> None:
    bars = market(21)
    context = context_of(bars, first_test=FIRST_TEST, folds=1)
    found = run(21)
    fold = context.last_fold
    moves = np.diff(np.log(bars.close), prepend=np.log(bars.close[0]))
    expected = distances(
        moves[CARD.warmup_bars : fold.train_end], moves[fold.test_start : fold.test_end]
    )
    where = {"panel": "inputs", "feature": "log_return"}
    for name in DISTANCES:
        assert found.value(name, **where) == pytest.approx(expected[name], rel=1e-12)
    evidence = found.find("psi", **where)
    assert evidence.n == fold.test_end - fold.test_start
    assert evidence.window == context.test_window(fold)


def test_self_checks_hold() -> None:
    checked = [e for e in run(20, volatility_factor=5.0) if e.self_check is not None]
    assert {e.metric for e in checked} == {"psi", "jensen_shannon"}
    assert all(e.self_check is not None and e.self_check.holds for e in checked)


def test_same_seed_same_numbers() -> None:
    bars = market(22)
    context = context_of(bars, first_test=FIRST_TEST, folds=1)
    again = measure(CHECK, VolatilityRegime(), context)
    assert again.digests == run(22).digests
    other = measure(
        CHECK, VolatilityRegime(), context_of(bars, first_test=FIRST_TEST, folds=1, seed=12)
    )
    where = {"panel": "inputs", "feature": "log_return"}
    assert other.value("psi", **where) == again.value("psi", **where)
    assert other.value("psi_excess", **where) != again.value("psi_excess", **where)


def test_inputs_are_the_schema_that_the_card_names() -> None:
    schema = load_schema("regime_v1")
    subject = VolatilityRegime(card=replace(CARD, feature_names=schema.names))
    bars = market(20, volatility_factor=5.0)
    found = measure(Drift(draws=100), subject, context_of(bars, first_test=FIRST_TEST, folds=2))
    features = {
        e.slice["feature"] for e in found if e.slice.get("panel") == "inputs" and len(e.slice) == 2
    }
    assert features == set(schema.names)
    assert found.value("shift_direction", panel="inputs", feature="log_range_vol") > 1.0


def test_exhibits_name_every_series_and_year() -> None:
    found = run(20, volatility_factor=5.0)
    by_name = {exhibit.name: exhibit for exhibit in found.exhibits}
    assert set(by_name) == {"psi", "series", "by_year"}
    assert by_name["psi"].columns[0].values == by_name["series"].columns[0].values
    years = [column.name for column in by_name["by_year"].columns[1:]]
    bars = market(20)
    assert years == sorted({str(stamp.year) for stamp in bars.index[FIRST_TEST:]})


@pytest.mark.parametrize("missing", [Capability.LATENTS, Capability.REFIT])
def test_capabilities_decide_what_is_said(missing: Capability) -> None:
    class Limited(VolatilityRegime):
        def signals(self, bars: Bars):  # type: ignore[no-untyped-def]
            full = super().signals(bars)
            return replace(full, latents=None) if missing is Capability.LATENTS else full

    subject = Limited(capabilities=VolatilityRegime().capabilities - {missing})
    found = measure(CHECK, subject, context_of(market(20), first_test=FIRST_TEST, folds=1))
    if missing is Capability.LATENTS:
        evidence = found.find("joint_excess", panel="latents")
        assert evidence.status == "skipped"
        assert "no latents" in evidence.reason
    else:
        assert {e.window.trained_until for e in found} == {""}


def test_a_series_that_was_constant_in_training() -> None:
    class Flat(VolatilityRegime):
        def signals(self, bars: Bars):  # type: ignore[no-untyped-def]
            position = np.where(np.arange(len(bars)) < FIRST_TEST + 100, 0.0, 1.0)
            return replace(super().signals(bars), position=position)

    found = measure(CHECK, Flat(), context_of(market(20), first_test=FIRST_TEST, folds=1))
    where = {"panel": "outputs", "feature": "position"}
    assert found.find("psi_excess", **where).status == "skipped"
    assert found.find("shift_direction", **where).reason == "constant in training"
    assert found.value("psi", **where) > 1.0
    assert found.value("share_beyond_null", panel="outputs") >= 0.5


def test_too_few_rows_are_refused() -> None:
    bars = regime_switching_bars(1, 130)
    with pytest.raises(Skip, match="too few rows outside warm-up"):
        measure(CHECK, VolatilityRegime(), context_of(bars, first_test=100, folds=1))


@pytest.mark.parametrize(
    "params", [{"bins": 1}, {"false_alarm_rate": 0.0}, {"false_alarm_rate": 0.001}, {"draws": 10}]
)
def test_refuses_impossible_parameters(params: dict[str, float]) -> None:
    with pytest.raises(InputError, match="drift cannot use"):
        Drift(**params)  # type: ignore[arg-type]
