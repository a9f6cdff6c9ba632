"""Locks of plans: what they hold, what they refuse, and what tampering does."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from importlib.resources import files

import pytest

from finchaos.cli.assemble import find_plan, find_policies, find_scenarios
from finchaos.core.errors import DataError, InputError, IntegrityError
from finchaos.markets import load_builtin
from governance.plan import DataPlan, FoldPlan, Plan, SubjectPlan
from governance.plan_files import content_digest, held_files
from governance.policy import load_policy
from governance.record import LockRef, Run
from governance.signoff.audit import append, audit_path, read_chain
from governance.signoff.plan_content import NOT_HELD, changes, content_of
from governance.signoff.plan_lock import (
    ACTION,
    compare_with_lock,
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
    assert results_of(store, PLAN, CONTENT) == ("a validation that began to measure",)
    other = PLAN.model_copy(update={"data": DataPlan(source="newer.csv")})
    assert results_of(store, other, content_of(other, POLICY, ())) == ()


def test_a_sealed_run_without_a_mark_is_known(store):
    run = small_run()
    named = run.model_copy(update={"plan": {**run.plan, "name": PLAN.name}})
    named.__dict__.pop("digest", None)
    store.put(named, [EXHIBIT], {})
    assert results_of(store, PLAN, CONTENT) == (f"run {named.digest[:12]}",)


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


DESK = """
name: desk
policy: house.yaml
also: [beside.yaml]
subject:
  adapter: function
  params: {path: model.py, attribute: positions}
data: {source: bars.csv}
trials: {record: trials.jsonl, returns: returns.csv}
since: earlier
scenarios: [crash.yaml]
"""
PACK = """
name: NAME
title: a pack
version: 1.0.0
status: active
source: a test
extends: baseline
rules:
  house.failed: {check: signal_integrity, metric: failed_calls, operator: "<=", limit: 0,
    severity: high, rationale: a limit that only a test would set}
