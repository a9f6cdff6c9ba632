"""One check in a process of its own: what the other process does, from its first line to its last.

The process leads a group, so that whatever it starts can be ended with it; what it prints goes to
a file; it computes with one thread, so that numbers do not depend on how many work; the network is
refused. Its answer is a file of canonical JSON that appears whole, and then the process ends.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pickle
import random
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from finchaos.core.files import write_atomic
from finchaos.core.provenance import stream_seed
from finchaos.core.subject import Subject
from governance.check import Context
from governance.fits import SharedFits
from governance.measuring import measure
from governance.watched import refuse_network

_PR_SET_PDEATHSIG = 1


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


def run(
    answer: Path, place: Path, files: tuple[SourceFile, ...], check: Any, printed: Path
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
    """
    os.setsid()
    _die_with_the_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and ends the whole group
    _redirect(printed)
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


def _die_with_the_parent() -> None:
    """Where the system can (Linux): a check must not outlive the run that wants it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


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
