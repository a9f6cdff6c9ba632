"""Models that decide nothing, hold in crashes or trade themselves poor are found; others not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.challengers.hidden_markov import HiddenMarkov
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.checks.decisions import Decisions
from governance.policy import load_policy
from governance.selftest import outcomes
from governance.selftest.sound import market
from governance.splits import anchored_folds
from governance.statistics.out_of_sample import out_of_sample
from tests.planted.measurements import Measured, measure

CHECK = Decisions(starts=12, draws=100)
DEFECTS = {one.name: one for one in outcomes.DEFECTS}


def context_of(seed: int = 3) -> Context:
    bars = market(seed)
    folds = anchored_folds(len(bars), first_test=600, count=2, gap=5)
    return Context(bars=bars, folds=folds, seed=seed)


def planted(name: str, base: Subject | None = None) -> Measured:
    return measure(CHECK, DEFECTS[name].plant(base or VolatilityThreshold()), context_of())


def breached(found: Measured) -> set[str]:
    findings = load_policy("baseline").judge(found.evidence).findings
    return {
        one.rule.partition(".")[2]
        for one in findings
        if one.check == "decisions" and one.verdict == "fail" and one.severity == "high"
    }


@pytest.mark.parametrize("seed", [3, 6])
@pytest.mark.parametrize("kind", [VolatilityThreshold, HiddenMarkov])
def test_sound_models_are_left_alone_and_leave_crashes(kind: type, seed: int) -> None:
    found = measure(CHECK, kind(), context_of(seed))
    assert not breached(found)
    assert found.value("crashes_held") == found.value("bolder_in_crash") == 0.0


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("always_long", {"decides", "acts_on_stress", "less_in_stress"}),
        ("token_decisions", {"acts_on_stress", "less_in_stress"}),
        ("missed_crash", {"acts_on_stress", "steady_in_crash"}),
        ("blind_in_crash", {"steady_in_crash"}),
        ("risk_on_in_crisis", {"less_in_stress"}),
        ("trades_every_turn", {"worth_its_price"}),
    ],
)
def test_each_defect_is_found_for_what_it_is(name: str, rules: set[str]) -> None:
    assert rules <= breached(planted(name))


def test_nothing_is_said_of_a_crash_that_meets_no_exposure() -> None:
    class Out(VolatilityThreshold):
        def signals(self, bars):  # type: ignore[no-untyped-def]
            signals = super().signals(bars)
            return replace(signals, position=np.zeros(len(bars)))

    found = measure(CHECK, Out(), context_of())
    assert found.value("distinct_exposures") == 1.0
    assert breached(found) == {"decides"}
    assert "fewer than 5" in found.find("crashes_held").reason
    assert "nothing is held" in found.find("exposure_in_stress").reason
    assert "nothing is traded" in found.find("break_even_sharpe").reason


def test_the_price_of_trading_is_costs_over_risk() -> None:
    subject, context = DEFECTS["trades_every_turn"].plant(HiddenMarkov()), context_of()
    tested = out_of_sample(subject, context)
    year = tested.bars.bars_per_year
    paid = context.cost_bps * 1e-4 * tested.traded.mean() * year
    risk = tested.gross.std(ddof=1) * year**0.5
    assert measure(CHECK, subject, context).value("break_even_sharpe") == pytest.approx(
        paid / risk, rel=0.02
    )


def test_the_same_seed_says_the_same_and_parameters_are_checked() -> None:
    first, again = (measure(CHECK, VolatilityThreshold(), context_of()) for _ in range(2))
    assert first.digests == again.digests
    with pytest.raises(InputError, match="decisions cannot use"):
        Decisions(starts=0)
