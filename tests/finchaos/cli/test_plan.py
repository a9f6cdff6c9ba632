"""``plan lock`` and ``plan status`` as a user meets them, and what ``validate`` makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from tests.planted.markets import regime_switching_bars

PLAN = """
name: small
seed: 3
policy: house.yaml
also: [ss1_23, rts_6]
materiality: {exposure_usd: 20000000, purpose: advice}
subject:
  adapter: function
  params: {target: "governance.selftest.volatility_regime:VolatilityRegime", returns: subject}
data: {source: bars.csv, symbol: SIM}
folds: {count: 2, first_test: 0.5, gap_bars: 5}
challengers: []
scenarios: []
checks: {signal_integrity: {}, materiality: {}}
formats: [html, json, markdown]
"""
HOUSE = """
name: house
title: House rules
version: 1.0.0
status: active
source: test
extends: sr_26_2
rules:
  house.failed: {check: signal_integrity, metric: failed_calls, operator: "<=", limit: 0,
    severity: high, rationale: a limit that only a test would set}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    regime_switching_bars(5, n=500).frame().to_csv(folder / "bars.csv", index_label="ts")
    return folder


@pytest.fixture
def home(place, tmp_path):
    (tmp_path / "bars.csv").write_bytes((place / "bars.csv").read_bytes())
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "house.yaml").write_text(HOUSE)
    return tmp_path


def call(home: Path, *words: str, store: str = "runs"):
    arguments = [*words, str(home / "plan.yaml"), "--store", str(home / store)]
    return CliRunner().invoke(app, arguments)


def validated(home: Path, store: str = "runs"):
    done = call(home, "validate", "--json", store=store)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def html(summary) -> str:
    return Path(summary["reports"]["html"]).read_text()


def test_lock_validate_edit_a_threshold_validate(home):
    assert "is not locked" in call(home, "plan", "status").stdout
    done = call(home, "plan", "lock", "--person", "Ada Byron")
    assert done.exit_code == 0, done.output
    assert "locked on" in done.stdout
    first = validated(home)
    assert first["lock"]["changes"] == []
    assert not first["lock"]["after_results"]
    assert first["tier"] == "medium"
    assert "before any result; nothing was changed after that" in html(first)
    assert "Changed after the lock" not in html(first)

    (home / "plan.yaml").write_text(PLAN.replace("bars.csv", f"{home}/./bars.csv"))
    assert "nothing was changed" in call(home, "plan", "status").stdout
    (home / "plan.yaml").write_text(PLAN)
    rows = (home / "bars.csv").read_bytes()
    (home / "bars.csv").write_bytes(rows[: rows.rstrip().rfind(b"\n") + 1])
    assert "file data.source" in call(home, "plan", "status").stdout
    (home / "bars.csv").write_bytes(rows)

    (home / "house.yaml").write_text(HOUSE.replace("limit: 0", "limit: 7"))
    assert "rule house.failed.limit: 0" in call(home, "plan", "status").stdout
    second = validated(home)
    (change,) = second["lock"]["changes"]
    assert (change["part"], change["key"]) == ("rule", "house.failed.limit")
    assert (float(change["locked"]), float(change["now"])) == (0, 7)
    assert "1 thing was changed after that" in html(second)
    assert "Changed after the lock" in html(second)
    assert second["run"] != first["run"]
    verified = CliRunner().invoke(app, ["verify", second["run"], "--store", str(home / "runs")])
    assert verified.exit_code == 0, verified.output
    assert "lock of the plan" in verified.stdout


def test_a_repetition_has_the_same_digest_and_another_lock_another(home):
    call(home, "plan", "lock")
    first = validated(home)
    assert validated(home)["run"] == first["run"]
    never = validated(home, "elsewhere")
    assert never["lock"] is None
    assert never["run"] != first["run"]
    assert validated(home, "third")["run"] == never["run"]
    assert "Not locked" in html(never)


def test_results_refuse_a_lock_unless_it_says_so(home):
    validated(home)
    refused = call(home, "plan", "lock")
    assert refused.exit_code == 2
    assert "--after-results" in refused.stderr
    late = call(home, "plan", "lock", "--after-results", "--json")
    assert json.loads(late.stdout)["after_results"]
    assert "after results were known" in html(validated(home))


def test_a_tampered_lock_stops_the_validation(home):
    call(home, "plan", "lock")
    chain = home / "runs" / "audit.jsonl"
    chain.write_bytes(chain.read_bytes().replace(b"house.failed", b"house.passed", 1))
    stopped = call(home, "validate")
    assert stopped.exit_code == 20
    assert "audit chain" in stopped.stderr
    assert not [p for p in (home / "runs").iterdir() if len(p.name) == 64]
    assert call(home, "plan", "status").exit_code == 20


def test_several_guidances_stand_in_one_report(home):
    summary = validated(home)
    text = html(summary)
    assert "Also: PRA SS1/23" in text
    assert "Also: MiFID II RTS 6" in text
    run = json.loads((Path(summary["folder"]) / "run.json").read_text())
    assert [item["policy"]["name"] for item in run["also"]] == ["ss1_23", "rts_6"]
    assert [len(item["coverage"]) for item in run["also"]] == [23, 18]
    assert len(run["coverage"]) == 16  # the house pack inherits those of what it extends
    status = {row["clause"]: row["status"] for row in run["also"][1]["coverage"]}
    assert status["8"] == "partly_evidenced"
    assert status["13"] == "not_evidenced"


def test_an_understated_card_is_a_finding_and_the_tier_on_page_one(home):
    summary = validated(home)
    assert "Medium: medium exposure (USD 20,000,000), advice; declared low" in html(summary)
    assert any(
        item["id"] == "materiality.declared" and item["verdict"] == "fail"
        for item in summary["worst"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("also: [ss1_23", "also: [ss1_23, ss1_23"), "twice"),
        (("also: [ss1_23", "also: [ss1_24"), "no policy named"),
        (("also: [ss1_23", "also: [house.yaml"), "judges"),
        (("purpose: advice", "purpose: fun"), "purpose"),
        (("exposure_usd: 20000000", "exposure_usd: .nan"), "finite"),
        (("signal_integrity: {}", "signal_integrity: {histories: 1}"), "less deeply"),
    ],
)
def test_a_plan_that_makes_no_sense_is_not_locked(home, change, message):
    (home / "plan.yaml").write_text(PLAN.replace(*change))
    done = call(home, "plan", "lock")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (home / "runs").exists()
