"""What was tried before a model was chosen: a register of trials, and what each would have earned.

The register is the file that training appends to, one trial a line in canonical JSON; here it is
read and held against its own hashes, without the code that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from finchaos.core.errors import DataError, IntegrityError
from finchaos.core.provenance import array_digest, digest, parse_json

_GENESIS = "0" * 64


@dataclass(frozen=True, eq=False)
class Trials:
    """The trials of a search.

    Attributes
    ----------
    study : str
        What they have in common; empty for all of a register.
    count : int
        With a score or without.
    scores : numpy.ndarray, shape (n,)
        Of those that have one, in order.
    sharpe_scores : bool
        Whether scores are Sharpe ratios a year.
    head : str
        Hash of the register's last line.
    returns : numpy.ndarray or None, shape (t, m)
        Of every trial, in the order of time.
    """

    study: str
    count: int
    scores: np.ndarray
    sharpe_scores: bool
    head: str
    returns: np.ndarray | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of everything here."""
        arrays = {"scores": self.scores}
        if self.returns is not None:
            arrays["returns"] = self.returns
        facts = [self.study, self.count, self.sharpe_scores, self.head]
        return digest([*facts, array_digest(arrays)])


def read_trials(
    register: Path,
    *,
    study: str = "",
    sharpe_scores: bool = False,
    returns: Path | None = None,
) -> Trials:
    """Read a register, and the returns of its trials if there are any.

    Parameters
    ----------
    register : pathlib.Path
    study : str
        Of which trials count; all if empty.
    sharpe_scores : bool
    returns : pathlib.Path, optional
        A CSV file: first column dates, then one column of returns a trial.

    Raises
    ------
    IntegrityError
        If a line was changed, moved, inserted or removed, or the last one is torn.
    DataError
        If there is no such file, no such study, or returns that are no numbers.
    """
    try:
        content = register.read_bytes()
    except OSError as error:
        raise DataError(f"the register {register} cannot be read", got=str(error)) from error
    complete, newline, torn = content.rpartition(b"\n")
    if torn:
        raise IntegrityError(
            f"the last line of {register} is not whole",
            remedy="let the search that writes it record another trial, which keeps the torn bytes",
        )
    lines: list[dict[str, Any]] = []
    head = _GENESIS
    for number, line in enumerate(complete.split(b"\n") if newline else (), start=1):
        lines.append(_line(line, number, head, register))
        head = str(lines[-1]["hash"])
    wanted = [line for line in lines if study in ("", line["study"])]
    if not wanted:
        known = sorted({str(line["study"]) for line in lines})
        raise DataError(
            f"{register} holds no trial of {study!r}" if study else f"{register} holds no trial",
            expected=", ".join(known) or "a line a trial",
        )
    scores = [float(line["score"]) for line in wanted if line["score"] is not None]
    table = None if returns is None else _returns(returns)
    return Trials(study, len(wanted), np.array(scores), sharpe_scores, head, table)


def _line(line: bytes, number: int, head: str, register: Path) -> dict[str, Any]:
    where = f"line {number} of {register}"
    try:
        fields = dict(parse_json(line))
        said = fields.pop("hash")
        sound = said == digest(fields) and fields["prev"] == head and fields["number"] == number
        known = isinstance(fields["study"], str) and isinstance(fields["score"], float | int | None)
    except (ValueError, TypeError, KeyError) as error:
        raise IntegrityError(f"{where} is no trial", got=str(error)[:200]) from error
    if not (sound and known):
        raise IntegrityError(
            f"{where} is not what was recorded there",
            remedy="a trial was changed, moved, inserted or removed: restore the register",
        )
    return {**fields, "hash": said}


def _returns(path: Path) -> np.ndarray:
    try:
        frame = pd.read_csv(path, index_col=0)
        values = frame.to_numpy(dtype=np.float64)
        dates = pd.to_datetime(frame.index)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path} holds no returns of trials", got=str(error)[:200]) from error
    if values.shape[1] < 2 or not np.isfinite(values).all() or not dates.is_monotonic_increasing:
        raise DataError(
            f"{path} holds no returns of trials",
            expected="dates that rise, and two or more columns of finite returns",
            got=f"{values.shape[0]} rows, {values.shape[1]} columns",
        )
    return values
