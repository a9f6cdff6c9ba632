"""Checks in processes of their own, several at a time, each within a budget.

A model that hangs, dies, eats all memory, prints or forks takes one check with it and nothing
else, and nothing that it starts outlives the check: a process above it adopts what it orphans, and
ends it (see :mod:`governance.descendants` for systems where that cannot be). What is not caught is
a model that kills the process above it and starts another in the same fifth of a second. Which
check runs when, and beside which, changes no number: every process starts from the same subject
and context, and results are put in the order of the plan.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from finchaos.core.errors import InputError, IntegrityError
from finchaos.core.subject import Subject
from governance import descendants, worker
from governance.check import Context, not_measured
from governance.descendants import Living
from governance.plan import LimitsPlan
from governance.store import Measurements

POLL_SECONDS = 0.2
LAST_WORDS = 4000
"""Characters kept of what a check printed."""
_PRELOADED = ("torch", "numba", "pandas", "scipy.stats", "sklearn", "arch")


@dataclass(frozen=True)
class Done:
    """A check that has ended.

    Attributes
    ----------
    number : int
        Place in the sequence of checks.
    measurements : Measurements
    seconds : float
    printed : str
        The end of what it printed.
    left : int
        Processes that it left running, which were ended.
    """

    number: int
    measurements: Measurements
    seconds: float
    printed: str
    left: int = 0


@dataclass
class _Running:
    number: int
    process: ForkServerProcess
    root: Living | None
    """The process, so that no later one of its number is taken for it."""
    answer: Path
    printed: Path
    end: Path
    since: float
    seen: set[Living] = field(default_factory=set)
    """All that were below it when last looked at."""
    left: int = 0


def measure_apart(
    checks: Sequence[Any],
    subject: Subject,
    context: Context,
    *,
    workers: int,
    limits: LimitsPlan,
    started: Callable[[int], None] = lambda number: None,
) -> Iterator[Done]:
    """Run every check in a process of its own; yield each as it ends, in whatever order.

    Parameters
    ----------
    checks : sequence of Check
    subject : Subject
    context : Context
    workers : int
        How many run at a time.
    limits : LimitsPlan
        A check that exceeds them is killed, with all that it started, and recorded as errored.
    started : callable
        Told the number of every check that begins.

    Raises
    ------
    InputError
        If the subject cannot be sent to another process.
    """
    with tempfile.TemporaryDirectory(prefix="finchaos-checks-") as folder:
        place = Path(folder)
        (place / "fits").mkdir()
        _send(subject, context, place)
        making = multiprocessing.get_context("forkserver")
        # What is loaded here will be needed there: load it once and not for every check.
        own = ["governance.worker", type(subject).__module__]
        making.set_forkserver_preload([name for name in (*_PRELOADED, *own) if name in sys.modules])
        waiting = list(range(len(checks)))
        running: list[_Running] = []
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    number = waiting.pop(0)
                    started(number)
                    running.append(_start(making, number, checks[number], place))
                connection.wait([one.process.sentinel for one in running], timeout=POLL_SECONDS)
                for one in list(running):
                    found = _outcome(one, checks[one.number], context, limits)
                    if found is not None:
                        running.remove(one)
                        seconds = time.monotonic() - one.since
                        yield Done(one.number, found, seconds, _words(one), one.left)
        finally:
            for one in running:
                _end(one)


def _send(subject: Subject, context: Context, place: Path) -> None:
    try:
        content = pickle.dumps(worker.Payload(subject, context))
    except Exception as error:  # pickling raises whatever the subject's class does
        raise InputError(
            f"{subject.card.name} cannot be sent to another process",
            expected="a subject that can be pickled: classes and functions of a module or file",
            got=f"{type(error).__name__}: {error}",
            remedy="mend it, or use --workers 0, which gives up budgets and protection",
        ) from error
    (place / "payload").write_bytes(content)


def _start(making: Any, number: int, check: Any, place: Path) -> _Running:
    answer, printed, end = (place / f"{what}-{number}" for what in ("answer", "printed", "end"))
    process = making.Process(
        target=worker.run,
        args=(answer, place, worker.loaded_files(), check, printed, end),
        name=check.card.name,
    )
    process.start()
    root = descendants.living(process.pid)
    return _Running(number, process, root, answer, printed, end, time.monotonic())


def _outcome(
    one: _Running, check: Any, context: Context, limits: LimitsPlan
) -> Measurements | None:
    """What a check ended with, or None while it goes on."""
    if not one.process.is_alive():
        if not one.answer.exists():
            return _lost(check, context, _how_it_died(one), one)
        try:
            found = Measurements.from_json(one.answer.read_bytes())
        except IntegrityError as error:
            return _lost(check, context, f"the answer is not one of a check: {error}", one)
        _end(one)
        return found
    if time.monotonic() - one.since > limits.seconds_per_check:
        return _lost(
            check,
            context,
            f"did not end within its {limits.seconds_per_check:g} seconds: killed",
            one,
        )
    if _used_mb(one) > limits.memory_mb:
        return _lost(
            check, context, f"used more than its {limits.memory_mb:g} MB of memory: killed", one
        )
    return None


def _how_it_died(one: _Running) -> str:
    end = worker.End.read(one.end)
    code = one.process.exitcode if end is None else end.exit_code
    if code is not None and code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended without an answer (exit code {code})"


def _lost(check: Any, context: Context, reason: str, one: _Running) -> Measurements:
    _end(one)
    window = context.out_of_sample_window
    return Measurements(
        evidence=tuple(
            not_measured(check, spec.name, reason, window=window, errored=True)
            for spec in check.card.metrics
        ),
        exhibits=(),
    )


def _end(one: _Running) -> None:
    """End the process, and whatever it has started."""
    end = worker.End.read(one.end)  # before the process above notes what is ended here
    measuring = end is None and one.process.is_alive()
    ended = 0 if one.root is None else descendants.end_below(one.root, one.seen)
    one.left = ended - measuring if end is None else ended + end.left
    if one.process.pid is not None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended, group and all
            os.killpg(one.process.pid, signal.SIGKILL)
    one.process.kill()
    one.process.join()


def _words(one: _Running) -> str:
    if not one.printed.exists():
        return ""
    with one.printed.open("rb") as file:
        file.seek(max(one.printed.stat().st_size - LAST_WORDS, 0))
        return file.read(LAST_WORDS).decode("utf-8", errors="replace")


def _used_mb(one: _Running) -> float:
    """Memory of all of it in megabytes, and a look at what there is; 0 where it is not told."""
    if one.root is None:
        return 0.0
    one.seen = descendants.below(one.root, one.seen)
    return descendants.resident_mb(one.root, one.seen)
