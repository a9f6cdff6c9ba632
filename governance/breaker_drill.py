"""Killing processes around a circuit breaker, and looking at what is left.

The breaker and those who trade under it are driven from outside, in processes of their own, by
lines of JSON (:mod:`finchaos.live.breaker_desk` says which); whatever breaker speaks them can be
put through the same drill.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

ANSWER_SECONDS = 60.0
_LONG, _SHORT = 600.0, 1.0
_FIRST, _SECOND = "Ada Byron", "Emil Post"
PROMISES: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "outlives_trading": (
            "The trading process is killed (SIGKILL)",
            "The breaker's process goes on and answers the next one",
        ),
        "latches_in_silence": (
            "Nobody reports any more",
            "The latch is set on the disk when the stated time has passed",
        ),
        "stays_latched": (
            "Trading begins again under a latch that was set",
            "It is told to stop",
        ),
        "one_person_refused": (
            "One person asks and confirms, in one spelling of the name and in another",
            "The latch stays",
        ),
        "two_persons_rearm": (
            "One person asks and another confirms in time",
            "Trading may go on",
        ),
        "stops_at_a_limit": (
            "The account reports a loss beyond the limit",
            "It is told to stop",
        ),
        "silence_means_stop": (
            "The breaker's process is killed (SIGKILL)",
            "Whoever asks is told to stop",
        ),
        "latch_outlives_breaker": (
            "The breaker's process is killed while its latch is set, and started again",
            "The latch is still set, for the same reason",
        ),
    }
)
"""For each promise what is done, and what must come of it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one promise.

    Attributes
    ----------
    promise : str
    kept : bool
    seen : str
        What was said, in short.
    """

    promise: str
    kept: bool
    seen: str


def cannot_run() -> str:
    """Why the drill cannot run on this machine; empty if it can."""
    missing = [
        name
        for name, there in (
            ("Unix sockets", hasattr(socket, "AF_UNIX")),
            ("SIGKILL", hasattr(signal, "SIGKILL")),
            ("sessions of processes", hasattr(os, "setsid")),
        )
        if not there
    ]
    return f"this machine has no {', no '.join(missing)}" if missing else ""


class Desk:
    """A process that trades under breakers and does what it is told.

    Parameters
    ----------
    module : str
        Run as ``python -m MODULE``.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        root = str(Path(__file__).resolve().parents[1])
        paths = [root, *sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )

    def say(self, do: str, folder: Path, **words: Any) -> dict[str, Any]:
        """Its answer to one line.

        Raises
        ------
        RuntimeError
            If none comes in a minute.
        """
        into, out = self._process.stdin, self._process.stdout
        line = ""
        with contextlib.suppress(BrokenPipeError):
            if into is not None and out is not None:
                into.write(json.dumps({"do": do, "folder": str(folder), **words}) + "\n")
                into.flush()
                if select.select([out], [], [], ANSWER_SECONDS)[0]:
                    line = out.readline()
        if not line:
            raise RuntimeError(f"{self._module} did not answer {do!r}")
        return dict(json.loads(line))

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


@dataclass
class _Place:
    """A breaker's folder, and the process that serves it."""

    folder: Path
    pid: int = 0

    def started(self, desk: Desk) -> _Place:
        self.pid = int(desk.say("start", self.folder)["pid"])
        return self


def drill(module: str) -> list[Outcome]:
    """Put a breaker through everything promised of it.

    Parameters
    ----------
    module : str
        A module that drives it.

    Raises
    ------
    RuntimeError
        If a desk does not answer, so that nothing can be said of the breaker.
    """
    with tempfile.TemporaryDirectory(prefix="drill-") as root:
        lasting, quick = _Place(Path(root, "a")), _Place(Path(root, "b"))
        desks = [Desk(module), Desk(module)]
        try:
            return list(_promises(desks, lasting, quick))
        finally:
            for desk in desks:
                desk.kill()
            for place in (lasting, quick):
                _kill(place.pid)


def _promises(desks: list[Desk], lasting: _Place, quick: _Place) -> list[Outcome]:
    first, second = desks
    for place, silence in ((lasting, _LONG), (quick, _SHORT)):
        first.say(
            "arm",
            place.folder,
            person=_FIRST,
            silence_seconds=silence,
            confirm_seconds=_LONG,
        )
        place.started(first)
        first.say("report", place.folder, equity=100.0)
    first.kill()
    return [
        _outlives(second, lasting),
        _latches(second, quick),
        *_stays_latched_until_two_agree(second, lasting),
        *_after_its_death(second, lasting),
    ]


def _outlives(desk: Desk, place: _Place) -> Outcome:
    said = desk.say("report", place.folder, equity=100.0)
    again = int(desk.say("start", place.folder)["pid"])
    kept = said["reason"] == "" and said["error"] == "" and again == place.pid != 0
    seen = "the same process answers" if kept else said["reason"] or said["error"] or "another one"
    return Outcome("outlives_trading", kept, seen)


def _latches(desk: Desk, place: _Place) -> Outcome:
    until = time.monotonic() + ANSWER_SECONDS
    reason = ""
    while not reason and time.monotonic() < until:
        reason = desk.say("latch", place.folder)["reason"]
        time.sleep(0.05)
    return Outcome("latches_in_silence", bool(reason), reason or "no latch on the disk")


def _stays_latched_until_two_agree(desk: Desk, place: _Place) -> list[Outcome]:
    desk.say("trip", place.folder, reason="planted")
    told = desk.say("report", place.folder, equity=100.0)["reason"]
    refusals = [
        desk.say(what, place.folder, person=name)["error"]
        for what, name in (
            ("rearm", _FIRST),
            ("request_rearm", _FIRST),
            ("rearm", _FIRST),
            ("rearm", "BYRON, ada"),
        )
    ]
    alone = desk.say("report", place.folder, equity=100.0)["reason"]
    desk.say("request_rearm", place.folder, person=_FIRST)
    refused = desk.say("rearm", place.folder, person=_SECOND)["error"]
    after = desk.say("report", place.folder, equity=100.0)["reason"]
    loss = desk.say("report", place.folder, equity=80.0)["reason"]
    return [
        Outcome("stays_latched", bool(told), told or "nothing said"),
        Outcome("one_person_refused", bool(alone), refusals[0] or "cleared"),
        Outcome("two_persons_rearm", not (refused or after), refused or after or "armed again"),
        Outcome("stops_at_a_limit", bool(loss), loss or "nothing said"),
    ]


def _after_its_death(desk: Desk, place: _Place) -> list[Outcome]:
    before = desk.say("latch", place.folder)["reason"]
    _kill(place.pid)
    dead = desk.say("report", place.folder, equity=100.0)["reason"]
    place.started(desk)
    after = desk.say("report", place.folder, equity=100.0)["reason"]
    return [
        # Not what was said: which error a dying socket gives is chance.
        Outcome("silence_means_stop", bool(dead), "a reason to stop" if dead else "nothing said"),
        Outcome("latch_outlives_breaker", bool(after) and after == before, after or "armed again"),
    ]


def _kill(pid: int) -> None:
    """End a process that this drill started; one that has ended already is as good."""
    if pid > 1:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
