"""Locks of plans: what they hold, what they refuse, and what tampering does."""

from __future__ import annotations

import json

import pytest

from finchaos.core.errors import InputError, IntegrityError
from governance.plan import DataPlan, FoldPlan, Plan, SubjectPlan
from governance.policy import load_policy
from governance.record import LockRef, Run
from governance.signoff.audit import append, audit_path, read_chain
from governance.signoff.plan_lock import (
    ACTION,
    changes,
    compare_with_lock,
    content_of,
    lock_plan,
    require_lock,
    results_of,
)
from governance.store import Store
from tests.governance.evidence import EXHIBIT, small_run

PLAN = Plan(
    name="house plan", subject=SubjectPlan(adapter="function"), data=DataPlan(source="bars.csv")
)
POLICY = load_policy("sr_26_2")
CONTENT = content_of(PLAN, POLICY, ())
AT = ("2026-11-01T10:00:00+00:00", "2026-11-02T10:00:00+00:00")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "runs")


def lock(store, plan=PLAN, content=CONTENT, *, at=AT[0], after_results=False):
    return lock_plan(store, plan, content, person="Ada Byron", at=at, after_results=after_results)


def edited_plan(**words):
    plan = PLAN.model_copy(update=words)
    return plan, content_of(plan, POLICY, ())


def edited_rule(rule_id: str, **words):
    rules = {**CONTENT.rules, rule_id: {**CONTENT.rules[rule_id], **words}}
    digest = "f" * 64
    policy = CONTENT.policy.model_copy(update={"digest": digest})
    return CONTENT.model_copy(update={"rules": rules, "policy": policy})


def test_a_lock_stands_in_the_audit_chain_with_everything_it_fixes(store):
    locked, new = lock(store)
    assert new
    (entry,) = read_chain(store.root).entries
    assert (entry.action, entry.actor, entry.at) == (ACTION, "Ada Byron", AT[0])
    body = json.loads(entry.body)
    assert body["content"]["plan"]["name"] == "house plan"
    assert body["content"]["rules"].keys() == POLICY.rules.keys()
    assert body["content"]["policy"]["digest"] == POLICY.digest
    assert not body["after_results"]
    assert locked.lock.digest == compare_with_lock(store, CONTENT).digest


def test_the_same_lock_again_changes_nothing(store):
    first, _ = lock(store)
    again, new = lock(store, at=AT[1])
    assert not new
    assert again == first
    assert len(read_chain(store.root).entries) == 1


def test_without_a_lock_of_that_name_there_is_none(store):
    assert compare_with_lock(store, CONTENT) is None
    lock(store)
    _, other = edited_plan(name="another")
    assert compare_with_lock(store, other) is None


def test_nothing_changed_and_everything_that_changed(store):
    lock(store)
    assert compare_with_lock(store, CONTENT).changes == ()
    _, now = edited_plan(folds=FoldPlan(count=9), challengers=("buy_and_hold",))
    said = [(c.part, c.key, c.locked, c.now) for c in compare_with_lock(store, now).changes]
    assert said == [
        ("plan", "challengers", '["buy_and_hold","volatility_threshold"]', '["buy_and_hold"]'),
        ("plan", "folds.count", "6", "9"),
    ]


def test_an_edited_threshold_is_shown_by_rule_with_old_and_new(store):
    lock(store)
    found = compare_with_lock(store, edited_rule("walk_forward.drawdown", limit=-0.9))
    (change,) = found.changes
    assert (change.part, change.key) == ("rule", "walk_forward.drawdown.limit")
    assert (change.locked, change.now) == ("-0.25", "-0.9")


def test_rules_added_and_removed_are_told_in_short():
    less = {key: rule for key, rule in CONTENT.rules.items() if key != "luck.timing"}
    (gone,) = changes(CONTENT, CONTENT.model_copy(update={"rules": less}))
    assert gone.key == "luck.timing"
    assert gone.locked == '"luck.shift_probability <= 0.05"'
    assert gone.now == "absent"
    (back,) = changes(CONTENT.model_copy(update={"rules": less}), CONTENT)
    assert (back.locked, back.now) == (gone.now, gone.locked)


