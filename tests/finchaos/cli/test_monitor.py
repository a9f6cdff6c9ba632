"""``finchaos monitor`` the whole way: a cheap model validated, then looked at on new bars."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from finchaos.core.errors import SubjectFault
from governance.monitoring import MonitoringRecord
from governance.signoff.audit import read_chain
from tests.governance.garch_market import garch_bars

OLD, NEW = 1000, 70
PLAN = """
name: monitored
seed: 3
policy: baseline
subject:
  adapter: function
  params: {path: threshold.py, attribute: model, returns: subject}
data: {source: bars.csv, symbol: GARCH}
folds: {count: 2, first_test: 0.5, gap_bars: 5}
challengers: [buy_and_hold]
scenarios: []
checks: {signal_integrity: {}}
formats: [html, json]
"""
MODEL = """
from governance.challengers.volatility_threshold import VolatilityThreshold


def model():
    return VolatilityThreshold(window_bars=21)
"""


def invoke(*arguments: str):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def write(frame, path: Path) -> Path:
    frame = frame.rename_axis("ts").reset_index()
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("monitor")
    frame = garch_bars(8, OLD + NEW).frame()
    write(frame.iloc[:OLD], folder / "bars.csv")
    write(frame.iloc[OLD:], folder / "new.parquet")
    louder = garch_bars(8, OLD + NEW, quiet=OLD, factor=3.0).frame()
    write(louder.iloc[OLD:], folder / "louder.parquet")
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "threshold.py").write_text(MODEL)
    done = invoke("validate", folder / "plan.yaml", "--store", folder / "runs", "--json")
    assert done.exit_code == 0, done.output
    (folder / "run").write_text(json.loads(done.stdout)["run"])
    return folder


def monitor(place: Path, bars: str | Path, *more: str):
    where = ("--from", place, "--store", place / "runs")
    return invoke("monitor", "latest", "--bars", place / bars, *where, *more)


def records(place: Path) -> list[Path]:
    return sorted((place / "runs" / "monitoring").rglob("*"))


@pytest.fixture(scope="module")
def quiet(place):
    run = place / "runs" / (place / "run").read_text() / "run.json"
    before = run.read_bytes()
    done = monitor(place, "new.parquet", "--json", "--prometheus", place / "m.prom")
    assert done.exit_code == 0, done.output
    assert run.read_bytes() == before
    return json.loads(done.stdout)


def test_bars_of_the_same_law_are_in_control_and_sealed(place, quiet):
    assert quiet["verdict"] == "in_control"
    assert quiet["new_bars"] == NEW
    record = MonitoringRecord.from_json(Path(quiet["path"]).read_bytes())
    assert record.digest == quiet["record"] == Path(quiet["path"]).stem
    assert record.run == (place / "run").read_text()
    assert {chart.series for chart in record.charts} >= {"absolute_return", "net_return"}
    assert {test.panel for test in record.tests} == {"inputs", "outputs", "performance"}
    entries = read_chain(place / "runs").of_run("monitor", record.run)
    assert entries[0]["record"] == record.digest


def test_the_same_look_is_the_same_record_and_the_run_still_verifies(place, quiet):
    again = monitor(place, "new.parquet", "--json")
    assert json.loads(again.stdout)["record"] == quiet["record"]
    bodies = read_chain(place / "runs").of_run("monitor", quiet["run"])
    assert [body["record"] for body in bodies].count(quiet["record"]) == 1
    assert invoke("report", "latest", "--store", place / "runs").exit_code == 0


def test_a_louder_market_is_an_alarm(place, quiet):
    done = monitor(place, "louder.parquet")
    assert done.exit_code == 10, done.output
    assert "absolute_return is beyond the limit" in done.output


def test_the_text_file_is_what_prometheus_reads(place, quiet):
    text = (place / "m.prom").read_text()
    families = exposition(text)
    assert families["finchaos_monitor_verdict"] == [("volatility threshold", 0.0)]
    assert len(families["finchaos_monitor_chart_limit"]) == len(quiet["charts"])
    assert all(name.startswith("finchaos_monitor_") for name in families)


def exposition(text: str) -> dict[str, list[tuple[str, float]]]:
    """Families by the rules of the text format: help, type, then samples of that name alone."""
    sample = re.compile(r'^([a-zA-Z_:][\w:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)+)\} (\S+)$')
    found: dict[str, list[tuple[str, float]]] = {}
    current = ""
    assert text.endswith("\n")
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in found
            assert lines[number + 1] == f"# TYPE {current} gauge"
            found[current] = []
        elif not line.startswith("# TYPE "):
            match = sample.match(line)
            assert match is not None, line
            assert match[1] == current
            labels = dict(re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', match[2]))
            found[current].append((labels["model"], float(match[3])))
    keys = [line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")]
    assert len(set(keys)) == len(keys)
    return found


def test_bars_that_contradict_are_missing_empty_or_unsorted_are_refused(place, quiet, tmp_path):
    frame = garch_bars(8, OLD + NEW).frame()
    changed = frame.iloc[OLD - 20 :].copy()
    changed.iloc[5, changed.columns.get_loc("close")] *= 1.0005
    changed["high"] = np.maximum(changed["high"], changed["close"])
    cases = {
        "contradict": changed,
        "bars are missing": frame.iloc[OLD + 40 :],
        "has no rows": frame.iloc[:0],
        "no new bar": frame.iloc[OLD - 30 : OLD],
        "cannot be loaded": frame.iloc[OLD:].iloc[::-1],
    }
    before = records(place)
    for complaint, rows in cases.items():
        done = monitor(place, write(rows, tmp_path / "bad.parquet"))
        assert done.exit_code == 2, done.output
        assert complaint in done.output
    assert monitor(place, "absent.csv").exit_code == 2
    assert records(place) == before


def test_a_model_or_bars_that_are_not_the_runs_are_refused(place, quiet, tmp_path):
    for name in ("bars.csv", "threshold.py"):
        shutil.copy(place / name, tmp_path)
    (tmp_path / "threshold.py").write_text(MODEL.replace("window_bars=21", "window_bars=20"))
    more = ("--store", place / "runs", "--from", tmp_path)
    done = invoke("monitor", "latest", "--bars", place / "new.parquet", *more)
    assert done.exit_code == 2
    assert "not the one that was validated" in done.output
    (tmp_path / "threshold.py").write_text(MODEL)
    frame = garch_bars(9, OLD).frame()
    write(frame, tmp_path / "bars.csv")
    done = invoke("monitor", "latest", "--bars", place / "new.parquet", *more)
    assert done.exit_code == 2
    assert "not those of the run" in done.output


def test_a_missing_or_damaged_run_is_refused(place, quiet, tmp_path):
    none = ("--bars", place / "new.parquet", "--store", tmp_path / "nothing")
    assert invoke("monitor", "latest", *none).exit_code == 2
    shutil.copytree(place / "runs", tmp_path / "runs")
    (run,) = (tmp_path / "runs").glob("*/run.json")
    run.write_bytes(run.read_bytes().replace(b'"monitored"', b'"Monitored"'))
    damaged = ("--bars", place / "new.parquet", "--store", tmp_path / "runs", "--from", place)
    assert invoke("monitor", "latest", *damaged).exit_code == 20


def test_a_reference_too_short_for_charts_could_not_be_measured(place, quiet, monkeypatch):
    monkeypatch.setattr("governance.statistics.chart_calibration.LEAST_REFERENCE", 10_000)
    done = monitor(place, "new.parquet")
    assert done.exit_code == 12, done.output
    assert "inconclusive" in done.output


def test_a_model_that_fails_on_new_bars_could_not_be_measured(place, quiet, monkeypatch):
    def fails(*arguments):
        raise SubjectFault("the model failed on new bars")

    monkeypatch.setattr("governance.look.read_instruments", fails)
    before = records(place)
    done = monitor(place, "new.parquet")
    assert done.exit_code == 12
    assert "could not be measured" in done.output
    assert records(place) == before


def test_an_impossible_rate_is_refused(place, quiet):
    done = monitor(place, "new.parquet", "--false-alarm-rate", "0.9")
    assert done.exit_code == 2
    assert "false_alarm_rate" in done.output


def test_a_monitored_run_can_still_be_signed_and_verifies(place, quiet):
    where = ("--store", place / "runs")
    person = ("--role", "developer", "--person", "Ada Byron")
    done = invoke("sign", "latest", *person, *where)
    assert done.exit_code == 0, done.output
    assert invoke("verify", "latest", *where).exit_code == 0
