"""A register of trials is believed as far as its own hashes hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from finchaos.core.errors import DataError, IntegrityError
from finchaos.training.register import read_register, record_trial
from governance.trials import read_trials


@pytest.fixture
def register(tmp_path: Path) -> Path:
    path = tmp_path / "trials.jsonl"
    for number, score in enumerate((0.5, None, 0.75, 0.25)):
        outcome = "complete" if score is not None else "failed: it diverged"
        record_trial(
            path,
            "one" if number < 3 else "two",
            {"rate": number},
            seed=2**60,
            score=score,
            code="abc",
            outcome=outcome,
        )
    return path


def returns(path: Path, values: np.ndarray) -> Path:
    rows = [f"2001-01-{n + 1:02d}," + ",".join(map(str, row)) for n, row in enumerate(values)]
    header = "date," + ",".join(f"t{n}" for n in range(values.shape[1]))
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_it_counts_what_training_recorded(register: Path) -> None:
    every = read_trials(register)
    assert (every.count, every.scores.tolist()) == (4, [0.5, 0.75, 0.25])
    assert every.head == read_register(register).head
    one = read_trials(register, study="one")
    assert (one.count, one.scores.tolist()) == (3, [0.5, 0.75])
    assert one.digest != every.digest


def test_returns_beside_it(register: Path, tmp_path: Path) -> None:
    values = np.arange(20.0).reshape(10, 2) / 1000
    table = returns(tmp_path / "returns.csv", values)
    found = read_trials(register, returns=table)
    assert found.returns is not None
    assert np.array_equal(found.returns, values)
    assert found.digest != read_trials(register).digest


@pytest.mark.parametrize("fault", ["score", "order", "removed", "added", "no json", "torn"])
def test_any_change_is_seen(register: Path, fault: str) -> None:
    lines = register.read_bytes().splitlines(keepends=True)
    changed = {
        "score": [lines[0].replace(b"0.5", b"0.6"), *lines[1:]],
        "order": [lines[1], lines[0], *lines[2:]],
        "removed": [lines[0], *lines[2:]],
        "added": [*lines, lines[-1]],
        "no json": [*lines, b"trial\n"],
        "torn": [*lines, b'{"at": "2026'],
    }[fault]
    register.write_bytes(b"".join(changed))
    with pytest.raises(IntegrityError):
        read_trials(register)


def test_what_is_not_there_is_named(register: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trial of 'three'"):
        read_trials(register, study="three")
    with pytest.raises(DataError, match="cannot be read"):
        read_trials(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(DataError, match="holds no trial"):
        read_trials(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "date,a\n2001-01-01,0.1\n",
        "date,a,b\n2001-01-01,x,0.1\n",
        "date,a,b\n2001-01-01,,0.1\n",
        "date,a,b\n2001-01-02,0,0\n2001-01-01,0,0\n",
        "date,a,b\nyesterday,0,0\n",
    ],
)
def test_returns_that_are_none_are_refused(register: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "returns.csv").write_text(text)
    with pytest.raises(DataError, match="no returns of trials"):
        read_trials(register, returns=tmp_path / "returns.csv")


def test_a_line_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps({"hash": "0" * 64, "prev": "0" * 64}) + "\n")
    with pytest.raises(IntegrityError, match="is no trial"):
        read_trials(tmp_path / "t.jsonl")
