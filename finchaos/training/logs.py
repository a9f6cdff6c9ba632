"""Where the course of a training is written down, step by step."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TextIO

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.core.extras import installing
from finchaos.core.files import write_atomic

FIELDS = ("loss", "learning_rate", "gradient_norm", "validation_loss")
"""What a step is described by; the last only where validation ran."""


class Log(Protocol):
    """Takes down the steps of a training that may be continued."""

    def start(self, done: int) -> None:
        """Begin, or go on after ``done`` steps: what was written of later ones is void."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take down a step; the first is 1."""

    def close(self) -> None:
        """Write out what is left."""


class CsvLog:
    """A CSV file with a line a step, flushed line by line.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def start(self, done: int) -> None:
        """Keep the lines up to ``done`` steps; lines of steps that are taken again go.

        Raises
        ------
        InputError
            If the file is there and no such log.
        """
        header, kept = ",".join(("step", *FIELDS)), list[str]()
        if self._path.exists():
            text = self._path.read_text(encoding="utf-8")
            first, *lines = text.split("\n")[:-1] or [header]  # an unfinished line is dropped
            if first != header:
                raise InputError(f"{self._path} is no log of a training", got=first[:80])
            kept = [line for line in lines if _step(line) in range(1, done + 1)]
        write_atomic(self._path, "\n".join([header, *kept, ""]).encode())
        self._file = self._path.open("a", encoding="utf-8", newline="")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line."""
        if self._file is None:
            raise InputError("a log is started before it is written to")
        line = io.StringIO()
        cells = (repr(values[name]) if name in values else "" for name in FIELDS)
        csv.writer(line, lineterminator="\n").writerow([step, *cells])
        self._file.write(line.getvalue())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoardLog:
    """Scalars for TensorBoard; needs the package ``tensorboard``.

    Parameters
    ----------
    folder : Path
        Of the event files.

    Raises
    ------
    MissingDependencyError
        If the package is absent.
    """

    def __init__(self, folder: Path) -> None:
        if find_spec("tensorboard") is None:
            raise MissingDependencyError(
                "the package tensorboard is not installed",
                remedy=f"{installing('tensorboard')}, or write a CSV log",
            )
        self._folder = folder
        self._writer: Any = None

    def start(self, done: int) -> None:
        """Open a file of events; TensorBoard hides what older files say of later steps."""
        writer = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(str(self._folder), purge_step=done + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add the scalars of a step."""
        if self._writer is None:
            raise InputError("a log is started before it is written to")
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is left."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _step(line: str) -> int:
    """The step of a line, 0 if it has none."""
    cells = line.split(",")
    return int(cells[0]) if len(cells) == 1 + len(FIELDS) and cells[0].isdigit() else 0
