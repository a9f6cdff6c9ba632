"""Logs: complete lines, taken up where training is."""

from __future__ import annotations

from pathlib import Path

import pytest

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.training import logs
from finchaos.training.logs import CsvLog, Log, TensorBoardLog

VALUES = {"loss": 0.1 + 0.2, "learning_rate": 1e-3, "gradient_norm": 2.0}
HEADER = "step,loss,learning_rate,gradient_norm,validation_loss"


def write(log: Log, first: int, last: int) -> None:
    log.start(first - 1)
    for step in range(first, last + 1):
        log.write(step, VALUES if step % 2 else {**VALUES, "validation_loss": 0.5})
    log.close()


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    write(CsvLog(tmp_path / "l.csv"), 1, 2)
    lines = (tmp_path / "l.csv").read_text().splitlines()
    assert lines == [HEADER, f"1,{0.1 + 0.2!r},0.001,2.0,", f"2,{0.1 + 0.2!r},0.001,2.0,0.5"]


def test_steps_that_are_taken_again_are_written_once(tmp_path: Path) -> None:
    write(CsvLog(tmp_path / "whole.csv"), 1, 9)
    write(CsvLog(tmp_path / "l.csv"), 1, 7)
    with (tmp_path / "l.csv").open("a") as file:
        file.write("8,0.3,0.0")  # as a kill may leave it
    write(CsvLog(tmp_path / "l.csv"), 5, 9)
    assert (tmp_path / "l.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_line_without_its_end_is_dropped_even_if_it_looks_whole(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"{HEADER}\n1,0.5,0.1,0.1,0.1\n2,0.5,0.1,0.1,0.1")
    write(CsvLog(tmp_path / "l.csv"), 3, 3)
    steps = [line.split(",")[0] for line in (tmp_path / "l.csv").read_text().splitlines()]
    assert steps == ["step", "1", "3"]


def test_other_files_are_not_overwritten_and_logs_are_started_first(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("dear diary\n")
    with pytest.raises(InputError, match="no log of a training"):
        CsvLog(tmp_path / "notes.csv").start(0)
    assert (tmp_path / "notes.csv").read_text() == "dear diary\n"
    with pytest.raises(InputError, match="started before"):
        CsvLog(tmp_path / "l.csv").write(1, VALUES)
    CsvLog(tmp_path / "l.csv").close()


def test_tensorboard_is_asked_for_where_it_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="tensorboard is not installed"):
        TensorBoardLog(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(TensorBoardLog(tmp_path), 1, 4)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert [event.step for event in read.Scalars("loss")] == [1, 2, 3, 4]
    assert [event.step for event in read.Scalars("validation_loss")] == [2, 4]
    assert read.Scalars("loss")[0].value == pytest.approx(0.3)
