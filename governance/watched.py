"""What a model tries to do besides answering: reach the network, start other processes.

The interpreter announces such things by audit events (PEP 578). A hook can refuse them, and once
added it stays for the life of the process; it does nothing while nobody watches. A model that
calls the operating system past the interpreter is not seen: run such a one on a machine without
network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any

_HERE = ("localhost", "127.0.0.1", "::1", "")
_CONNECTING = ("socket.connect", "socket.sendto", "socket.bind")
_STARTING = ("os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "subprocess.Popen")


@dataclass
class Watch:
    """What was seen.

    Attributes
    ----------
    network : list of str
        Addresses beyond this machine that something tried to reach, in order. Each was refused.
    processes : list of str
        How processes were started; they were not refused.
    """

    network: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)


_watching: ContextVar[Watch | None] = ContextVar("watching", default=None)
_everywhere: list[Watch] = []


@contextmanager
def watched() -> Iterator[Watch]:
    """Refuse the network inside, and note who asked for it and which processes were started.

    Threads that were started before do not count.

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
    token = _watching.set(watch)
    try:
        yield watch
    finally:
        _watching.reset(token)


def refuse_network() -> Watch:
    """Refuse the network in this process from now on, in every thread."""
    _add_hook()
    _everywhere.append(Watch())
    return _everywhere[-1]


@cache
def _add_hook() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    watches = [watch for watch in (_watching.get(), *_everywhere) if watch is not None]
    if not watches:
        return
    if event in _STARTING:
        for watch in watches:
            watch.processes.append(event)
    elif event in _CONNECTING or event == "socket.getaddrinfo":
        place = arguments[0:2] if event == "socket.getaddrinfo" else arguments[1]
        if isinstance(place, tuple) and str(place[0] or "") not in _HERE:
            said = f"{place[0]}:{place[1]}"
            for watch in watches:
                watch.network.append(said)
            raise PermissionError(f"a model under validation may not reach the network: {said}")
