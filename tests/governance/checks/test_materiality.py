"""The check as an instrument: exact on every pair of tiers, silent where nothing is stated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from governance.check import Context, Skip
from governance.checks.materiality import Materiality
from governance.policy import load_policy
from governance.record import Evidence, Exhibit
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.tiers import LEVELS, MaterialityRef
from tests.planted.markets import regime_switching_bars

BARS = regime_switching_bars(1, n=300)
CONTEXT = Context(bars=BARS, folds=anchored_folds(300, first_test=200, count=2, gap=5), seed=1)


def measure(tier: str, declared: str):
    found = MaterialityRef(tier=tier, exposure="low", purpose="advice", declared=declared)
    items = Materiality().measure(VolatilityRegime(), replace(CONTEXT, materiality=found))
    evidence, exhibit = items
    assert isinstance(evidence, Evidence)
    assert isinstance(exhibit, Exhibit)
    return evidence, exhibit


@pytest.mark.parametrize("tier", LEVELS)
@pytest.mark.parametrize("declared", LEVELS)
def test_it_counts_the_tiers_by_which_the_card_understates(tier, declared):
    evidence, exhibit = measure(tier, declared)
    assert evidence.value == max(0, LEVELS.index(tier) - LEVELS.index(declared))
    assert dict(zip(*(c.values for c in exhibit.columns), strict=True))["Tier"] == tier
    verdicts = {
        finding.rule: finding.verdict
        for finding in load_policy("baseline").judge([evidence]).findings
    }
    assert verdicts["materiality.declared"] == ("fail" if evidence.value else "pass")


def test_the_finding_says_both_tiers():
    evidence, _ = measure("high", "low")
    (finding,) = (
        finding
        for finding in load_policy("baseline").judge([evidence]).findings
        if finding.rule == "materiality.declared"
    )
    assert "derived high, declared low" in finding.statement
    assert finding.severity == "moderate"


def test_nothing_stated_is_not_assessed():
    with pytest.raises(Skip, match="neither exposure nor purpose"):
        list(Materiality().measure(VolatilityRegime(), CONTEXT))
