"""Processes below a process: adopting the orphans among them, weighing them, ending them all.

A process that forks twice, or starts a session of its own, leaves its parent and its group. Linux
gives such an orphan to the nearest ancestor that asked for orphans (a *child subreaper*), so that
below that ancestor nothing is ever lost. Other systems have nothing of the kind: there only the
group of a check can be ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ADOPTS = sys.platform == "linux"
"""Whether this system lets a process adopt what is orphaned below it."""
NOT_HERE = (
    "only Linux lets a process adopt the orphans below it: here a process that a model starts in a "
    "session of its own is not seen, is not counted and may outlive its check"
)
GIVE_UP_SECONDS = 10.0
"""After which what cannot be killed (it waits for a device) is left to the system."""
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 1, 36, 37
_SETTLE_SECONDS = 0.005


@dataclass(frozen=True)
class Living:
    """A process that cannot be mistaken for a later one of the same number.

    Attributes
    ----------
    number : int
    since : int
        When it was started, in ticks of the system's clock.
    """

    number: int
    since: int


def living(number: int | None) -> Living | None:
    """The process of that number; None where there is none, or none can be told apart."""
    if number is None:
        return None
    found = _read(Path("/proc") / str(number))
    return None if found is None else found[0]


def adopt_orphans(wanted: bool = True) -> bool:
    """Ask for the orphans of this process (or no more); says whether it had asked before.

    Raises
    ------
    OSError
        If the system refuses, or is no Linux.
    """
    if not ADOPTS:
        raise OSError(NOT_HERE)
    before = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    _prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(wanted))
    return bool(before.value)


def die_with_the_parent(how: int = signal.SIGKILL) -> None:
    """Where the system can (Linux): be sent this signal when the parent ends, however it ends."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(how))


def _prctl(option: int, value: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl {option}: {os.strerror(code)}")


def below(root: Living, known: Iterable[Living] = ()) -> set[Living]:
    """All that live below a process, and those of ``known`` that still live with all below them.

    What has ended and only waits to be asked how (a zombie) is not among them.

    Parameters
    ----------
    root : Living
        Is not among them. Where it has ended, only ``known`` is looked at.
    known : iterable of Living
        Processes seen below it before, which may have been orphaned since.
    """
    table = [row for folder in Path("/proc").glob("[0-9]*") if (row := _read(folder))]
    alive = {process for process, _, _ in table}
    found = {process for process in known if process in alive}
    parents = {process.number for process in found}
    if root in alive:
        parents.add(root.number)
    while True:
        more = {one for one, parent, _ in table if parent in parents and one not in found}
        more.discard(root)
        if not more:
            break
        found |= more
        parents |= {process.number for process in more}
    ended = {process for process, _, state in table if state in "ZX"}
    return found - ended


def resident_mb(root: Living, known: Iterable[Living] = ()) -> float:
    """Memory of a process and all below it in megabytes, what they share counted once."""
    kilobytes = 0
    for process in {root, *below(root, known)}:
        with suppress(OSError):  # it ended meanwhile
            text = Path(f"/proc/{process.number}/smaps_rollup").read_text()
            _, found, rest = text.partition("\nPss:")
            kilobytes += int(rest.split(maxsplit=1)[0]) if found else 0
    return kilobytes / 1024.0


def end_below(root: Living, known: Iterable[Living] = ()) -> int:
    """End everything below a process, whatever it ignores; says how many there were.

    All are stopped before any is killed, so that none can start another meanwhile.
    """
    ended: set[Living] = set()
    limit = time.monotonic() + GIVE_UP_SECONDS
    while time.monotonic() < limit:
        stopped: set[Living] = set()
        while new := below(root, {*known, *ended}) - stopped:
            _signal(new, signal.SIGSTOP)
            stopped |= new
            if time.monotonic() > limit:
                break
        if not stopped:
            break
        _signal(stopped, signal.SIGKILL)
        ended |= stopped
        time.sleep(_SETTLE_SECONDS)
    return len(ended)


def _signal(processes: Iterable[Living], what: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or became another's
            os.kill(process.number, what)


def _read(folder: Path) -> tuple[Living, int, str] | None:
    """A process, the number of its parent and its state; None if it has ended meanwhile."""
    try:
        text = (folder / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Living(int(folder.name), int(fields[19])), int(fields[1]), fields[0]
