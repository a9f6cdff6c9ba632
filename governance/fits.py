"""Trained subjects and their signals, so that no fit is repeated: in one process, or in several."""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from finchaos.core.bars import Bars
from finchaos.core.files import write_atomic
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.observe import observe

T = TypeVar("T")


class FitCache:
    """Trained subjects of one run by what they were trained on, so that no fit is repeated."""

    def __init__(self) -> None:
        self._fitted: dict[tuple[str, str, int], Subject] = {}
        self._signals: dict[tuple[str, str], Signals] = {}

    def fit(self, subject: Subject, bars: Bars, seed: int) -> Subject:
        """``subject.fit(bars, seed=seed)``, remembered by content."""
        key = (subject.digest, bars.digest, seed)
        if key not in self._fitted:
            self._fitted[key] = self._make_fit(subject, bars, seed)
        return self._fitted[key]

    def signals(self, subject: Subject, bars: Bars) -> Signals:
        """Observed signals, remembered by content."""
        key = (subject.digest, bars.digest)
        if key not in self._signals:
            self._signals[key] = self._make_signals(subject, bars)
        return self._signals[key]

    def _make_fit(self, subject: Subject, bars: Bars, seed: int) -> Subject:
        return subject.fit(bars, seed=seed)

    def _make_signals(self, subject: Subject, bars: Bars) -> Signals:
        return observe(subject, bars)


class SharedFits(FitCache):
    """The same between processes, by files in a folder that they share.

    Who comes second waits until the first is done; the lock of a process that dies is released by
    the system. What cannot be pickled is made by each process for itself.

    Parameters
    ----------
    folder : pathlib.Path
        Private to the run: what lies in it is unpickled.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def _make_fit(self, subject: Subject, bars: Bars, seed: int) -> Subject:
        name = digest(["fit", subject.digest, bars.digest, seed])
        return self._once(name, lambda: super(SharedFits, self)._make_fit(subject, bars, seed))

    def _make_signals(self, subject: Subject, bars: Bars) -> Signals:
        name = digest(["signals", subject.digest, bars.digest])
        return self._once(name, lambda: super(SharedFits, self)._make_signals(subject, bars))

    def _once(self, name: str, make: Callable[[], T]) -> T:
        place = self._folder / f"{name}.pickle"
        lock = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if place.exists():
                kept: T = pickle.loads(place.read_bytes())  # noqa: S301  (our own, see the class)
                return kept
            made = make()
            try:
                content = pickle.dumps(made)
            except Exception:  # no standard error says that a class cannot be pickled
                return made
            write_atomic(place, content)
            # The maker, too, works on what the others will read.
            same: T = pickle.loads(content)  # noqa: S301
            return same
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough where a child has it open
            os.close(lock)
