"""Subjects that do worse than answer wrongly: importable, so that other processes find them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from governance.check import Context, measured
from governance.record import CheckCard, Evidence, MetricSpec
from governance.selftest.volatility_regime import VolatilityRegime


@dataclass(frozen=True)
class Misbehaving:
    """A sound subject that does something else as well before it answers."""

    how: str
    place: str = ""
    base: Subject = field(default_factory=VolatilityRegime)

    @property
    def card(self) -> ModelCard:
        return self.base.card

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.REFIT, Capability.REGIMES})

    @property
    def digest(self) -> str:
        return digest([self.base.digest, self.how])

    def fit(self, bars: Bars, *, seed: int) -> Misbehaving:
        return Misbehaving(self.how, self.place, self.base.fit(bars, seed=seed))

    def signals(self, bars: Bars) -> Signals:
        getattr(self, f"_{self.how}")()
        return self.base.signals(bars)

    def _hangs(self) -> None:
        time.sleep(600)

    def _dies(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    def _prints(self) -> None:
        print("a word on standard output")
        os.write(2, b"and one past the interpreter\n")

    def _forks(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with open(self.place, "a") as file:
            file.write(f"{child.pid}\n")

    def _eats(self) -> None:
        kept = []
        for _ in range(600):
            kept.append(b"x" * 10_000_000)
            time.sleep(0.005)

    def _calls_home(self) -> None:
        socket.create_connection(("192.0.2.1", 80), timeout=0.1).close()

    def _calls_home_quietly(self) -> None:
        try:
            self._calls_home()
        except OSError:
            return


def _card(name: str) -> CheckCard:
    return CheckCard(
        name=name,
        version=1,
        title=name,
        question="?",
        pillar="outcomes_analysis",
        method="m",
        limitations=("l",),
        metrics=(MetricSpec(name="one", unit="count", better="none", meaning="1"),),
    )


@dataclass(frozen=True)
class Unrelated:
    """A check that asks the subject nothing."""

    card: ClassVar[CheckCard] = _card("unrelated")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        yield measured(self, "one", 1.0, n=1, window=context.out_of_sample_window)


@dataclass(frozen=True)
class Writes:
    """A check that says which process it is and does not end."""

    place: str
    card: ClassVar[CheckCard] = _card("writes")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        with open(self.place, "a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(600)
        yield measured(self, "one", 1.0, n=1, window=context.out_of_sample_window)
