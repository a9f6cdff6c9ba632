"""The Check protocol, and what a check may use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.fits import FitCache
from governance.record import (
    CheckCard,
    Evidence,
    Exhibit,
    Interval,
    MaterialityRef,
    Residual,
    Scalar,
    Window,
)
from governance.splits import Fold

if TYPE_CHECKING:
    from governance.earlier import Earlier
    from governance.scenario import Scenario
    from governance.trials import Trials


class Skip(Exception):  # noqa: N818  (not an error: a reasoned refusal to measure)
    """Raised by a check that cannot measure this subject; carries the reason."""


class Check(Protocol):
    """One instrument. A frozen dataclass whose fields are its parameters.

    It holds no threshold, draws nothing, writes nothing, changes nothing it is given and takes
    randomness only from ``context.rng(name)``.
    """

    card: ClassVar[CheckCard]

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield evidence. ``subject`` is the untrained or as-delivered subject.

        Raises
        ------
        Skip
            If there is nothing to measure; any other exception is recorded as errored.
        """
        ...


@dataclass(frozen=True)
class Context:
    """Everything a check may use besides the subject.

    Attributes
    ----------
    bars : Bars
        The validation sample: training and tests of all folds.
    folds : tuple of Fold
        Anchored walk-forward folds over ``bars``.
    seed : int
        Root seed of the run.
    cost_bps : float
        One-way trading cost in basis points of traded notional.
    delay_bars : int
        Bars between decision and execution: a position decided at the close of bar t is held
        from the close of bar t + delay_bars and earns the return to the close after that.
    challengers : mapping of name to Subject
        Untrained challengers; fit them on the same windows as the subject.
    scenarios : tuple of Scenario
    trials : Trials or None
        What was tried before the model was chosen, where the plan names a register of it.
    earlier : Earlier or None
        The last full validation, where the plan names one.
    materiality : MaterialityRef or None
        The tier of the validation, where the plan states exposure and purpose.
    """

    bars: Bars
    folds: tuple[Fold, ...]
    seed: int
    cost_bps: float = 10.0
    delay_bars: int = 1
    challengers: Mapping[str, Subject] = field(default_factory=dict)
    scenarios: tuple[Scenario, ...] = ()
    trials: Trials | None = None
    earlier: Earlier | None = None
    materiality: MaterialityRef | None = None
    cache: FitCache = field(default_factory=FitCache, repr=False, compare=False)

    def rng(self, name: str) -> np.random.Generator:
        """The random stream called ``name``; name it for check and purpose."""
        return random_stream(self.seed, name)

    def trained(self, subject: Subject, fold: Fold) -> Subject:
        """``subject`` trained on the fold's training bars."""
        return self.cache.fit(subject, self.bars.rows(0, fold.train_end), self.seed)

    def test_signals(self, subject: Subject, fold: Fold) -> Signals:
        """Signals of the trained subject on the fold's test rows, after replaying all before."""
        signals = self.cache.signals(self.trained(subject, fold), self.bars.rows(0, fold.test_end))
        return signals.rows(fold.test_start, fold.test_end)

    @property
    def last_fold(self) -> Fold:
        """The fold with the most training data: its model is the candidate for approval."""
        return self.folds[-1]

    def candidate(self, subject: Subject) -> Subject:
        """The subject trained on the last fold's training bars."""
        return self.trained(subject, self.last_fold)

    def window(self, first: int, last: int, trained_rows: int | None = None) -> Window:
        """The window from row ``first`` to row ``last``, both included."""
        until = ""
        if trained_rows:
            until = self.bars.index[trained_rows - 1].isoformat()
        return Window(
            start=self.bars.index[first].isoformat(),
            end=self.bars.index[last].isoformat(),
            trained_until=until,
        )

    def test_window(self, fold: Fold) -> Window:
        """The window of a fold's test."""
        return self.window(fold.test_start, fold.test_end - 1, fold.train_end)

    @property
    def out_of_sample_window(self) -> Window:
        """From the first test bar to the last; every fold is answered by its own model."""
        whole = self.window(
            self.folds[0].test_start, self.folds[-1].test_end - 1, self.folds[-1].train_end
        )
        return whole.model_copy(update={"refitted": True})


def parameters(check: Any) -> dict[str, Scalar]:
    """A check's constructor arguments as recorded with its evidence; tuples become text."""
    raw = {f.name: getattr(check, f.name) for f in dataclasses.fields(check)}
    return {
        name: value if isinstance(value, bool | int | float | str | None) else repr(value)
        for name, value in raw.items()
    }


def measured(
    check: Any,
    metric: str,
    value: float,
    *,
    n: int,
    window: Window,
    interval: Interval | None = None,
    self_check: Residual | None = None,
    unit: str = "",
    note: str = "",
    **where: str,
) -> Evidence:
    """Evidence of one of the check's metrics; ``where`` names the slice.

    A value that is not finite becomes evidence with status ``errored``. ``unit`` replaces that of
    the card for a metric whose unit depends on the slice; ``note`` is said with the value.
    """
    spec = check.card.metric(metric)
    finite = bool(np.isfinite(value))
    return Evidence(
        check=check.card.name,
        check_version=check.card.version,
        params=parameters(check),
        metric=metric,
        unit=unit or spec.unit,
        status="measured" if finite else "errored",
        reason="" if finite else f"the computed value is {value}",
        value=float(value) if finite else None,
        note=note if finite else "",
        interval=interval if finite else None,
        n=n,
        window=window,
        slice=where,
        self_check=self_check,
    )


def not_measured(
    check: Any, metric: str, reason: str, *, window: Window, errored: bool = False, **where: str
) -> Evidence:
    """Evidence that a metric could not be measured, with the reason."""
    return Evidence(
        check=check.card.name,
        check_version=check.card.version,
        params=parameters(check),
        metric=metric,
        unit=check.card.metric(metric).unit,
        status="errored" if errored else "skipped",
        reason=reason,
        window=window,
        slice=where,
    )
