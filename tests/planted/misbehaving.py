"""Subjects that do worse than answer wrongly: importable, so that other processes find them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

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
    fitting: str = "nothing"
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
        getattr(self, f"_{self.fitting}")()
        return replace(self, base=self.base.fit(bars, seed=seed))

    def signals(self, bars: Bars) -> Signals:
        getattr(self, f"_{self.how}")()
        return self.base.signals(bars)

    def _nothing(self) -> None:
        return

    def _forks_in_place(self) -> None:
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)

    def _deserts(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            start_new_session=True,
            close_fds=False,
        )
        with open(self.place, "a") as file:
            file.write(f"{child.pid}\n")
        os.kill(os.getpid(), signal.SIGKILL)

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

    def _escapes(self) -> None:
        """Twice forked, in a session of its own, deaf to SIGTERM, with all that was open open."""
        self._escape(lambda: time.sleep(600))

    def _escape(self, then: Callable[[], None]) -> None:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            while not os.path.exists(self.place):
                time.sleep(0.01)
            return
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(self.place, "a") as file:
            file.write(f"{os.getpid()}\n")
        then()
        os._exit(0)

    def _escapes_and_hangs(self) -> None:
        self._escapes()
        self._hangs()

    def _escapes_and_eats(self) -> None:
        self._escape(self._eats_and_stays)
        self._hangs()

    def _eats_and_stays(self) -> None:
        kept = b"x" * 1_500_000_000
        time.sleep(600)
        assert kept

    def _escapes_and_kills_its_keeper(self) -> None:
        self._escapes()
        time.sleep(2.0)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)

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


@dataclass(frozen=True)
class Drawing(VolatilityRegime):
    """Its training draws from the generator of the process."""

    drawn: float = 0.0

    @property
    def digest(self) -> str:
        return digest([super().digest, self.drawn])

    def fit(self, bars: Bars, *, seed: int) -> Drawing:
        return replace(super().fit(bars, seed=seed), drawn=np.random.rand())  # type: ignore[return-value]  # noqa: NPY002


@dataclass(frozen=True)
class Forgetful(VolatilityRegime):
    """Knows that it was trained until it is pickled."""

    knows: int = 0

    def fit(self, bars: Bars, *, seed: int) -> Forgetful:
        return replace(super().fit(bars, seed=seed), knows=1)  # type: ignore[return-value]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "knows": 0}


@dataclass(frozen=True)
class Asks:
    """Whether a trained subject knows that it was trained."""

    card: ClassVar[CheckCard]

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        knows = float(context.candidate(subject).knows)  # type: ignore[attr-defined]
        yield measured(self, "one", knows, n=1, window=context.out_of_sample_window)


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


Asks.card = _card("asks")
