"""One check in a process of its own: what the other processes do, from first line to last.

There are two. One measures: it leads a session, what it prints goes to a file, it computes with one
thread, so that numbers do not depend on how many work, and the network is refused. Its answer is a
file of canonical JSON that appears whole. The other runs nothing of the model's. It adopts whatever
is orphaned below it, waits, and ends all that is left when the first has ended.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import random
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from threadpoolctl import threadpool_limits

from finchaos.core.files import write_atomic
from finchaos.core.provenance import canonical_json, parse_json, stream_seed
from finchaos.core.subject import Subject
from governance import descendants
from governance.check import Context
from governance.fits import SharedFits
from governance.measuring import measure
from governance.watched import refuse_network

LOOK_SECONDS = 0.5
"""How often the process above looks whether anybody still wants the answer."""


@dataclass(frozen=True)
class Payload:
    """What all checks of a run work on.

    Attributes
    ----------
    subject : Subject
    context : Context
    """

    subject: Subject
    context: Context


@dataclass(frozen=True)
class SourceFile:
    """A module that was loaded from a file and not from the path."""

    name: str
    path: str


def loaded_files() -> tuple[SourceFile, ...]:
    """Modules of users that another process has to load before it can unpickle what is theirs."""
    return tuple(
        SourceFile(name, str(module.__file__))
        for name, module in sorted(sys.modules.items())
        if name.startswith("finchaos_user_") and getattr(module, "__file__", None)
    )


@dataclass(frozen=True)
class End:
    """How the measuring process ended.

    Attributes
    ----------
    exit_code : int
        Of the process; the negative number of the signal that ended it.
    left : int
        Processes that it left running, which were ended.
    """

    exit_code: int
    left: int

    @classmethod
    def read(cls, path: Path) -> End | None:
        """What was noted; None if nothing was, because the one that notes it was ended."""
        if not path.is_file():
            return None
        said = parse_json(path.read_bytes())
        return cls(int(said["exit_code"]), int(said["left"]))


def run(
    answer: Path, place: Path, files: tuple[SourceFile, ...], check: Any, printed: Path, end: Path
) -> None:
    """Measure and answer; the target of the process.

    Parameters
    ----------
    answer : Path
        File for the measurements.
    place : Path
        Folder of the run, with the pickled :class:`Payload`.
    files : tuple of SourceFile
    check : Check
    printed : Path
        File that takes what is printed.
    end : Path
        File for the :class:`End`; none is written where orphans cannot be adopted.
    """
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends all of it
    _redirect(printed)

    def work() -> None:
        _answer(answer, place, files, check)

    if not descendants.ADOPTS:
        work()
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    descendants.die_with_the_parent(signal.SIGTERM)
    _supervise(work, end)


def _supervise(work: Callable[[], None], end: Path) -> None:
    """Do the work in a child and leave nothing of it behind, however this ends."""
    descendants.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        _as_child(work)
    status = None
    try:
        while status is None and not _deserted():
            signal.sigtimedwait({signal.SIGCHLD}, LOOK_SECONDS)
            status = _reaped().get(child)
    finally:
        own = descendants.living(os.getpid())
        left = 0 if own is None else descendants.end_below(own)
        if status is not None:
            said = End(os.waitstatus_to_exitcode(status), left)
            write_atomic(end, canonical_json(vars(said)), sync=False)
        _reaped()


def _deserted() -> bool:
    """Whether the run that wants this is gone; the fork server stays while anybody needs it."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _reaped() -> dict[int, int]:
    """Children, adopted ones among them, that have ended: their wait status."""
    found = {}
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found[ended[0]] = ended[1]
    return found


def _as_child(work: Callable[[], None]) -> NoReturn:
    """Work and end at once: threads that go on, and what is done at exit, hold up nothing."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        descendants.die_with_the_parent()
        work()
        code = 0
    except BaseException:  # nothing is above that could say it
        traceback.print_exc()
    finally:
        with suppress(Exception):  # a model may have closed or replaced them
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _answer(answer: Path, place: Path, files: tuple[SourceFile, ...], check: Any) -> None:
    refuse_network()
    for file in files:
        _load(file)
    payload: Payload = pickle.loads((place / "payload").read_bytes())  # noqa: S301  (our own)
    _seed_generators(stream_seed(payload.context.seed, f"process of {check.card.name}"))
    context = replace(payload.context, cache=SharedFits(place / "fits"))
    with threadpool_limits(limits=1):
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        found = measure(check, payload.subject, context)
    write_atomic(answer, found.to_json(), sync=False)


def _seed_generators(seed: int) -> None:
    """Processes begin alike; models that draw without a seed must not agree for that reason."""
    seed %= 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (the global generator is what a careless model draws from)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def _redirect(printed: Path) -> None:
    into = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, into), (2, into)):
        os.dup2(source, target)


def _load(file: SourceFile) -> None:
    if file.name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(file.name, file.path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.name] = module
    spec.loader.exec_module(module)
