"""What a model tries to do besides answering: reach the network, start other processes.

The interpreter announces such things by audit events (PEP 578). A hook can refuse them, and once
added it stays for the life of the process; it does nothing while nobody watches. A model that
calls the operating system past the interpreter is not seen: run such a one on a machine without
network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from governance import descendants

_HERE = ("localhost", "127.0.0.1", "::1", "")
_CONNECTING = ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind")
_NAMING = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_STARTING = ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen")


@dataclass(eq=False)
class Watch:
    """What was seen.

    Attributes
    ----------
    network : list of str
        Addresses beyond this machine that something tried to reach, in order. Each was refused.
    processes : list of str
        How processes were started; they were not refused.
    left : int or None
        Processes begun meanwhile, by whomever below, that still ran at the end; None where the
        system does not tell (see :data:`governance.descendants.NOT_HERE`).
    """

    network: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    left: int | None = None


_watching: list[Watch] = []
"""Of the process and not of a thread: a model may start threads of its own."""


@contextmanager
def watched() -> Iterator[Watch]:
    """Refuse the network inside, and note who asked for it and which processes were started.

    It watches the whole process, every thread of it.

    Examples
    --------
    >>> import socket
    >>> with watched() as seen:
    ...     try:
    ...         socket.create_connection(("192.0.2.1", 80), timeout=1)
    ...     except PermissionError:
    ...         print(seen.network)
    ['192.0.2.1:80']
    """
    _add_hook()
    watch = Watch()
    with _counted(watch):
        _watching.append(watch)
        try:
            yield watch
        finally:
            _watching.remove(watch)


@contextmanager
def _counted(watch: Watch) -> Iterator[None]:
    """Count the processes that are left at the end; orphans among them are adopted meanwhile."""
    own = descendants.living(os.getpid())
    if not descendants.ADOPTS or own is None:
        yield
        return
    had_asked, before = descendants.adopt_orphans(), descendants.below(own)
    try:
        yield
    finally:
        watch.left = len(descendants.below(own) - before)
        descendants.adopt_orphans(had_asked)


def refuse_network() -> Watch:
    """Refuse the network in this process from now on, in every thread."""
    _add_hook()
    _watching.append(Watch())
    return _watching[-1]


@cache
def _add_hook() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event in _STARTING:
        for watch in _watching:
            watch.processes.append(event)
        return
    place = _place(event, arguments)
    if place is not None and str(place[0] or "") not in _HERE:
        said = ":".join(str(part) for part in place[:2])
        for watch in _watching:
            watch.network.append(said)
        raise PermissionError(f"a model under validation may not reach the network: {said}")


def _place(event: str, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The host, and the port where there is one, that an event speaks of; None for a file."""
    if event in _NAMING:
        return tuple(arguments[: 2 if event == "socket.getaddrinfo" else 1])
    if event not in _CONNECTING or not isinstance(arguments[1], tuple):
        return None
    return arguments[1]
