"""A search that may be killed at any moment and forgets no trial."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finchaos.core.errors import DivergenceError, InputError, IntegrityError
from finchaos.core.provenance import random_stream
from finchaos.features.schema import load_schema
from finchaos.models.mamba_regime import Config
from finchaos.training import sweep as sweeping
from finchaos.training.curriculum import Weights
from finchaos.training.detection import Lessons
from finchaos.training.register import read_register
from finchaos.training.simulated import Drawing
from finchaos.training.sweep import JOURNAL, REGISTER, STOPPED, SweepPlan, sweep
from finchaos.training.sweep_objectives import DetectionArea
from finchaos.training.sweep_space import Choice, Parameter, Real, Whole

pytest.importorskip("optuna")
ROOT = Path(__file__).resolve().parents[3]
SPACE: dict[str, Parameter] = {
    "rate": Real(1e-4, 1.0, log=True),
    "width": Whole(1, 64),
    "kind": Choice(("plain", "gated")),
}
PLAN = SweepPlan("bowl", SPACE, trials=14, seed=5, code="abc", first_random=5)
KINDS = ("tpe", "evolutionary")


def bowl(params: Mapping[str, Any], seed: int) -> float:
    """Best at a rate of 0.01, a width of 40 and a gate."""
    away = np.log10(params["rate"] / 0.01) ** 2 + ((params["width"] - 40) / 20) ** 2
    return -float(away) - (params["kind"] != "gated")


def params_of(folder: Path, study: str = "bowl") -> list[Mapping[str, Any]]:
    trials = read_register(folder / REGISTER).trials
    kept = [t.params for t in trials if t.study == study and t.outcome != STOPPED]
    return [{name: value for name, value in one.items() if name != "trial"} for one in kept]


@pytest.mark.parametrize("kind", KINDS)
def test_the_register_knows_every_trial_and_the_best(kind: Any, tmp_path: Path) -> None:
    plan = replace(PLAN, sampler=kind)
    found = sweep(bowl, plan, folder=tmp_path)
    register = read_register(tmp_path / REGISTER, found.head)
    assert [trial.params["trial"] for trial in register.trials] == list(range(14))
    assert [trial.score for trial in register.trials] == list(found.scores)
    assert found.score == max(found.scores) == bowl(found.best, 0)
    assert all(bowl(trial.params, 0) == trial.score for trial in register.trials)
    assert (found.failed, found.stopped) == (0, 0)
    again = sweep(bowl, plan, folder=tmp_path)  # nothing is left to do
    assert again == found


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_one_search_however_it_is_cut(kind: Any, tmp_path: Path) -> None:
    plan = replace(PLAN, sampler=kind)
    whole = sweep(bowl, plan, folder=tmp_path / "whole")
    for trials in (1, 6, 7, 14):
        cut = sweep(bowl, replace(plan, trials=trials), folder=tmp_path / "cut")
    assert params_of(tmp_path / "cut") == params_of(tmp_path / "whole")
    assert cut.scores == whole.scores
    other = sweep(bowl, replace(plan, seed=6), folder=tmp_path / "other")
    assert other.scores != whole.scores


_CHILD = """
import os, sys, time
from pathlib import Path
from finchaos.training.sweep import sweep
from tests.finchaos.training.test_sweep import PLAN, bowl
from dataclasses import replace

def slow(params, seed):
    Path(sys.argv[1], "busy").touch()
    time.sleep(0.15)
    return bowl(params, seed)

sweep(slow, replace(PLAN, sampler=sys.argv[2]), folder=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_in_the_middle_of_trials_loses_none(kind: Any, tmp_path: Path) -> None:
    killed = 0
    for after in (0.02, 0.4, 0.25):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(tmp_path / "cut"), kind], cwd=ROOT, env=os.environ
        )
        while process.poll() is None and not (tmp_path / "cut" / "busy").exists():
            time.sleep(0.01)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        (tmp_path / "cut" / "busy").unlink(missing_ok=True)
    plan = replace(PLAN, sampler=kind)
    found = sweep(bowl, plan, folder=tmp_path / "cut")
    whole = sweep(bowl, plan, folder=tmp_path / "whole")
    assert killed >= 1
    assert 1 <= found.stopped <= killed
    assert found.scores == whole.scores
    assert params_of(tmp_path / "cut") == params_of(tmp_path / "whole")
    register = read_register(tmp_path / "cut" / REGISTER, found.head)
    numbers = [trial.params["trial"] for trial in register.trials]
    assert sorted(numbers) == list(range(14 + found.stopped))


