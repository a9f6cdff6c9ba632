"""How far a validation has come, and about how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done and steps in all."""
_SHOWN = 3


class Course:
    """Tells a progress callback which checks are running, how many are done, and the time left.

    Parameters
    ----------
    names : sequence of str
        Of all checks.
    known : mapping of str to float
        Seconds that checks took before; the others are taken to need as much as the mean of them.
        Where nothing is known, nothing is said of the time left.
    workers : int
    say : callable
    """

    def __init__(
        self, names: Sequence[str], known: Mapping[str, float], workers: int, say: Progress
    ) -> None:
        self._names = names
        self._known = {name: known[name] for name in names if known.get(name, 0.0) > 0.0}
        self._workers = workers
        self._say = say
        self._running: dict[int, float] = {}
        self._done: set[int] = set()
        self._skipped: set[int] = set()

    def expected(self, number: int) -> float:
        """Seconds that a check may take; 0 if nothing is known of any."""
        if not self._known:
            return 0.0
        mean = sum(self._known.values()) / len(self._known)
        return self._known.get(self._names[number], mean)

    def skip(self, numbers: Iterable[int]) -> None:
        """These need not be measured."""
        self._skipped = set(numbers)

    def started(self, number: int) -> None:
        """A check begins."""
        self._running[number] = time.monotonic()
        self._tell()

    def ended(self, number: int) -> None:
        """A check has ended."""
        del self._running[number]
        self._done.add(number)
        if self._running:
            self._tell()

    def _tell(self) -> None:
        running = [self._names[number] for number in self._running]
        more = f" and {len(running) - _SHOWN} more" if len(running) > _SHOWN else ""
        stage = ", ".join(running[:_SHOWN]) + more + self._left()
        self._say(stage, len(self._done | self._skipped), len(self._names))

    def _left(self) -> str:
        if not self._known:
            return ""
        now = time.monotonic()
        left = 0.0
        for number in set(range(len(self._names))) - self._skipped - self._done:
            spent = now - self._running.get(number, now)
            left += max(self.expected(number) - spent, 0.0)
        seconds = left / self._workers
        return (
            f"; about {seconds:.0f} s left"
            if seconds < 90
            else f"; about {seconds / 60:.0f} min left"
        )
