"""The command as a user meets it, on a small model and a file of bars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from tests.planted.markets import regime_switching_bars

ROOT = Path(__file__).resolve().parents[3]
PLAN = """
name: small
seed: 3
policy: baseline
subject:
  adapter: function
  params: {target: "governance.selftest.volatility_regime:VolatilityRegime", returns: subject}
data: {source: bars.csv, symbol: SIM}
folds: {count: 2, first_test: 0.5, gap_bars: 5}
challengers: [buy_and_hold]
scenarios: []
checks: {walk_forward: {draws: 100}, signal_integrity: {}}
formats: [html, json, junit, markdown]
"""


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    frame = regime_switching_bars(5, n=700).frame()
    frame.to_csv(folder / "bars.csv", index_label="ts")
    (folder / "plan.yaml").write_text(PLAN)
    return folder


@pytest.fixture(scope="module")
def validated(place):
    done = invoke("validate", str(place / "plan.yaml"), "--store", str(place / "runs"), "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_validate_seals_a_run_with_reports(validated):
    folder = Path(validated["folder"])
    assert folder.name == validated["run"]
    assert sorted(p.name for p in (folder / "report").iterdir()) == sorted(
        Path(p).name for p in validated["reports"].values()
    )
    assert validated["gate"] == "closed"  # checks that must be assessed were left out of this plan


def test_the_same_validation_gives_the_same_digest_in_another_store(place, validated):
    again = invoke("validate", str(place / "plan.yaml"), "--store", str(place / "b"), "--json")
    assert json.loads(again.stdout)["run"] == validated["run"]


def test_evidence_is_not_measured_twice(place, validated, monkeypatch):
    from governance import harness

    def never(*arguments):
        raise AssertionError("measured again")

    monkeypatch.setattr(harness, "measure", never)
    again = invoke("validate", str(place / "plan.yaml"), "--store", str(place / "runs"), "--json")
    assert json.loads(again.stdout)["run"] == validated["run"]


def test_paths_in_a_plan_start_from_the_plan(place, validated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = json.loads((Path(validated["folder"]) / "run.json").read_text())
    assert run["plan"]["data"]["source"] == "bars.csv"
    assert str(place) not in json.dumps(run)


def test_report_renders_again_elsewhere(place, validated, tmp_path):
    done = invoke(
        "report",
        validated["run"][:10],
        "--store",
        str(place / "runs"),
        "--format",
        "json",
        "--out",
        str(tmp_path),
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "report.json").read_bytes() == (
        Path(validated["folder"]) / "run.json"
    ).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seed: 3", "sed: 3"), "sed"),
        (("seed: 3", "seed: 3\nseed: 4"), "duplicate key"),
        (("policy: baseline", "policy: basline"), "no policy named"),
        (("{draws: 100}", "{drows: 100}"), "walk_forward does not take"),
        (("walk_forward:", "walk_backward:"), "walk_forward"),
        (("[buy_and_hold]", "[buy_and_hodl]"), "buy_and_hold"),
        (("scenarios: []", "scenarios: [black_tuesday]"), "black_tuesday"),
        (("source: bars.csv", "source: nothing.csv"), "nothing.csv"),
        (("adapter: function", "adapter: fonction"), "adapter"),
        (("first_test: 0.5", 'first_test: "1901-01-01"'), "first_test"),
        (('VolatilityRegime"', 'Nobody"'), "Nobody"),
        (("formats: [html, ", "formats: [htm, "), "htm"),
        (("formats: [html, ", "formats: [html, html, "), "twice"),
        (("first_test: 0.5", 'first_test: "soon"'), "first_test"),
        (("first_test: 0.5", "first_test: 0.01"), "too short"),
        (("symbol: SIM}", "symbol: SIM, start: 2090-01-01}"), "no bar lies"),
        (("symbol: SIM}", "symbol: SIM, start: never}"), "start"),
        (("draws: 100", "draws: 200.5"), "draws"),
        (("draws: 100", "draws: many"), "draws"),
        (("{walk_forward: {draws: 100}, signal_integrity: {}}", "{}"), "no check"),
    ],
)
def test_a_mistake_in_the_plan_is_one_message_and_exit_code_2(place, tmp_path, change, message):
    (tmp_path / "bars.csv").write_bytes((place / "bars.csv").read_bytes())
    (tmp_path / "plan.yaml").write_text(PLAN.replace(*change))
    done = invoke("validate", str(tmp_path / "plan.yaml"), "--store", str(tmp_path / "runs"))
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "runs").exists()


def test_a_flipped_byte_is_exit_code_20(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    path = store / validated["run"] / "run.json"
    raw = bytearray(path.read_bytes())
    raw[100] ^= 1
    path.write_bytes(raw)
    for command in ("report", "verify", "gate"):
        assert invoke(command, validated["run"], "--store", str(store)).exit_code == 20


def test_a_full_disk_is_one_message(place, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = invoke("validate", str(place / "plan.yaml"), "--store", str(tmp_path / "runs"))
    assert done.exit_code == 2
    assert "No space left" in done.stderr


def test_a_signed_run_is_not_added_to(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    where = ("--store", str(store))
    assert (
        invoke("sign", "latest", "--role", "developer", "--person", "Ada Byron", *where).exit_code
        == 0
    )
    (store / validated["run"] / "report" / "report.md").exists()
    done = invoke("report", "latest", "--format", "pdf", *where)
    assert done.exit_code == 2
    assert "is signed" in done.stderr
    assert invoke("verify", "latest", *where).exit_code == 0


def test_a_swapped_report_is_never_recorded_as_rendered(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    where = ("--store", str(store))
    reports = store / validated["run"] / "report"
    genuine = (reports / "report.html").read_bytes()
    (reports / "report.html").write_bytes(b"<h1>ALL GREEN</h1>")
    (reports / "report.md").unlink()
    done = invoke("report", "latest", "--format", "markdown", *where)
    assert done.exit_code == 20
    assert "report.html" in done.stderr
    done = invoke("report", "latest", "--format", "markdown", "--format", "html", *where)
    assert done.exit_code == 0, done.output
    assert (reports / "report.html").read_bytes() == genuine
    assert invoke("verify", "latest", *where).exit_code == 0


def test_every_alternative_in_the_template_is_a_valid_plan():
    import re

    from finchaos.cli.assemble import plan_template
    from finchaos.core.documents import parse_yaml, validate_document
    from governance.plan import Plan

    text = plan_template()
    head, rest = text.split("subject:\n", 1)
    tail = rest.split("\n# Built-in bars", 1)[1]
    adapters = re.findall(r"#   (adapter: \w+).*\n#   (params: \{[^}]*\})", rest)
    assert len(adapters) == 3
    for adapter, params in adapters:
        from finchaos.core import registry

        plan = f"{head}subject:\n  {adapter}\n  {params}\n# Built-in bars{tail}"
        read = validate_document(parse_yaml(plan, "plan"), Plan, "plan")
        home = registry.module("governance.adapters", read.subject.adapter)
        model = next(
            member
            for name, member in vars(home).items()
            if name.endswith("Params") and name != "Params"
        )
        validate_document(read.subject.params, model, adapter)


def test_init_writes_the_plan_that_demo_runs(tmp_path):
    from finchaos.cli.assemble import find_plan

    path = tmp_path / "plan.yaml"
    assert invoke("init", str(path)).exit_code == 0
    assert find_plan(str(path))[0] == find_plan("demo")[0]
    again = invoke("init", str(path))
    assert again.exit_code == 2
    assert "exists already" in again.stderr


@pytest.mark.parametrize("command", ["checks", "scenarios", "policies"])
def test_catalogues_list_and_show(command):
    assert invoke(command).exit_code == 0
    listed = json.loads(invoke(command, "--json").stdout)
    assert listed
    shown = json.loads(invoke(command, listed[0]["name"]).stdout)
    assert shown["name"] == listed[0]["name"]
    assert invoke(command, "no_such_thing").exit_code == 2


@pytest.mark.parametrize("document", ["run", "plan", "policy", "scenario"])
def test_shipped_schemas_are_valid_and_up_to_date(document):
    import jsonschema

    schema = json.loads(invoke("schema", document).stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    places = {
        "run": "governance/run.schema.json",
        "plan": "finchaos/cli/plans/plan.schema.json",
        "policy": "policies/policy.schema.json",
        "scenario": "stress_scenarios/scenario.schema.json",
    }
    shipped = json.loads((ROOT / places[document]).read_text())
    assert shipped == schema, f"run: finchaos schema {document} > {places[document]}"


def test_the_crosswalk_is_shown():
    done = invoke("policies", "--crosswalk")
    assert done.exit_code == 0
    assert "materiality" in done.stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from finchaos.cli.main import app; from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('torch', 'scipy', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_three_roles_sign_then_verify_gate_and_a_flipped_byte(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    run, where = validated["run"], ("--store", str(store))
    assert invoke("gate", run, *where).exit_code == 10  # closed by the policy
    for role, person, decision in (
        ("developer", "Ada Byron", "approve"),
        ("validator", "Emil Post", "approve"),
        ("approver", "Rosa Peter", "reject"),
    ):
        done = invoke(
            "sign", run, "--role", role, "--person", person, "--decision", decision, *where
        )
        assert done.exit_code == 0, done.output
        assert "DEMO TRUST" in done.stdout
    assert invoke("verify", run, *where).exit_code == 0
    gated = invoke("gate", run, *where, "--json")
    assert gated.exit_code == 10
    assert "Rosa Peter rejected" in json.loads(gated.stdout)["reason"]
    report = store / run / "report" / "report.html"
    raw = bytearray(report.read_bytes())
    raw[len(raw) // 2] ^= 1
    report.write_bytes(raw)
    found = invoke("verify", run, *where)
    assert found.exit_code == 20
    assert "report.html was changed" in found.stdout
    assert invoke("gate", run, *where).exit_code == 20


def test_the_same_person_cannot_sign_in_two_roles(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    where = ("--store", str(store))
    first = invoke("sign", "latest", "--role", "developer", "--person", "Ada Byron", *where)
    assert first.exit_code == 0, first.output
    second = invoke("sign", "latest", "--role", "validator", "--person", " ADA  BYRON", *where)
    assert second.exit_code == 2
    assert "Traceback" not in second.output


def test_the_next_step_is_named_as_the_program_was_called(place, validated, tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("FINCHAOS_PROGRAM", "./dev finchaos")
    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    where = ("--store", str(store))
    name = f"{validated['run'][:12]} --store {store}"
    done = invoke("validate", str(place / "plan.yaml"), *where)
    assert f"Next: ./dev finchaos sign {name} --role developer --person NAME" in done.stdout
    people = (("developer", "Ada Byron"), ("validator", "Emil Post"), ("approver", "Rosa Peter"))
    following = (
        f"sign {name} --role validator --person NAME",
        f"sign {name} --role approver --person NAME --decision reject",
        f"gate {name}",
    )
    for (role, person), step in zip(people, following, strict=True):
        decision = ("--decision", "reject") if role == "approver" else ()
        done = invoke("sign", "latest", "--role", role, "--person", person, *decision, *where)
        assert done.stdout.rstrip().endswith(f"Next: ./dev finchaos {step}")
    done = invoke("validate", str(place / "plan.yaml"), *where)
    assert done.stdout.rstrip().endswith(f"Next: ./dev finchaos gate {name}")


def test_messages_and_files_name_the_program_as_it_was_called(
    place, validated, tmp_path, monkeypatch
):
    monkeypatch.setenv("FINCHAOS_PROGRAM", "./dev finchaos")
    plan = tmp_path / "plan.yaml"
    done = invoke("init", str(plan))
    assert f"./dev finchaos validate {plan}" in done.stdout
    assert "./dev finchaos validate PLAN.yaml" in plan.read_text()
    done = invoke("validate", "nowhere.yaml")
    assert "'./dev finchaos init'" in done.stderr
    where = ("--store", str(place / "runs"), "--format", "markdown", "--out", str(tmp_path))
    assert invoke("report", validated["run"], *where).exit_code == 0
    assert "`./dev finchaos verify" in (tmp_path / "report.md").read_text()


def test_dev_names_itself():
    script = (ROOT / "dev").read_text()
    head = script[script.index("case $0 in") : script.index("say() {")]
    done = subprocess.run(
        ["sh", "-c", f'{head}\nprintf %s "$FINCHAOS_PROGRAM"', "../here/dev"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "../here/dev finchaos"


def test_a_report_of_a_signed_run_names_the_signers_elsewhere(place, validated, tmp_path):
    import shutil

    store = tmp_path / "runs"
    shutil.copytree(place / "runs", store)
    where = ("--store", str(store))
    signed = invoke("sign", "latest", "--role", "developer", "--person", "Ada Byron", *where)
    assert signed.exit_code == 0, signed.output
    out = ("--format", "html", "--out", str(tmp_path / "out"))
    assert invoke("report", "latest", *where, *out).exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Ada Byron" in page
    assert "Last signed" in page
    assert "DEMO TRUST" in page
    own = (store / validated["run"] / "report" / "report.html").read_text()
    assert "Nobody had signed when these pages were rendered." in own
    path = store / validated["run"] / "signoffs" / "developer.dsse.json"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    assert invoke("report", "latest", *where, *out).exit_code == 20


def test_nobody_cannot_sign(place, validated):
    done = invoke("sign", "latest", "--role", "developer", "--store", str(place / "runs"))
    assert done.exit_code == 2
    assert "nobody signs" in done.stderr


def test_the_gate_writes_the_step_summary(place, validated, tmp_path, monkeypatch):
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    invoke("gate", validated["run"], "--store", str(place / "runs"))
    assert "closed" in path.read_text().lower()