class Death(BaseException):
    """Stands for the end of a process."""


@pytest.mark.parametrize("when", ["before telling", "before recording"])
def test_a_death_between_two_writes_is_made_good(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    def die(*_: Any, **__: Any) -> None:
        raise Death

    sweep(bowl, replace(PLAN, trials=3), folder=tmp_path / "cut")
    with monkeypatch.context() as patch:
        if when == "before telling":
            patch.setattr(optuna.study.Study, "tell", die)
        else:
            patch.setattr(sweeping, "record_trial", die)
        with pytest.raises(Death):
            sweep(bowl, PLAN, folder=tmp_path / "cut")
    found = sweep(bowl, PLAN, folder=tmp_path / "cut")
    assert found.scores == sweep(bowl, PLAN, folder=tmp_path / "whole").scores
    assert found.stopped == (when == "before telling")


def test_a_torn_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    sweep(bowl, replace(PLAN, trials=3), folder=tmp_path)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "worker')
    assert len(sweep(bowl, PLAN, folder=tmp_path).scores) == 14


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 6},
        {"sampler": "evolutionary"},
        {"first_random": 6},
        {"space": {**SPACE, "width": Whole(1, 65)}},
        {"space": {name: one for name, one in SPACE.items() if name != "kind"}},
    ],
)
def test_a_study_is_gone_on_with_under_its_own_plan_only(
    other: dict[str, Any], tmp_path: Path
) -> None:
    sweep(bowl, replace(PLAN, trials=2), folder=tmp_path)
    before = (tmp_path / REGISTER).read_bytes()
    with pytest.raises(InputError, match="begun with another plan"):
        sweep(bowl, replace(PLAN, **other), folder=tmp_path)
    assert (tmp_path / REGISTER).read_bytes() == before


def test_what_fails_is_recorded_with_its_reason(tmp_path: Path) -> None:
    calls = iter(range(100))

    def fragile(params: Mapping[str, Any], seed: int) -> float:
        number = next(calls)
        if number == 1:
            raise DivergenceError("the loss is not finite")
        return float("nan") if number == 2 else bowl(params, seed)

    found = sweep(fragile, replace(PLAN, trials=5), folder=tmp_path)
    outcomes = [trial.outcome for trial in read_register(tmp_path / REGISTER).trials]
    assert outcomes[0] == outcomes[3] == "complete"
    assert "DivergenceError: the loss is not finite" in outcomes[1]
    assert outcomes[2] == "failed: a score of nan"
    assert (found.failed, len(found.scores)) == (2, 3)


def test_a_mistake_is_recorded_and_raised(tmp_path: Path) -> None:
    def wrong(params: Mapping[str, Any], seed: int) -> float:
        raise KeyError("depth")

    with pytest.raises(KeyError):
        sweep(wrong, PLAN, folder=tmp_path)
    (trial,) = read_register(tmp_path / REGISTER).trials
    assert "KeyError" in trial.outcome
    with pytest.raises(InputError, match="no trial has a score"):
        sweep(lambda *_: float("inf"), replace(PLAN, trials=2), folder=tmp_path)


def test_the_least_where_less_is_better(tmp_path: Path) -> None:
    plan = replace(PLAN, direction="minimize", trials=6)
    found = sweep(lambda params, seed: -bowl(params, seed), plan, folder=tmp_path)
    assert found.score == min(found.scores)