"""


@pytest.fixture
def desk(tmp_path):
    """A folder with a plan and everything that it names."""
    for name in ("bars.csv", "trials.jsonl", "returns.csv", "model.py"):
        (tmp_path / name).write_text(f"the first {name}\n")
    for name in ("house", "beside"):
        (tmp_path / f"{name}.yaml").write_text(PACK.replace("NAME", name))
    (tmp_path / "earlier").mkdir()
    (tmp_path / "earlier" / "run.json").write_text("{}")
    shipped = files("stress_scenarios")
    (tmp_path / "windows").mkdir()
    text = shipped.joinpath("gfc_2008.yaml").read_text()
    (tmp_path / "crash.yaml").write_text(text.replace("name: gfc_2008", "name: crash", 1))
    for window in shipped.joinpath("windows").iterdir():
        if window.name.startswith("gfc_2008"):
            (tmp_path / "windows" / window.name).write_bytes(window.read_bytes())
    (tmp_path / "plan.yaml").write_text(DESK)
    return tmp_path


def content_in(folder, *, absent=False):
    """The plan of a folder and what a lock of it holds."""
    plan, beside = find_plan(str(folder / "plan.yaml"))
    policy, also = find_policies(plan, beside)
    scenarios = find_scenarios(plan, beside)
    held = held_files(plan, beside, absent=absent)
    return plan, content_of(plan, policy, scenarios, also=also, files=held)


@pytest.mark.parametrize(
    ("edited", "part", "key"),
    [
        ("bars.csv", "file", "data.source"),
        ("trials.jsonl", "file", "trials.record"),
        ("returns.csv", "file", "trials.returns"),
        ("earlier/run.json", "file", "since"),
        ("model.py", "file", "subject.params.path"),
        ("house.yaml", "policy", "digest"),
        ("beside.yaml", "policy", "also.beside"),
        ("crash.yaml", "scenario", "crash"),
    ],
)
def test_an_edit_of_anything_the_plan_names_is_shown_by_name(store, desk, edited, part, key):
    plan, locked = content_in(desk)
    lock(store, plan, locked)
    path = desk / edited
    path.write_text(path.read_text().replace("\ntitle: ", "\ntitle: Another ") + "# more\n")
    (change,) = compare_with_lock(store, content_in(desk)[1]).changes
    assert (change.part, change.key) == (part, key)
    assert change.locked != change.now
    if part == "file":
        assert path.name in change.now
        assert change.now.strip('"').endswith(hashlib.sha256(path.read_bytes()).hexdigest())
        path.unlink()
        if edited != "bars.csv":  # every one of them is refused where it has to be there
            return
        with pytest.raises(DataError, match=r"data\.source that is not there"):
            content_in(desk)
        (gone,) = compare_with_lock(store, content_in(desk, absent=True)[1]).changes
        assert gone.now == "absent"


def test_another_spelling_of_the_same_files_is_no_edit_and_no_other_plan(store, desk):
    plan, locked = content_in(desk)
    lock(store, plan, locked)
    spelled = DESK.replace("bars.csv", f"{desk}/windows/../bars.csv")
    for name in ("model.py", "trials.jsonl", "returns.csv", "crash.yaml", "beside.yaml"):
        spelled = spelled.replace(name, f"./{name}")
    spelled = spelled.replace("house.yaml", str(desk / "house.yaml"))
    spelled = spelled.replace("since: earlier", f"since: {desk}/earlier/")
    (desk / "plan.yaml").write_text(spelled)
    _, now = content_in(desk)
    assert compare_with_lock(store, now).changes == ()
    (desk / "copy.csv").write_bytes((desk / "bars.csv").read_bytes())
    (desk / "plan.yaml").write_text(DESK.replace("bars.csv", "copy.csv"))
    assert compare_with_lock(store, content_in(desk)[1]).changes == ()
    # Under another name it is known by what it measures, however it is spelled.
    store.begin(plan.name, locked.identity)
    (desk / "plan.yaml").write_text(spelled.replace("name: desk", "name: anew"))
    renamed, content = content_in(desk)
    assert renamed.identity != plan.identity
    with pytest.raises(InputError, match="results of the plan 'anew' already"):
        lock(store, renamed, content)
    late, _ = lock(store, renamed, content, after_results=True)
    assert late.lock.results == ("a validation that began to measure",)
    assert compare_with_lock(store, content).results == late.lock.results
    # Other bars are another matter.
    (desk / "bars.csv").write_text("others")
    assert results_of(store, renamed, content_in(desk)[1]) == ()


def test_a_lock_made_before_contents_were_held_says_so_and_keeps_its_digest(store, desk):
    plan, content = content_in(desk)
    (desk / "plan.yaml").write_text(DESK.replace("also: [beside.yaml]\n", ""))
    plan, content = content_in(desk)
    policy, _ = find_policies(plan, desk)
    old = content_of(plan, policy, find_scenarios(plan, desk))
    assert not {"files", "also"} & old.model_dump(mode="json").keys()
    first, _ = lock(store, plan, old)
    assert "results" not in json.loads(read_chain(store.root).entries[0].body)
    found = compare_with_lock(store, content)
    assert found.digest == first.lock.digest
    assert {(one.part, one.locked) for one in found.changes} == {("file", NOT_HELD)}
    assert [one.key for one in found.changes] == sorted(content.files)


def test_folders_modules_and_built_in_bars_are_held(tmp_path, monkeypatch):
    package = tmp_path / "desk_models"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "one.py").write_text("def f(frame): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"1")
    params = {"target": "desk_models.one:f", "arguments": {"weights": "weights.bin", "n": "no"}}
    function = SubjectPlan(adapter="function", params=params)
    spx = PLAN.model_copy(update={"subject": function, "data": DataPlan(source="spx")})
    held = held_files(spx, tmp_path)
    assert list(held) == [
        "data.source", "subject.params.arguments.weights", "subject.params.target"
    ]  # fmt: skip
    assert held["subject.params.target"].digest == content_digest(package / "one.py")
    assert held["data.source"].digest == load_builtin("spx").digest
    saved = SubjectPlan(model="mamba_regime", checkpoint="desk_models")
    plan = spx.model_copy(update={"subject": saved})
    before = held_files(plan, tmp_path)["subject.checkpoint"]
    (package / "one.py").rename(package / "two.py")
    assert held_files(plan, tmp_path)["subject.checkpoint"].digest != before.digest


def test_large_files_are_read_in_pieces(tmp_path):
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    found = content_digest(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 2**20
    assert found == hashlib.sha256(bytes(64 * 2**20)).hexdigest()


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
