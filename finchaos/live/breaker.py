"""A circuit breaker in a process of its own, and the trading process's side of it.

The breaker is no child of the trading process and outlives it. Whatever goes wrong between the two
means stop: a breaker that is dead, that does not answer in time, or that says something else than
an answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from finchaos.core.errors import FinchaosError, InputError
from finchaos.live.breaker_process import SOCKET, lock_folder, read_line
from finchaos.live.breaker_record import (
    RECORD,
    BreakerLimits,
    BreakerRecord,
    load_record,
    named,
    save_record,
)
from finchaos.live.session import AccountReport

LOG = "breaker.log"
_LONGEST_PATH = 100
# The process in between ends at once, so that the breaker is nobody's child.
_LAUNCH = """
import subprocess, sys
with open(sys.argv[1], "ab") as log:
    subprocess.Popen(sys.argv[3:], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                     pass_fds=[int(sys.argv[2])], start_new_session=True)
"""


def arm_breaker(folder: Path, person: str, limits: BreakerLimits | None = None) -> BreakerRecord:
    """Arm a breaker that is not running, for the first time or again, in the name of a person.

    Parameters
    ----------
    folder : pathlib.Path
        Where its record lies; not the folder of the session, so that both are not lost together.
    person : str
        Who answers for it.
    limits : BreakerLimits, optional
        Those of the record that is there, if None.

    Raises
    ------
    InputError
        If the name is blank, the breaker is running, there are no limits to go by, or two persons
        must clear its latch.
    CheckpointError
        If the record that is there is damaged.
    StorageError
        If the disk does not take it.

    Returns
    -------
    BreakerRecord
    """
    answers = named(person)
    _socket_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    try:
        if limits is None or (folder / RECORD).exists():
            known = load_record(folder)
            record = known.replaced_by(limits or known.limits, answers)
        else:
            record = BreakerRecord(limits, answers)
        save_record(folder, record)
    finally:
        os.close(lock)
    return record


class ProcessBreaker:
    """The trading process's side of a breaker; a :class:`finchaos.live.session.Breaker`.

    Left by a ``with`` block without an exception it stops the breaker; left by one it does not, so
    that the breaker's silence latches. One that was never started says stop.

    Parameters
    ----------
    folder : pathlib.Path
        Where a breaker was armed.
    answer_seconds : float
        Longest wait for an answer.
    """

    def __init__(self, folder: Path, *, answer_seconds: float = 5.0) -> None:
        if not 0.0 < answer_seconds < 3600.0:
            raise InputError(
                "impossible wait for a circuit breaker",
                expected="seconds above 0 and below 3600",
                got=repr(answer_seconds),
            )
        self.folder, self._seconds = folder, answer_seconds
        self._path = _socket_path(folder)
        self._ids = count(1)

    @classmethod
    def start(
        cls, folder: Path, *, answer_seconds: float = 5.0, start_seconds: float = 60.0
    ) -> ProcessBreaker:
        """Start the breaker's process, or find the one that is running.

        Parameters
        ----------
        folder : pathlib.Path
        answer_seconds : float
        start_seconds : float
            Longest wait for a process to begin.

        Raises
        ------
        InputError
            If no breaker was armed there.
        CheckpointError
            If its record is damaged.
        FinchaosError
            If the process does not begin.
        """
        breaker = cls(folder, answer_seconds=answer_seconds)
        load_record(folder)
        until = time.monotonic() + answer_seconds
        while _is_running(folder):
            try:
                breaker.pid()
                return breaker
            except FinchaosError:  # one that ends holds its lock longer than it answers
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
        said = _launch(folder, start_seconds)
        if said != "ready":
            raise FinchaosError(
                f"the circuit breaker in {folder} did not begin",
                got=said or f"nothing within {start_seconds:g} seconds",
                remedy=f"see {LOG} there",
            )
        return breaker

    def check(self, report: AccountReport) -> str:
        """Why trading must stop; empty if it need not. It never raises."""
        return self._stop_unless_told(
            do="report", ts=report.ts, equity=report.equity, exposure=report.exposure
        )

    def beat(self) -> str:
        """Say that trading goes on while there are no bars; the answer is that of :meth:`check`."""
        return self._stop_unless_told(do="beat")

    def trip(self, reason: str) -> str:
        """Stop trading, from any process; the reason that stands."""
        return str(self._asked(do="trip", reason=reason)["reason"])

    def request_rearm(self, person: str) -> None:
        """Ask that the latch of a running breaker be cleared, where two persons clear it.

        Raises
        ------
        InputError
            If this cannot be a name, one person is enough, or the latch is not set.
        FinchaosError
            If the breaker does not answer.
        """
        self._asked(do="request_rearm", person=named(person))

    def rearm(self, person: str) -> None:
        """Clear the latch of a running breaker in the name of a person; losses count anew.

        Raises
        ------
        InputError
            If the name is blank; where two persons clear it, also if no other person asked within
            the time that the limits state.
        FinchaosError
            If the breaker does not answer.
        """
        self._asked(do="rearm", person=named(person))

    def pid(self) -> int:
        """Number of the breaker's process.

        Raises
        ------
        FinchaosError
            If it does not answer.
        """
        return int(self._asked(do="hello")["pid"])

    def stop(self) -> None:
        """End the breaker's process in good order; its latch stays as it is.

        Raises
        ------
        FinchaosError
            If it does not answer.
        """
        self._asked(do="stop")

    def __enter__(self) -> ProcessBreaker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and _is_running(self.folder):
            self.stop()

    def _stop_unless_told(self, **message: Any) -> str:
        try:
            answer = self._exchange(message)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return self._without_answer(error)
        return str(answer["reason"] or answer["error"])

    def _asked(self, **message: Any) -> dict[str, Any]:
        try:
            answer = self._exchange(message)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FinchaosError(self._without_answer(error)) from error
        if answer["error"]:
            raise InputError("the circuit breaker refuses", got=answer["error"])
        return answer

    def _exchange(self, message: dict[str, Any]) -> dict[str, Any]:
        """Say a message over a connection of its own; the answer, found to be one."""
        number = f"{os.getpid()}-{next(self._ids)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._seconds)
            connection.connect(self._path)
            connection.sendall(json.dumps({"id": number, **message}).encode() + b"\n")
            answer = json.loads(read_line(connection))
        texts = (answer["reason"], answer["error"])
        if answer["id"] != number or not all(isinstance(text, str) for text in texts):
            raise ValueError("an answer to something else")
        return dict(answer)

    def _without_answer(self, error: Exception) -> str:
        """Why trading must stop where no answer came: the latch on disk says more, if set."""
        why = f"the circuit breaker does not answer: {type(error).__name__}"
        with contextlib.suppress(FinchaosError):
            why += f"; {load_record(self.folder).reason}".rstrip("; ")
        return why


def _socket_path(folder: Path) -> str:
    path = str(folder.absolute() / SOCKET)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InputError(
            "too long a path for the socket of a circuit breaker",
            expected=f"at most {_LONGEST_PATH} bytes",
            got=path,
            remedy="choose a folder nearer to the root",
        )
    return path


def _is_running(folder: Path) -> bool:
    try:
        os.close(lock_folder(folder))
    except InputError:
        return True
    return False


def _launch(folder: Path, seconds: float) -> str:
    """Start a breaker as nobody's child; what it says first, empty if nothing in time."""
    root = str(Path(__file__).resolve().parents[2])
    known = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}
    read, write = os.pipe()
    module = "finchaos.live.breaker_process"
    breaker = [sys.executable, "-m", module, str(folder.absolute()), str(write)]
    launcher = [sys.executable, "-c", _LAUNCH, str(folder / LOG), str(write), *breaker]
    try:
        subprocess.run(launcher, check=True, env=environment, pass_fds=[write], timeout=seconds)
        os.close(write)
        write = -1
        if not select.select([read], [], [], seconds)[0]:
            return ""
        return os.read(read, 4096).decode(errors="replace").strip()
    except (subprocess.SubprocessError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)