def test_studies_share_a_register(tmp_path: Path) -> None:
    register = tmp_path / "all.jsonl"
    for study in ("one", "two"):
        plan = replace(PLAN, study=study, trials=3)
        sweep(bowl, plan, folder=tmp_path / study, register=register)
    trials = read_register(register).trials
    assert [trial.study for trial in trials] == ["one"] * 3 + ["two"] * 3


def test_a_register_that_knows_more_than_the_journal_is_refused(tmp_path: Path) -> None:
    sweep(bowl, replace(PLAN, trials=3), folder=tmp_path)
    (tmp_path / JOURNAL).unlink()
    with pytest.raises(IntegrityError, match="the journal does not"):
        sweep(bowl, PLAN, folder=tmp_path)


def test_a_journal_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(b"no journal\n")
    with pytest.raises(IntegrityError, match="no journal of optuna"):
        sweep(bowl, PLAN, folder=tmp_path)


def test_one_search_a_folder(tmp_path: Path) -> None:
    def nested(params: Mapping[str, Any], seed: int) -> float:
        sweep(bowl, PLAN, folder=tmp_path)
        return 0.0

    with pytest.raises(InputError, match="no trial has a score"):
        sweep(nested, replace(PLAN, trials=1), folder=tmp_path)
    (trial,) = read_register(tmp_path / REGISTER).trials
    assert "another process searches" in trial.outcome


@pytest.mark.parametrize("kind", KINDS)
def test_searching_beats_guessing(kind: Any, tmp_path: Path) -> None:
    """Regret on a smooth bowl in six dimensions, over eight seeds, is well below guessing's."""
    space: dict[str, Parameter] = {f"x{n}": Real(-5.0, 5.0) for n in range(6)}

    def smooth(params: Mapping[str, Any], seed: int) -> float:
        return -sum((value - 1.0) ** 2 for value in params.values())

    found, guessed = [], []
    for seed in range(8):
        plan = SweepPlan("smooth", space, 80, seed, "abc", kind, first_random=10)
        found.append(-sweep(smooth, plan, folder=tmp_path / str(seed)).score)
        draws = random_stream(seed, "guess").uniform(-5.0, 5.0, (80, 6))
        guessed.append(((draws - 1.0) ** 2).sum(axis=1).min())
    assert np.mean(found) < 0.75 * np.mean(guessed)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Real(1.0, 1.0),
        lambda: Real(0.0, 1.0, log=True),
        lambda: Real(0.0, float("inf")),
        lambda: Whole(3, 2),
        lambda: Choice(("one",)),
        lambda: Choice(("one", "one")),
        lambda: replace(PLAN, space={}),
        lambda: replace(PLAN, space={"trial": Whole(1, 2)}),
        lambda: replace(PLAN, trials=0),
        lambda: replace(PLAN, sampler="random"),
        lambda: replace(PLAN, direction="up"),
        lambda: replace(PLAN, code=""),
    ],
)
def test_impossible_plans_are_refused(make: Any) -> None:
    with pytest.raises(InputError, match="impossible"):
        make()


def test_the_curriculum_is_searched_by_its_own_held_out_paths(tmp_path: Path) -> None:
    schema = load_schema("regime_v1")
    drawing = Drawing(paths=4, bars=300, batch=4, window_bars=64)
    area = DetectionArea(
        Config(len(schema.names), d_model=8, n_layers=1, horizons=(5,)),
        schema,
        Lessons(4, 4e-3, drawing, 16, Weights()),
    )
    space: dict[str, Parameter] = {
        "learning_rate": Real(1e-3, 1e-2, log=True),
        "d_state": Choice((4, 8)),
        "stress": Real(0.5, 2.0),
        "batch": Whole(2, 4),
    }
    plan = SweepPlan("curriculum", space, 2, 1, "abc", first_random=2)
    found = sweep(area, plan, folder=tmp_path)
    assert found.score == area(found.best, sweeping.stream_seed(1, "objective"))
    assert 0.0 < min(found.scores) <= max(found.scores) < 1.0
    with pytest.raises(InputError, match="unknown parameters"):
        area({"depth": 3}, 1)
