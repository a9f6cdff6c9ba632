"""Materiality: the table, what a tier asks for, and packs whose table makes no sense."""

from __future__ import annotations

import copy
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from finchaos.core.errors import DocumentError
from governance.plan import DataPlan, Plan, SubjectPlan
from governance.policy import load_policy
from governance.tiers import LEVELS, PURPOSES, MaterialityPlan, TierTable

BASELINE = load_policy("baseline")
TIERS = BASELINE.document.tiers
assert TIERS is not None
RAW = TIERS.model_dump(mode="json")


def plan(**words):
    return Plan(
        name="p", subject=SubjectPlan(adapter="function"), data=DataPlan(source="x"), **words
    )


@pytest.mark.parametrize(
    ("stated", "exposure", "tier"),
    [
        ({"exposure_usd": 0, "purpose": "decision"}, "low", "medium"),
        ({"exposure_usd": 9_999_999.99, "purpose": "advice"}, "low", "low"),
        ({"exposure_usd": 10_000_000, "purpose": "advice"}, "medium", "medium"),
        ({"exposure_usd": 10_000_000, "purpose": "decision"}, "medium", "high"),
        ({"exposure_usd": 1e8, "purpose": "research"}, "high", "medium"),
        ({"exposure": "high", "purpose": "advice"}, "high", "high"),
        ({"exposure": "low", "purpose": "research"}, "low", "low"),
    ],
)
def test_a_tier_follows_from_the_published_table(stated, exposure, tier):
    found = BASELINE.derive(MaterialityPlan(**stated), "low")
    assert (found.exposure, found.tier, found.declared) == (exposure, tier, "low")
    assert found.exposure_usd == stated.get("exposure_usd")


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.sampled_from(PURPOSES))
def test_more_exposure_is_never_less_material(one, other, purpose):
    less, more = (
        LEVELS.index(TIERS.derive(MaterialityPlan(exposure_usd=x, purpose=purpose), "low").tier)
        for x in sorted((one, other))
    )
    assert less <= more


@pytest.mark.parametrize(
    "stated",
    [
        {"purpose": "advice"},
        {"purpose": "advice", "exposure": "low", "exposure_usd": 1},
        {"exposure": "low"},
        {"purpose": "gambling", "exposure": "low"},
        {"purpose": "advice", "exposure": "moderate"},
        {"purpose": "advice", "exposure_usd": -1},
        {"purpose": "advice", "exposure_usd": math.inf},
        {"purpose": "advice", "exposure_usd": math.nan},
    ],
)
def test_an_unclear_statement_is_refused(stated):
    with pytest.raises(ValidationError):
        MaterialityPlan(**stated)


def test_without_a_statement_nothing_changes():
    assert BASELINE.derive(None, "low") is None
    assert BASELINE.depth(None) is None
    assert BASELINE.at(None) is BASELINE
    assert plan().make_checks(None) == plan().make_checks({})


@pytest.mark.parametrize("tier", LEVELS)
def test_required_rules_block_where_they_could_not_be_assessed(tier):
    exposure = {"low": ("low", "research"), "medium": ("medium", "advice")}.get(
        tier, ("high", "decision")
    )
    found = BASELINE.derive(MaterialityPlan(exposure=exposure[0], purpose=exposure[1]), "high")
    assert found.tier == tier
    judged = BASELINE.at(found).judge([])
    blocking = {finding.rule for finding in judged.findings if finding.blocks}
    always = {rule for rule, it in BASELINE.rules.items() if it.when_not_assessed == "block"}
    assert blocking == always | set(TIERS.depth[tier].required)


def test_a_tier_deepens_the_checks_and_the_plan_may_go_deeper():
    depth = TIERS.depth["high"].checks
    (check,) = plan(checks={"walk_forward": {}}).make_checks(depth)
    assert check.draws == 5000
    (check,) = plan(checks={"walk_forward": {"draws": 6000, "fall": 0.2}}).make_checks(depth)
    assert (check.draws, check.fall) == (6000, 0.2)
    everything = {check.card.name: check for check in plan().make_checks(depth)}
    assert everything["kill_switch"].starts == 6
    assert everything["stress"].warmup_bars == 500


def test_a_plan_cannot_go_below_its_tier():
    with pytest.raises(DocumentError, match=r"draws of at least 5000.*999"):
        plan(checks={"walk_forward": {"draws": 999}}).make_checks(TIERS.depth["high"].checks)


def edited(change):
    raw = copy.deepcopy(RAW)
    change(raw)
    return raw


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw["table"].pop("low"), "every level"),
        (lambda raw: raw["table"]["low"].pop("advice"), "every level"),
        (lambda raw: raw["depth"].pop("high"), "needs each"),
        (lambda raw: raw["table"]["high"].update(decision="low"), "must not fall"),
        (lambda raw: raw["table"]["low"].update(research="high"), "must not fall"),
        (lambda raw: raw["exposure_usd"].update(high=5.0), "above that of 'medium'"),
        (lambda raw: raw["depth"]["high"]["checks"]["drift"].update(draws=3), "asks less"),
        (lambda raw: raw["depth"]["high"]["checks"].pop("luck"), "asks less"),
        (lambda raw: raw["depth"]["high"].update(required=[]), "does not require"),
        (lambda raw: raw["depth"]["low"]["checks"]["drift"].update(draws=0.5), "int"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        TierTable.model_validate(edited(change))


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ("checks: {walk_backward: {draws: 1}}", "unknown check 'walk_backward'"),
        ("checks: {walk_forward: {drows: 1}}", "no parameter 'drows'"),
        ('required: ["glory.*"]', "'glory.\\*', which matches no rule"),
    ],
)
def test_a_pack_whose_tiers_name_what_there_is_not_is_refused(tmp_path, depth, message):
    levels = "\n".join(
        f"    {level}: {{rationale: some words that a test would write, {depth}}}"
        for level in LEVELS
    )
    (tmp_path / "house.yaml").write_text(
        f"""
name: house
title: t
version: 1.0.0
status: active
source: s
extends: baseline
tiers:
  rationale: some words that a test would write
  exposure_usd: {{medium: 1, high: 2}}
  table:
    low: {{research: low, advice: low, decision: low}}
    medium: {{research: low, advice: low, decision: low}}
    high: {{research: low, advice: low, decision: high}}
  depth:
{levels}
"""
    )
    with pytest.raises(DocumentError, match=message):
        load_policy("house.yaml", beside=tmp_path)


def test_a_plan_with_a_materiality_needs_a_pack_with_tiers(tmp_path):
    (tmp_path / "bare.yaml").write_text(
        """
{name: bare, title: t, version: 1.0.0, status: active, source: s, rules: {r: {check: walk_forward,
metric: sharpe, operator: ">", limit: 0, severity: low, rationale: some words that a test writes}}}
"""
    )
    policy = load_policy("bare.yaml", beside=tmp_path)
    with pytest.raises(DocumentError, match="has no tiers"):
        policy.derive(MaterialityPlan(exposure="low", purpose="advice"), "low")