def test_gate_tiers_scenarios_texts_and_code_are_compared():
    tiers = json.loads(json.dumps(CONTENT.tiers))
    tiers["depth"]["high"]["checks"]["drift"]["draws"] = 5
    text = CONTENT.policy.model_copy(update={"digest": "0" * 64})
    code = CONTENT.model_copy(update={"code": "a" * 64})
    for locked, now, expected in (
        (CONTENT, {"closed_by": ("critical",)}, [("policy", "closed_by")]),
        (CONTENT, {"tiers": tiers}, [("policy", "tiers.depth.high.checks.drift.draws")]),
        (CONTENT, {"scenarios": {"gfc_2008": "a" * 64}}, [("scenario", "gfc_2008")]),
        (CONTENT, {"policy": text}, [("policy", "digest")]),
        (CONTENT, {"code": "b" * 64}, []),  # it was not locked
        (code, {}, []),
        (code, {"code": "b" * 64}, [("code", "digest")]),
    ):
        found = changes(locked, locked.model_copy(update=now))
        assert [(change.part, change.key) for change in found] == expected


def test_results_that_are_there_refuse_a_lock_unless_it_says_so(store):
    store.begin(PLAN.name, PLAN.identity)
    with pytest.raises(InputError, match="results of the plan 'house plan' already"):
        lock(store)
    assert not read_chain(store.root).entries
    locked, _ = lock(store, after_results=True)
    assert locked.lock.after_results
    assert compare_with_lock(store, CONTENT).after_results


def test_a_plan_of_another_name_about_the_same_model_and_bars_is_known(store):
    store.begin("its old name", PLAN.identity)
    assert results_of(store, PLAN) == ("a validation that began to measure",)
    other = PLAN.model_copy(update={"data": DataPlan(source="newer.csv")})
    assert results_of(store, other) == ()


def test_a_sealed_run_without_a_mark_is_known(store):
    run = small_run()
    named = run.model_copy(update={"plan": {**run.plan, "name": PLAN.name}})
    named.__dict__.pop("digest", None)
    store.put(named, [EXHIBIT], {})
    assert results_of(store, PLAN) == (f"run {named.digest[:12]}",)


def test_the_lock_before_results_is_the_one_that_holds(store):
    first, _ = lock(store)
    store.begin(PLAN.name, PLAN.identity)
    plan, now = edited_plan(seed=99)
    with pytest.raises(InputError):
        lock(store, plan, now, at=AT[1])
    lock(store, plan, now, at=AT[1], after_results=True)
    found = compare_with_lock(store, now)
    assert found.digest == first.lock.digest
    assert [change.key for change in found.changes] == ["seed"]


def test_before_results_the_latest_lock_holds(store):
    lock(store)
    plan, now = edited_plan(seed=99)
    second, new = lock(store, plan, now, at=AT[1])
    assert new
    assert compare_with_lock(store, now).digest == second.lock.digest
    assert compare_with_lock(store, now).changes == ()


def test_a_tampered_lock_is_refused(store):
    lock(store)
    path = audit_path(store.root)
    original = path.read_bytes()
    for old, new in ((b"-0.25", b"-0.95"), (b"2026-11-01", b"2026-10-01"), (b"false", b"true ")):
        path.write_bytes(original.replace(old, new, 1))
        with pytest.raises(IntegrityError):
            compare_with_lock(store, CONTENT)
        with pytest.raises(IntegrityError):
            lock(store)


def run_with(found: LockRef) -> Run:
    run = small_run().model_copy(update={"lock": found})
    run.__dict__.pop("digest", None)
    return run


def test_verification_asks_the_chain_for_the_lock_a_run_names(store):
    lock(store)
    found = compare_with_lock(store, CONTENT)
    chain = read_chain(store.root)
    assert "before results" in require_lock(run_with(found), chain)
    forged = found.model_copy(update={"at": AT[1]})
    with pytest.raises(IntegrityError, match="not the one the run names"):
        require_lock(run_with(forged), chain)
    audit_path(store.root).unlink()
    append(store.root, "something", "somebody", {}, AT[0])
    with pytest.raises(IntegrityError, match="does not hold the lock"):
        require_lock(run_with(found), read_chain(store.root))


def test_runs_without_the_new_fields_keep_their_bytes():
    run = small_run()
    said = json.loads(run.to_json())
    assert not {"lock", "materiality", "also"} & said.keys()
    assert Run.from_json(run.to_json()).to_json() == run.to_json()
    found = LockRef(digest="a" * 64, entry="b" * 64, at=AT[0], after_results=False)
    assert Run.from_json(run_with(found).to_json()).lock == found
    assert run_with(found).digest != run.digest
