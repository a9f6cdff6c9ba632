"""The validator is validated: planted defects are found, sound models are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from finchaos.cli.main import app
from finchaos.cli.selftest import kinds
from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.selftest.matrix import DEFECTS, SEVERE, Matrix, Verdict, self_test
from governance.selftest.planted import Behaviour, Defect
from governance.selftest.sound import KINDS, market

FEW = {name: KINDS[name] for name in ("volatility_threshold", "volatility_regime")}
ONE = {"volatility_regime": KINDS["volatility_regime"]}
"""It has everything that a defect can be planted in."""
SAMPLE = DEFECTS[::3]
"""Of every family; all of them take the command some minutes, and its figures ship."""


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return self_test(sound=4, kinds=ONE, defects=SAMPLE)


def test_defects_have_names_of_their_own_and_sound_models_conform() -> None:
    assert len({one.name for one in DEFECTS}) == len(DEFECTS) >= 45
    assert len({one.family for one in DEFECTS}) >= 4
    assert len(KINDS) >= 5
    assert {one.family for one in SAMPLE} == {one.family for one in DEFECTS}
    for make in KINDS.values():
        subject = make()
        assert isinstance(subject, Subject)
        for one in DEFECTS:
            if not one.fits(subject):
                continue
            planted = one.plant(subject)
            assert isinstance(planted, Subject)
            assert planted.card == subject.card
            assert planted.digest != subject.digest


@pytest.mark.parametrize("defect", SAMPLE, ids=lambda one: one.name)
def test_every_defect_is_found_in_a_model_that_has_everything(
    defect: Defect, matrix: Matrix
) -> None:
    found, planted = matrix.found(defect.name)
    assert (found, planted) == (1, 1)


def test_nearly_all_are_found_and_no_sound_model_is_accused(matrix: Matrix) -> None:
    share, interval = matrix.found_share
    assert share > 0.95
    assert interval.low < share <= interval.high
    assert not matrix.falsely_accused
    assert matrix.false_share[0] == 0.0
    assert SEVERE == ("critical", "high")


def test_what_is_found_is_the_defect_and_not_the_wrapper() -> None:
    """A defect that does nothing is not found."""
    harmless = Defect("harmless", "none", "Nothing is wrong", Behaviour)
    found = self_test(sound=1, kinds=FEW, defects=[harmless])
    assert len(found.missed) == len(FEW)
    assert not found.falsely_accused


def test_a_defect_nobody_knew_is_found_by_what_it_is() -> None:
    """It is not on the list: the median of the last and the next three closes decides."""

    def answer(base: Subject, bars: object) -> object:
        signals = base.signals(bars)  # type: ignore[arg-type]
        close = bars.close  # type: ignore[attr-defined]
        padded = np.pad(close, (0, 3), mode="edge")
        ahead = np.median(np.lib.stride_tricks.sliding_window_view(padded, 4), axis=1)
        position = np.where(ahead > close, signals.position, 0.5 * signals.position)
        return replace(signals, position=position)

    odd = Defect("odd", "look-ahead", "", lambda: Behaviour(answer=answer))  # type: ignore[arg-type]
    assert not self_test(sound=1, kinds=FEW, defects=[odd]).missed


def test_markets_are_those_of_their_seeds() -> None:
    assert market(1).digest == market(1).digest != market(2).digest


def test_the_command_writes_the_matrix(tmp_path: Path) -> None:
    out = tmp_path / "matrix.json"
    arguments = ["selftest", "--sound", "2", "--kind", "volatility_threshold"]
    arguments += ["--defect", "next_return", "--defect", "nan_position", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "defects found: 100.0% of 2" in result.output
    found = json.loads(out.read_text())
    assert [row["defect"] for row in found["rows"]] == ["next_return", "nan_position"]
    assert found["false_share"] == 0.0
    assert "point_in_time" in found["rows"][0]["checks"]


def test_the_command_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["selftest", "--defect", "witchcraft"])
    assert result.exit_code == 2
    with pytest.raises(InputError, match="needs sound subjects"):
        self_test(sound=0)


def test_shares_count_what_was_missed() -> None:
    verdicts = (Verdict("a", "x", 1, ("luck.timing",)), Verdict("b", "x", 1, ()))
    matrix = Matrix(verdicts, (Verdict("a", "", 1, ()), Verdict("a", "", 2, ("r.s",))))
    assert matrix.found_share[0] == matrix.false_share[0] == 0.5
    assert [one.kind for one in matrix.missed] == ["b"]
    assert verdicts[0].checks == ("luck",)
    assert matrix.rows()[0]["missed_in"] == ["b"]


@pytest.mark.slow
def test_the_command_has_a_network_among_its_sound_models(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    known = kinds()
    assert set(known) == {*KINDS, "mamba_regime"}
    assert isinstance(known["mamba_regime"](), Subject)
    arguments = ["selftest", "--sound", "1", "--kind", "mamba_regime", "--workers", "1"]
    arguments += ["--defect", "stale_weights", "--out", str(tmp_path / "matrix.json")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "sound models accused: 0.0% of 1" in result.output
