"""The four commands from simulated bars to a backtest, one after the other, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from finchaos.markets.simulate.bar_file import read_bars
from finchaos.subjects.mamba_regime import load
from tests.finchaos.subjects.small import PARAMS, market

ROOT = Path(__file__).resolve().parents[3]


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def said(*arguments: object) -> Any:
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laboratory")
    market().frame().to_csv(folder / "bars.csv", index_label="ts")
    plan = {
        "name": "small",
        "seed": 3,
        "subject": {"model": "mamba_regime", "params": PARAMS},
        "data": {"source": "bars.csv", "symbol": "SIM"},
        "folds": {"count": 2, "first_test": 0.6, "gap_bars": 5},
    }
    (folder / "plan.yaml").write_text(json.dumps(plan))
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    said("train", place / "plan.yaml", "--out", place / "model")
    return place / "model"


@pytest.fixture(scope="module")
def simulated(place: Path) -> Path:
    said("generate", place / "plan.yaml", "--days", 3000, "--out", place / "heston.parquet")
    return place / "heston.parquet"


def test_generated_days_are_counted_and_the_same_again(place: Path, simulated: Path) -> None:
    again = said("generate", place / "plan.yaml", "--days", 3000, "--out", place / "b.parquet")
    first, second = (read_bars(one) for one in (simulated, place / "b.parquet"))
    assert np.array_equal(first.bars.close, second.bars.close)
    assert again["bars"] == 3000
    assert again["stressed_share"] == pytest.approx(float((first.regime > 0).mean()))
    assert again["switches"] == int(first.switch.sum())


def test_training_ends_where_the_last_test_begins(place: Path, model: Path) -> None:
    facts = json.loads((model / "training.json").read_text())
    kept = load(model)
    assert kept.digest == facts["digest"]
    assert facts["bars"] == 0.6 * 1100 + 220 - 5
    assert facts["trained_until"] == market().index[facts["bars"] - 1].isoformat()
    assert not (place / "model.training").exists()
    straight = kept.fit(market().rows(0, facts["bars"]), seed=3)
    ours, theirs = (one.signals(market()).position for one in (kept, straight))
    assert np.array_equal(ours, theirs)


def test_extraction_has_every_row_and_no_column_knows_the_future(
    place: Path, model: Path, tmp_path: Path
) -> None:
    shown = said("extract", place / "plan.yaml", "--model", model, "--out", place / "extract")
    table = pd.read_csv(place / "extract" / "states.csv", index_col="ts")
    assert len(table) == shown["rows"] == 1100 - PARAMS["warmup_bars"]
    assert table["trained"].sum() == 875 - PARAMS["warmup_bars"]
    assert {"latent_0", "axis_0", "layer1_axis_0", "map_x"} <= set(table.columns)

    altered = market().frame()
    altered.iloc[1000:] *= 1.5
    altered.to_csv(tmp_path / "bars.csv", index_label="ts")
    plan = json.loads((place / "plan.yaml").read_text())
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    said("extract", tmp_path / "plan.yaml", "--model", model, "--out", tmp_path / "extract")
    other = pd.read_csv(tmp_path / "extract" / "states.csv", index_col="ts")
    before = 1000 - PARAMS["warmup_bars"]
    known = [name for name in table.columns if not name.startswith("map_")]
    pd.testing.assert_frame_equal(table[known].iloc[:before], other[known].iloc[:before])
    assert not table[known].iloc[before:].equals(other[known].iloc[before:])


def test_on_simulated_bars_detection_is_scored(place: Path, model: Path, simulated: Path) -> None:
    shown = said(
        "extract", place / "plan.yaml", "--model", model, "--simulated", simulated,
        "--rows", 2500, "--out", place / "inside",
    )  # fmt: skip
    truth = read_bars(simulated, 0, 2500).regime[PARAMS["warmup_bars"] :] > 0
    assert shown["true_stressed_share"] == pytest.approx(truth.mean())
    assert 0.5 < shown["auc"] < 1.0
    page = (place / "inside" / "gallery.html").read_text()
    assert "the true regimes are known" in page
    for name in ("phase_space_orbit", "latent_manifold", "regime_ribbon", "detection_delay"):
        assert f'<figure id="{name}">' in page
        assert (place / "inside" / f"{name}.svg").stat().st_size > 1000
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_where_no_spell_is_seen_the_summary_is_still_json(
    place: Path, model: Path, tmp_path: Path
) -> None:
    """An infinite delay is no number of JSON; neither is the share of no spells."""
    for number in range(8):  # markets differ: some hold no stress in so few bars
        plan = json.loads((place / "plan.yaml").read_text()) | {"seed": number}
        (tmp_path / "plan.yaml").write_text(json.dumps(plan))
        bars, out = tmp_path / f"{number}.parquet", tmp_path / f"out{number}"
        said("generate", tmp_path / "plan.yaml", "--days", 420, "--out", bars)
        arguments = ("--model", model, "--simulated", bars, "--out", out)
        said("extract", tmp_path / "plan.yaml", *arguments)

        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        json.loads((out / "summary.json").read_text(), parse_constant=refuse)


def test_the_backtest_has_the_figures_of_the_validation(place: Path, model: Path) -> None:
    from governance.statistics.performance import drawdown

    shown = said(
        "backtest", place / "plan.yaml", "--model", model, "--out", place / "backtest",
        "--draws", 100,
    )  # fmt: skip
    value = {
        one["metric"]: one["value"]
        for one in shown["evidence"]
        if one["check"] == "walk_forward" and not one["slice"]
    }
    history = pd.read_csv(place / "backtest" / "history.csv", index_col="ts")
    net = history["net"].to_numpy()
    assert value["sharpe"] == pytest.approx(net.mean() / net.std(ddof=1) * np.sqrt(252), rel=1e-6)
    assert value["max_drawdown"] == pytest.approx(drawdown(net).min())
    assert np.allclose(history["wealth"], np.cumprod(1 + net))
    assert sorted(history["fold"].unique()) == [1, 2]
    built = said("backtest", place / "plan.yaml", "--out", place / "again", "--draws", 100)
    assert built["evidence"] == shown["evidence"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("generate", "PLAN", "--days", "0", "--out", "x.parquet"), "nothing to simulate"),
        (("generate", "PLAN", "--scheme", "euler", "--out", "x.parquet"), "full_truncation"),
        (("generate", "PLAN", "--out", "plan.yaml"), "exists already"),
        (("train", "PLAN", "--out", "plan.yaml"), "exists already"),
        (("train", "PLAN", "--until", "1990-01-01", "--out", "m"), "no bar to train on"),
        (("extract", "PLAN", "--model", "absent", "--out", "e"), "does not say what model"),
        (("extract", "PLAN", "--model", "model", "--simulated", "bars.csv", "--out", "e"),
         "bars.csv"),
        (("backtest", "PLAN", "--model", "absent", "--out", "e"), "does not say what model"),
        (("backtest", "PLAN", "--out", "plan.yaml"), "exists already"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_message_and_nothing_is_written(
    place: Path, model: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(path.name for path in place.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", "from finchaos.cli.main import run; run()",
         *("plan.yaml" if one == "PLAN" else one for one in arguments)],
        cwd=place, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_model_without_its_record_is_refused(place: Path, model: Path, tmp_path: Path) -> None:
    load(model).save(tmp_path / "bare")
    done = invoke("extract", place / "plan.yaml", "--model", tmp_path / "bare", "--out", "never")
    assert done.exit_code == 2
    assert "does not say what model it holds" in done.output


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_model(place: Path, tmp_path: Path) -> None:
    plan = json.loads((place / "plan.yaml").read_text())
    plan["data"]["source"] = str(place / "bars.csv")
    plan["subject"]["params"] = {**PARAMS, "pretrain_steps": 400, "finetune_steps": 60}
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))
    command = [
        sys.executable, "-c", "from finchaos.cli.main import run; run()",
        "train", "plan.yaml", "--out", "model",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    states = tmp_path / "model.training" / "simulated"
    while running.poll() is None and not (states.is_dir() and any(states.iterdir())):
        pass
    assert running.poll() is None, "it ended before it saved a state"
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert not (tmp_path / "model").exists()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    straight = said("train", tmp_path / "plan.yaml", "--out", tmp_path / "straight")
    assert (
        json.loads((tmp_path / "model" / "training.json").read_text())["digest"]
        == (straight["digest"])
    )
