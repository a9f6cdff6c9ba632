"""The register of trials: every setting that was ever tried, and what it scored.

A score that is the best of many must be judged by how many there were (Bailey and López de Prado,
2014). The register is a file of canonical JSON, one trial a line, to which is only added. The
``hash`` of a line is the SHA-256 of the canonical JSON of its other fields; ``prev`` is the hash of
the line before, 64 zeros for the first. Whoever keeps the head, the hash of the last line, sees
that lines were changed, moved, inserted, removed or cut off.

A process killed while it writes leaves a torn last line. The next trial takes its place and keeps
its bytes in ``torn``.

References
----------
Bailey and López de Prado (2014), "The deflated Sharpe ratio", Journal of Portfolio Management
40(5): the number of trials and the variance of their scores are what deflates.
"""

from __future__ import annotations

import base64
import fcntl
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.files import sync_directory
from finchaos.core.provenance import canonical_json, digest, parse_json

GENESIS = "0" * 64
"""``prev`` of the first trial."""


@dataclass(frozen=True)
class Trial:
    """One line of the register.

    Attributes
    ----------
    number : int
        From 1.
    at : str
        When it was recorded, ISO 8601 UTC.
    study : str
        What the trials of one search have in common.
    params : mapping
        JSON values.
    seed : str
        In decimals; too large for a number of JSON.
    score : float or None
        None for a trial that failed.
    outcome : str
        ``complete``, or why there is no score.
    code : str
        Version of the code, such as a commit.
    torn : str
        Bytes of an unfinished line that this one replaced, base64; usually none.
    prev, hash : str
    """

    number: int
    at: str
    study: str
    params: Mapping[str, Any]
    seed: str
    score: float | None
    outcome: str
    code: str
    torn: str
    prev: str
    hash: str


@dataclass(frozen=True)
class Register:
    """A register that holds together.

    Attributes
    ----------
    trials : tuple of Trial
    torn : bytes
        What stands after the last complete line.
    """

    trials: tuple[Trial, ...] = ()
    torn: bytes = b""

    @property
    def head(self) -> str:
        """Hash of the last trial."""
        return self.trials[-1].hash if self.trials else GENESIS

    def scores(self, study: str) -> list[float]:
        """Scores of the complete trials of a study, in order."""
        of_study = (trial.score for trial in self.trials if trial.study == study)
        return [score for score in of_study if score is not None]


def record_trial(
    path: Path,
    study: str,
    params: Mapping[str, Any],
    *,
    seed: int,
    score: float | None,
    code: str,
    outcome: str = "complete",
    at: datetime | None = None,
) -> Trial:
    """Add a trial and flush it to the disk; waits for other processes.

    Parameters
    ----------
    path : Path
        Of the register; made if absent.
    study : str
    params : mapping
        JSON values.
    seed : int
    score : float or None
        None exactly if the outcome is not ``complete``.
    code : str
        Version of the code.
    outcome : str
        Why there is no score, if there is none.
    at : datetime, optional
        Now by default.

    Raises
    ------
    InputError
        If a value cannot be recorded.
    IntegrityError
        If the register does not hold together: nothing is added to a broken one.
    """
    if not study or not code or (score is None) == (outcome == "complete"):
        raise InputError(
            "a trial needs a study, a code version, and a score or a reason for having none",
            got=f"study {study!r}, code {code!r}, score {score}, outcome {outcome!r}",
        )
    if score is not None and not math.isfinite(score):
        raise InputError(
            "a score is a finite number", remedy="record no score and why", got=f"{score}"
        )
    when = (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        sync_directory(path.parent)
        content = os.pread(handle, os.fstat(handle).st_size, 0)
        register = _parsed(content)
        fields: dict[str, Any] = {
            "number": len(register.trials) + 1,
            "at": when,
            "study": study,
            "params": dict(params),
            "seed": str(seed),
            "score": score,
            "outcome": outcome,
            "code": code,
            "torn": base64.b64encode(register.torn).decode(),
            "prev": register.head,
        }
        trial = Trial(**fields, hash=_digest(fields))
        _append(handle, len(content) - len(register.torn), register.torn, trial)
        return trial
    finally:
        os.close(handle)


def read_register(path: Path, head: str | None = None) -> Register:
    """The register at a place; empty if nothing was ever recorded.

    Parameters
    ----------
    path : Path
    head : str, optional
        A hash that was the head once: it must still be there.

    Raises
    ------
    IntegrityError
        If a trial was changed, moved, inserted or removed.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        register = Register()
    else:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)  # or a line being written would look torn
            register = _parsed(os.pread(handle, os.fstat(handle).st_size, 0))
        finally:
            os.close(handle)
    if head is not None and head not in {GENESIS, *(trial.hash for trial in register.trials)}:
        raise IntegrityError(
            f"the register {path} lacks a trial that it had",
            expected=f"a trial of hash {head[:12]}",
            got=f"{len(register.trials)} trials up to {register.head[:12]}",
            remedy="its end was cut off or it was written anew; restore it",
        )
    return register


def _digest(fields: Mapping[str, Any]) -> str:
    try:
        return digest(dict(fields))
    except ValueError as error:
        raise InputError("parameters of a trial are JSON values", got=str(error)) from error


def _line(trial: Trial) -> bytes:
    return canonical_json(asdict(trial)) + b"\n"


def _append(handle: int, end: int, torn: bytes, trial: Trial) -> None:
    """Write over the torn bytes, which the line holds itself, so they are never lost."""
    line, written = _line(trial), 0
    try:
        while written < len(line):
            written += os.pwrite(handle, line[written:], end + written)
        os.ftruncate(handle, end + len(line))
        os.fsync(handle)
    except OSError:  # a full disk: leave the file as it was
        os.pwrite(handle, torn, end)
        os.ftruncate(handle, end + len(torn))
        raise


def _parsed(content: bytes) -> Register:
    complete, newline, torn = content.rpartition(b"\n")
    trials: list[Trial] = []
    previous = GENESIS
    for number, line in enumerate(complete.split(b"\n") if newline else (), start=1):
        trials.append(_trial(line, number, previous))
        previous = trials[-1].hash
    return Register(tuple(trials), torn)


def _trial(line: bytes, number: int, previous: str) -> Trial:
    where = f"line {number} of the register of trials"
    try:
        fields = parse_json(line)
        trial = Trial(**fields)
        recorded = fields.pop("hash")
        sound = recorded == digest(fields) and line + b"\n" == _line(trial)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IntegrityError(f"{where} is no trial", got=str(error)[:200]) from error
    if not sound:
        raise IntegrityError(f"{where} was changed after it was written")
    if trial.number != number or trial.prev != previous:
        raise IntegrityError(
            f"{where} does not follow the one before",
            expected=f"trial {number} after {previous[:12]}",
            got=f"trial {trial.number} after {trial.prev[:12]}",
            remedy="trials were removed, inserted or put into another order",
        )
    return trial
