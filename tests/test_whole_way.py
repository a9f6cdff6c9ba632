"""The whole way once: the real model on real bars through every check to a signed report.

The demonstration plan with a smaller network and fewer training steps, so that it takes seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finchaos.cli.assemble import plan_template
from finchaos.core import registry

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
SMALL = (
    "  params: {d_model: 8, d_state: 4, pretrain_paths: 24, pretrain_bars: 600,"
    " pretrain_steps: 60, finetune_steps: 20}\n"
)


def finchaos(*arguments: str, threads: int = 1, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from finchaos.cli.main import run; run()", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "CI": "true"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    head, mark, tail = plan_template().partition("  model: mamba_regime\n")
    plan = head + mark + SMALL + tail
    (folder / "plan.yaml").write_text(plan.replace("count: 6", "count: 2"))
    return folder


@pytest.fixture(scope="module")
def validated(place):
    store = ("--store", str(place / "runs"))
    return json.loads(finchaos("validate", str(place / "plan.yaml"), *store, "--json"))


def test_every_check_measures_and_nothing_errs(validated):
    run = json.loads((Path(validated["folder"]) / "run.json").read_text())
    assert tuple(c["name"] for c in run["cards"]) == registry.names("governance.checks")
    errored = [e for e in run["evidence"] if e["status"] == "errored"]
    assert errored == []
    for card in run["cards"]:
        mine = [e for e in run["evidence"] if e["check"] == card["name"]]
        measured = any(e["status"] == "measured" for e in mine)
        # The plan states no exposure and no earlier run, and the card claims nothing.
        assert measured is (card["name"] not in ("materiality", "claims", "change"))
        shown = {e["metric"] for e in mine}
        assert shown == {spec["name"] for spec in card["metrics"]}
    assert not run["inconclusive"]
    assert all(e["self_check"] is None or _holds(e["self_check"]) for e in run["evidence"])


def _holds(residual):
    return abs(residual["value"]) <= residual["tolerance"]


def test_the_model_is_causal_reproducible_and_its_switch_works(validated):
    run = json.loads((Path(validated["folder"]) / "run.json").read_text())
    verdicts = {f["rule"]: f["verdict"] for f in run["findings"] if f["severity"] == "critical"}
    assert verdicts.pop("claims.same_model") == "not_assessed"
    assert len(verdicts) >= 10
    assert set(verdicts.values()) == {"pass"}


def test_another_process_with_other_threads_gives_the_same_digest(place, validated):
    store = ("--store", str(place / "again"))
    plan = str(place / "plan.yaml")
    again = json.loads(finchaos("validate", plan, *store, "--json", "--no-report", threads=2))
    assert again["run"] == validated["run"]


def test_signed_in_three_roles_it_verifies_and_a_flipped_byte_does_not(place, validated):
    store = ("--store", str(place / "runs"))
    approve = ("--decision", "approve_with_conditions", "--conditions", "half the usual size")
    last = ("--decision", "reject") if validated["gate"] == "closed" else approve
    finchaos("sign", "latest", "--role", "developer", "--person", "Ada Byron", *store)
    finchaos("sign", "latest", "--role", "validator", "--person", "Emil Post", *store)
    finchaos("sign", "latest", "--role", "approver", "--person", "Rosa Peter", *last, *store)
    finchaos("verify", "latest", *store)
    finchaos("gate", "latest", *store, code=10 if validated["gate"] == "closed" else 0)
    finchaos("gate", "latest", "--no-demo", *store, code=10 if last != approve else 11)
    report = Path(validated["folder"]) / "report" / "report.signed.pdf"
    raw = bytearray(report.read_bytes())
    raw[len(raw) // 2] ^= 1
    report.write_bytes(raw)
    finchaos("verify", "latest", *store, code=20)
    finchaos("gate", "latest", *store, code=20)
