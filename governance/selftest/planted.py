"""A sound subject with one defect in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from finchaos.core.bars import Bars
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard, Subject
from governance.check import Context

Answer = Callable[[Subject, Bars], Signals]
Train = Callable[[Subject, Bars, int], Subject]
KEPT = frozenset({Capability.REFIT, Capability.REGIMES, Capability.LATENTS})


def soundly(base: Subject, bars: Bars) -> Signals:
    """What the subject itself says."""
    return base.signals(bars)


def trained_soundly(base: Subject, bars: Bars, seed: int) -> Subject:
    """What the subject's own training gives."""
    return base.fit(bars, seed=seed)


@dataclass(frozen=True)
class Behaviour:
    """How a planted subject answers and trains; what is left out is sound."""

    answer: Answer = soundly
    train: Train = trained_soundly


@dataclass(frozen=True)
class Defect:
    """One way of being wrong.

    Attributes
    ----------
    name : str
    family : str
    about : str
        What is wrong, in a sentence.
    make : callable
        A behaviour of its own for every planted subject, which may remember.
    """

    name: str
    family: str
    about: str
    make: Callable[[], Behaviour] = Behaviour

    def fits(self, base: Subject) -> bool:
        """Whether the subject has what the defect spoils."""
        return True

    def plant(self, base: Subject) -> Subject:
        """The subject with this defect."""
        return Planted(base, self.name, self.make())

    def within(self, base: Subject, context: Context) -> tuple[Subject, Context]:
        """The subject with this defect and what is validated with it, such as its papers."""
        return self.plant(base), context


@dataclass(frozen=True, eq=False)
class Planted:
    """A subject that wraps a sound one. It claims to be it: the card is the same."""

    base: Subject
    defect: str
    behaviour: Behaviour = field(repr=False)
    said: ModelCard | None = None

    @property
    def card(self) -> ModelCard:
        """Of the sound subject, unless the defect is what it says."""
        return self.said or self.base.card

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Of the sound subject, as far as the wrapper keeps them."""
        return self.base.capabilities & KEPT

    @property
    def digest(self) -> str:
        """SHA-256 of the sound subject's and the defect's name."""
        return digest([self.base.digest, self.defect])

    def fit(self, bars: Bars, *, seed: int) -> Planted:
        """Train as the defect does."""
        return replace(self, base=self.behaviour.train(self.base, bars, seed))

    def signals(self, bars: Bars) -> Signals:
        """Answer as the defect does."""
        return self.behaviour.answer(self.base, bars)


def stateless(answer: Answer) -> Callable[[], Behaviour]:
    """A behaviour that answers wrongly and remembers nothing."""
    return lambda: Behaviour(answer=answer)
