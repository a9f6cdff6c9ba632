"""mamba_regime taught by the curriculum: it says stress by its head, live, saved and explained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from finchaos.core.bars import Bars
from finchaos.core.errors import CheckpointError, InputError
from finchaos.subjects.mamba_regime import MambaRegime, build, load
from tests.finchaos.subjects.small import PARAMS, TRAINING_BARS, market

TAUGHT = {**PARAMS, "teaching": "curriculum", "stress_from": "head", "pretrain_steps": 40}


@cache
def untrained() -> MambaRegime:
    return build(TAUGHT, seed=3)


@cache
def trained() -> MambaRegime:
    return untrained().fit(market().rows(0, TRAINING_BARS), seed=3)


def test_it_learns_to_tell_regimes_and_says_how_well_on_its_card() -> None:
    found = untrained().pretraining.detection_auc
    assert found is not None
    assert found > 0.7
    assert any(f"{found:.3f}" in line for line in trained().card.limitations)
    assert build(PARAMS, seed=3).pretraining.detection_auc is None


def test_the_head_ranks_the_bars_of_a_market_it_was_not_taught_in() -> None:
    said = trained().signals(market()).stress_probability[PARAMS["warmup_bars"] :]
    assert 0.0 <= said.min() <= said.max() <= 1.0
    size = np.abs(np.diff(np.log(market().close)))[PARAMS["warmup_bars"] - 1 :]
    above = said > np.median(said)
    assert size[above].mean() > 1.2 * size[~above].mean()


def test_a_stream_has_the_bits_of_a_replay_and_no_bar_reads_the_future() -> None:
    bars = market()
    whole = trained().signals(bars)
    stream = trained().open(bars.rows(0, 800))
    for row in range(800, 820):
        assert stream.step(bars[row]).stress_probability == whole.stress_probability[row]
    shorter = trained().signals(bars.rows(0, 900))
    assert np.array_equal(shorter.stress_probability, whole.stress_probability[:900])


def test_training_reads_nothing_beyond_its_window() -> None:
    bars = market()
    changed = Bars(
        bars.index,
        *(np.append(getattr(bars, n)[:TRAINING_BARS], 3.0 * getattr(bars, n)[TRAINING_BARS:])
          for n in ("open", "high", "low", "close", "volume")),
        symbol=bars.symbol,
        bars_per_year=bars.bars_per_year,
        provenance=bars.provenance,
    )  # fmt: skip
    again = untrained().fit(changed.rows(0, TRAINING_BARS), seed=3)
    assert again.digest == trained().digest


def test_what_is_saved_is_what_was_trained(tmp_path: Path) -> None:
    trained().save(tmp_path / "model")
    back = load(tmp_path / "model")
    assert back.digest == trained().digest
    ahead, there = (one.signals(market()).position for one in (back, trained()))
    assert np.array_equal(ahead, there)
    assert back.fit(market().rows(0, TRAINING_BARS), seed=3).digest == trained().digest


def test_the_decision_that_is_explained_is_the_one_of_the_head() -> None:
    subject = trained()
    windows = subject.feature_windows(market(), np.array([900, 1000]), 64)
    module = subject.decision_module()
    explained = module(torch.from_numpy(windows)).detach().numpy()
    assert subject.fitted is not None
    latents = np.array([subject.fitted.replay.fresh().advance(window)[-1] for window in windows])
    wanted = subject.fitted.probabilities(latents, subject.settings)[:, 1]
    assert explained == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ({"stress_from": "head"}, "only a curriculum"),
        ({"stress_from": "head", "teaching": "curriculum", "regimes": 3}, "two regimes"),
        ({"teaching": "curriculum", "window_bars": 500}, "drawing"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    setting: dict[str, object], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        build({**PARAMS, **setting}, seed=3)


def test_damaged_units_are_refused(tmp_path: Path) -> None:
    from finchaos.training.checkpoint import load_checkpoint, save_checkpoint

    untrained().save(tmp_path / "model")
    arrays, facts = load_checkpoint(tmp_path / "model", "mamba_regime")
    del arrays["units.target_centre"]
    save_checkpoint(tmp_path / "other", "mamba_regime", arrays, facts)
    with pytest.raises(CheckpointError, match="units"):
        load(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.parametrize("teaching", ["curriculum", "variance"])
def test_a_kill_in_the_middle_of_either_training_changes_nothing(
    teaching: str, tmp_path: Path
) -> None:
    straight = _train(teaching, None)
    for stage in ("pre", "real"):
        died = subprocess.run(
            [sys.executable, "-m", "tests.finchaos.subjects.test_mamba_regime_curriculum",
             teaching, str(tmp_path), stage],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert died.returncode == -signal.SIGKILL, died.stderr
    assert _train(teaching, tmp_path).digest == straight.digest


def _train(teaching: str, folder: Path | None, die_in: str = "") -> MambaRegime:
    params = {**PARAMS, "teaching": teaching, "pretrain_steps": 120, "finetune_steps": 60}
    where = {"pre": None, "real": None} if folder is None else {
        "pre": folder / "pre", "real": folder / "real"
    }  # fmt: skip

    def dying(part: str) -> object:
        def progress(stage: str, done: int, total: int) -> None:
            if part == die_in and done == 55:
                os.kill(os.getpid(), signal.SIGKILL)

        return progress

    made = build(params, seed=3, folder=where["pre"], progress=dying("pre"))  # type: ignore[arg-type]
    return made.fit(
        market().rows(0, TRAINING_BARS), seed=3, folder=where["real"], progress=dying("real")  # type: ignore[arg-type]
    )  # fmt: skip


if __name__ == "__main__":
    _train(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
