"""Running a check on a subject and looking up what it measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finchaos.core.bars import Bars
from finchaos.core.subject import Subject
from governance.check import Context
from governance.record import Evidence, Exhibit
from governance.splits import anchored_folds


def context_of(bars: Bars, *, seed: int = 11, first_test: int = 400, folds: int = 2) -> Context:
    """A context with consecutive folds over ``bars``."""
    return Context(
        bars=bars,
        folds=anchored_folds(len(bars), first_test=first_test, count=folds, gap=2),
        seed=seed,
    )


@dataclass(frozen=True)
class Measured:
    """What one check yielded."""

    evidence: tuple[Evidence, ...]
    exhibits: tuple[Exhibit, ...]

    def __iter__(self) -> Iterator[Evidence]:
        return iter(self.evidence)

    def find(self, metric: str, **where: str) -> Evidence:
        """The one piece of evidence with this metric and exactly this slice."""
        (found,) = [e for e in self.evidence if e.metric == metric and e.slice == where]
        return found

    def value(self, metric: str, **where: str) -> float:
        """Its value, which must have been measured."""
        found = self.find(metric, **where)
        assert found.status == "measured", found.reason
        assert found.value is not None
        return found.value

    @property
    def digests(self) -> tuple[str, ...]:
        """Digests of everything yielded, in order."""
        return tuple(item.digest for item in (*self.evidence, *self.exhibits))


def measure(check: Any, subject: Subject, context: Context) -> Measured:
    """Everything the check yields; metrics must be those on its card."""
    items = list(check.measure(subject, context))
    evidence = tuple(item for item in items if isinstance(item, Evidence))
    assert {e.metric for e in evidence} <= {spec.name for spec in check.card.metrics}
    return Measured(evidence, tuple(item for item in items if isinstance(item, Exhibit)))
