"""What a result hangs on is named: seed, training window, digits, rows, delay, cost."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.subject import Capability, Subject
from governance.challengers.buy_and_hold import BuyAndHold
from governance.challengers.hidden_markov import HiddenMarkov
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context, Skip
from governance.checks.sensitivity import Sensitivity
from governance.policy import load_policy
from governance.record import Evidence
from governance.splits import anchored_folds
from governance.statistics.joint_sensitivity import FACTORS
from tests.planted import fragile
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, seer

CHECK = Sensitivity(seeds=2, draws=200, trajectories=6)


def context_of(bars: Bars, cost: float = 5.0) -> Context:
    folds = anchored_folds(len(bars), first_test=len(bars) // 2, count=2, gap=2)
    return Context(bars=bars, folds=folds, seed=5, cost_bps=cost)


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(3, 1000)


def breached(found: Measured) -> set[str]:
    findings = load_policy("baseline").judge(found.evidence).findings
    mine = [one for one in findings if one.check == "sensitivity" and one.verdict == "fail"]
    assert all(one.severity in ("moderate", "low") for one in mine)
    return {one.rule.partition(".")[2] for one in mine}


@pytest.mark.parametrize("kind", [VolatilityThreshold, BuyAndHold, HiddenMarkov])
def test_sound_models_are_left_alone(kind: type, bars: Bars) -> None:
    assert not breached(measure(CHECK, kind(), context_of(bars)))


@pytest.mark.parametrize(
    ("decide", "rule"),
    [
        (fragile.by_seed, "seeds"),
        (fragile.by_training_end, "training_window"),
        (fragile.by_last_digits, "noise"),
        (fragile.by_row, "faulty_bar"),
    ],
)
def test_what_a_decision_hangs_on_is_named(decide: fragile.Decide, rule: str, bars: Bars) -> None:
    assert rule in breached(measure(CHECK, fragile.Fragile(decide), context_of(bars)))


def test_a_value_that_a_model_was_tuned_to_is_named(bars: Bars) -> None:
    tuned = fragile.Tuned(script=np.append(seer(bars, steps=2).position, np.zeros(5)))
    found = measure(CHECK, tuned, context_of(bars))
    assert "hyper_peak" in breached(found)
    assert found.value("hyper_peak", parameter="window") > 1.0
    assert found.value("hyper_sharpe_change", parameter="window", step="lower") < -1.0
    assert found.find("hyper_position_change", parameter="window", step="lower").note == "20 to 16"
    table = next(one for one in found.exhibits if one.name == "hyper_parameters")
    assert table.columns[0].values[0] == "window"


def test_values_that_are_refused_or_beyond_the_budget_are_told(bars: Bars) -> None:
    tuned = fragile.Tuned(script=np.tile([1.0, 1.0, 0.0], 400), gain=1.75)
    found = measure(CHECK, tuned, context_of(bars))

    def of(parameter: str, step: str) -> Evidence:
        return found.find("hyper_position_change", parameter=parameter, step=step)

    assert "no step to take" in of("offset", "lower").reason
    assert "below two is needed" in of("gain", "higher").reason
    assert of("gain", "lower").status == "errored"
    assert "ZeroDivisionError" in of("gain", "lower").reason
    assert "higher" in found.find("hyper_peak", parameter="gain").reason
    one = measure(replace(CHECK, hyper_refits=1), tuned, context_of(bars))
    late = one.find("hyper_sharpe_change", parameter="window", step="higher")
    assert "budget of 1 refits" in late.reason
    assert one.find("hyper_sharpe_change", parameter="window", step="lower").value is not None


def test_refusals_in_training_and_digests_that_do_not_tell_are_told(bars: Bars) -> None:
    tuned = fragile.Tuned(script=np.tile([1.0, 1.0, 0.0], 400))
    found = measure(CHECK, tuned, context_of(bars))
    gain = found.find("hyper_position_change", parameter="gain", step="lower")
    assert (gain.status, "cannot be trained" in gain.reason) == ("skipped", True)
    assert found.value("hyper_position_change", parameter="gain", step="higher") == 0.0

    class Same(fragile.Tuned):
        digest = "0" * 64

    mute = measure(CHECK, Same(script=np.tile([1.0, 1.0, 0.0], 400)), context_of(bars))
    window = mute.find("hyper_position_change", parameter="window", step="lower")
    assert window.status == "errored"
    assert "digest" in window.reason


@pytest.mark.parametrize(
    ("subject", "check", "reason"),
    [
        (fragile.Fragile(), CHECK, "does not declare"),
        (VolatilityThreshold(), replace(CHECK, hyper_refits=0), "were asked for"),
    ],
)
def test_without_hyper_parameters_the_reason_is_given(
    subject: Subject, check: Sensitivity, reason: str, bars: Bars
) -> None:
    found = measure(check, subject, context_of(bars))
    for metric in ("hyper_position_change", "hyper_sharpe_change", "hyper_peak"):
        assert reason in found.find(metric).reason


def test_a_neighbour_is_the_model_built_with_that_value(bars: Bars) -> None:
    """Recomputed with the challenger built by hand."""
    context = context_of(bars)
    fold = context.last_fold
    train, whole = bars.rows(0, fold.train_end), bars.rows(0, fold.test_end)
    plain, other = (
        VolatilityThreshold(window).fit(train, seed=5).signals(whole).position[fold.test_start :]
        for window in (21, 25)
    )
    found = measure(CHECK, VolatilityThreshold(), context)
    where = {"parameter": "window_bars", "step": "higher"}
    assert found.find("hyper_position_change", **where).note == "21 to 25"
    assert found.value("hyper_position_change", **where) == np.abs(plain - other).mean()


def test_shares_of_variance_are_given_where_asked_for(bars: Bars) -> None:
    pytest.importorskip("SALib")
    sobol = replace(CHECK, method="sobol", base_points=64, hyper_refits=0)
    found = measure(sobol, VolatilityThreshold(), context_of(bars))
    first = {name: found.value("sobol_first", factor=name) for name in FACTORS}
    total = {name: found.value("sobol_total", factor=name) for name in FACTORS}
    assert sum(first.values()) == pytest.approx(1.0, abs=0.3)
    assert max(total, key=lambda name: total[name]) == max(first, key=lambda name: first[name])
    assert found.find("sobol_total", factor="cost").interval is not None
    assert [one.name for one in found.exhibits] == ["tornado", "variance_shares"]
    morris = [one for one in found if one.metric.startswith("morris")]
    assert {one.status for one in morris} == {"skipped"}
    flat = measure(sobol, Scripted(np.zeros(1010)), context_of(bars))
    assert "not finite" in flat.find("sobol_total").reason


def test_a_seer_of_one_moment_loses_by_delay_and_a_restless_one_by_cost(bars: Bars) -> None:
    known = Scripted(np.append(seer(bars, steps=2).position, np.zeros(5)))
    found = measure(CHECK, known, context_of(bars))
    assert {"delay", "cost"} <= breached(found)
    assert found.value("sharpe_retained", factor="delay + 1") < 0.2
    twice = found.value("sharpe_change", factor="cost x 2")
    thrice = found.value("sharpe_change", factor="cost x 3")
    assert thrice < twice < -0.2


def test_costs_and_delays_are_those_of_the_ledger(bars: Bars) -> None:
    """Recomputed by hand from positions and returns."""
    position = np.tile([1.0, 1.0, 0.0, 0.0], 255)
    context = context_of(bars, cost=10.0)
    found = measure(CHECK, Scripted(position), context)
    moves = bars.returns()[500:]

    def ratio(delay: int, cost: float) -> float:
        held = np.concatenate([np.zeros(delay), position[500:1000]])[: len(moves)]
        net = held * moves - np.abs(np.diff(held, prepend=0.0)) * cost / 1e4
        counted = net[3:]  # one bar of delay, and the two more that the latest trade waits
        return float(counted.mean() / counted.std(ddof=1) * np.sqrt(252.0))

    base = ratio(1, 10.0)
    for name, delay, cost in (("cost x 2", 1, 20.0), ("delay + 1", 2, 10.0)):
        value = found.value("sharpe_change", factor=name)
        assert value == pytest.approx(ratio(delay, cost) - base, abs=1e-12)


def test_without_refit_or_seeds_refits_are_not_assessed(bars: Bars) -> None:
    fixed = fragile.Fragile(capabilities=frozenset[Capability]())
    found = measure(CHECK, fixed, context_of(bars))
    assert "does not declare refit" in found.find("seed_position_change").reason
    none = measure(Sensitivity(seeds=0, draws=100), fragile.Fragile(), context_of(bars))
    assert "no other seeds" in none.find("seed_sharpe_spread").reason


def test_without_salib_the_joint_part_says_how_to_install_it(
    bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "SALib.sample", None)
    monkeypatch.setitem(sys.modules, "SALib.analyze", None)
    found = measure(CHECK, fragile.Fragile(), context_of(bars))
    assert "sensitivity" in found.find("morris_effect").reason


def test_a_model_that_cannot_answer_a_faulty_bar_is_still_measured(bars: Bars) -> None:
    """A script has no row for a bar that came twice."""
    found = measure(CHECK, Scripted(np.tile([1.0, 0.0], 500)), context_of(bars))
    assert found.find("fault_position_change", bar="repeated").status == "errored"
    assert found.find("fault_position_change", bar="missing").status == "measured"
    assert found.find("sharpe_change", factor="cost x 2").status == "measured"


def test_joint_effects_agree_with_single_ones(bars: Bars) -> None:
    pytest.importorskip("SALib")
    found = measure(CHECK, VolatilityThreshold(), context_of(bars))
    # Cost acts nearly linearly and alone: its whole range is the step from one to three times.
    single = found.value("sharpe_change", factor="cost x 3")
    assert found.value("morris_effect", factor="cost") == pytest.approx(-single, rel=0.35)
    assert [one.name for one in found.exhibits] == [
        "hyper_parameters",
        "tornado",
        "screening",
    ]
    again = measure(CHECK, VolatilityThreshold(), context_of(bars))
    assert found.digests == again.digests


def test_what_earns_nothing_has_no_ratio_and_short_tests_are_skipped(bars: Bars) -> None:
    found = measure(CHECK, Scripted(np.zeros(1010)), context_of(bars))
    assert "do not vary" in found.find("sharpe_change", factor="cost x 2").reason
    with pytest.raises(Skip, match="too few"):
        list(CHECK.measure(BuyAndHold(), context_of(bars.rows(0, 180))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 21},
        {"noise_bps": 0.0},
        {"trajectories": 2},
        {"draws": 9},
        {"faults": 0},
        {"hyper_refits": -1},
        {"hyper_step": 1.0},
        {"base_points": 100},
        {"method": "fast"},
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Sensitivity(**wrong)  # type: ignore[arg-type]
