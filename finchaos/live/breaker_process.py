"""The process of a circuit breaker: ``python -m finchaos.live.breaker_process FOLDER READY_FD``.

It listens on a Unix socket in the folder, answers one line of JSON with one line, and has its
record on the disk before it answers. Without word from the trading process for too long it latches
and ends: the latch on the disk says the rest.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

from finchaos.core.errors import FinchaosError, InputError, StorageError
from finchaos.core.files import lock_exclusively
from finchaos.live.breaker_record import BreakerRecord, load_record, save_record

SOCKET, LOCK = "breaker.sock", "breaker.lock"
LONGEST_LINE = 65_536
_READING_SECONDS = 1.0


def read_line(connection: socket.socket) -> bytes:
    """The bytes up to the first newline, without it.

    Raises
    ------
    OSError
        If they do not come in time.
    ValueError
        If the other side ends before, or says too much.
    """
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(LONGEST_LINE)
        data += part
        if not part or len(data) > LONGEST_LINE:
            raise ValueError("a line that does not end")
    return data[:-1]


def lock_folder(folder: Path) -> int:
    """The lock that one breaker has; let go of by the end of the process that holds it.

    Raises
    ------
    InputError
        If another process has it.
    """
    return lock_exclusively(
        folder / LOCK,
        busy=f"the circuit breaker in {folder} is running",
        remedy="ask it through ProcessBreaker, or stop it first",
    )


class BreakerServer:
    """A record in a folder, and who asks about it.

    Parameters
    ----------
    folder : pathlib.Path

    Raises
    ------
    InputError
        If another breaker runs there, or none was armed.
    CheckpointError
        If the record is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = lock_folder(folder)
        self.record = load_record(folder)
        self._heard = time.monotonic()
        self._stopping = False
        path = folder / SOCKET
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(before)
        self._listener.listen(8)

    def serve(self) -> None:
        """Answer until stopped, or until nothing was heard for too long."""
        while not self._stopping:
            left = self._heard + self.record.limits.silence_seconds - time.monotonic()
            if left <= 0.0:
                seconds = self.record.limits.silence_seconds
                self._keep(self.record.tripped(f"no word from trading for {seconds:g} seconds"))
                break
            self._listener.settimeout(left)
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection:
                self._serve_one(connection)
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        (self._folder / SOCKET).unlink(missing_ok=True)
        self._listener.close()
        os.close(self._lock)

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What to say to a message; it is kept before it is said."""
        error = ""
        try:
            self._do(asked)
        except (InputError, KeyError, TypeError, ValueError) as fault:
            error = f"{type(fault).__name__}: {fault}"
        said = {"id": asked.get("id"), "pid": os.getpid(), "reason": self.record.reason}
        return {**said, "error": error}

    def _do(self, asked: dict[str, Any]) -> None:
        what = asked["do"]
        if what == "report":
            ts, equity, exposure = asked["ts"], asked["equity"], asked["exposure"]
            self._keep(self.record.after(int(ts), float(equity), float(exposure)))
        elif what == "trip":
            self._keep(self.record.tripped(str(asked["reason"]) or "stopped without a reason"))
        elif what == "request_rearm":
            self._keep(self.record.asked(asked["person"], time.time_ns()))
        elif what == "rearm":
            self._keep(self.record.rearmed(asked["person"], time.time_ns()))
        elif what == "stop":
            self._stopping = True
        elif what not in ("beat", "hello"):
            raise ValueError(f"unknown message {what!r}")
        if what in ("report", "beat", "request_rearm", "rearm"):
            self._heard = time.monotonic()

    def _keep(self, record: BreakerRecord) -> None:
        """Take a record; one that the disk does not take is a reason to stop."""
        try:
            save_record(self._folder, record)
            self.record = record
        except StorageError as error:
            self.record = record.tripped(f"the breaker cannot keep its record: {error}"[:300])
            _log(self.record.reason)

    def _serve_one(self, connection: socket.socket) -> None:
        connection.settimeout(_READING_SECONDS)
        try:
            asked = json.loads(read_line(connection))
            if not isinstance(asked, dict):
                raise ValueError("a message is a JSON object")
            connection.sendall(json.dumps(self.answer(asked)).encode() + b"\n")
        except (OSError, ValueError) as error:  # whoever asked gets no answer, and must stop
            _log(f"a message that was not understood: {error!r}")


def main(arguments: list[str]) -> int:
    """Run a breaker; the exit code is 2 where it cannot begin."""
    folder, ready = Path(arguments[0]), int(arguments[1])
    try:
        server = BreakerServer(folder)
    except (FinchaosError, OSError) as error:
        os.write(ready, f"{error}\n".encode())
        return 2
    os.write(ready, b"ready\n")
    os.close(ready)
    server.serve()
    return 0


def _log(text: str) -> None:
    """Say something in the log that standard error is."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
