"""Check: whether the circuit breaker stops trading when processes die, the model's or its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from finchaos.core.subject import Subject
from governance.breaker_drill import PROMISES, cannot_run, drill
from governance.check import Context, Skip, measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec


@dataclass(frozen=True)
class CircuitBreaker:
    """Kill the trading process, kill the breaker, and see that trading stops and stays stopped.

    Parameters
    ----------
    desk : str
        Module that drives the breaker, as :mod:`finchaos.live.breaker_desk` does. Whoever trades
        under another breaker names one that drives that.
    """

    desk: str = "finchaos.live.breaker_desk"

    card: ClassVar[CheckCard] = CheckCard(
        name="circuit_breaker",
        version=1,
        title="Circuit breaker outside the model",
        question="Does something that the model's death does not end stop trading?",
        pillar="ongoing_monitoring",
        method="On the machine of the validation a breaker is started, a trading process reports "
        "to it, and processes are killed (SIGKILL): first the one that trades, then the breaker. "
        "What it promises is looked at from a third process: it answers on, latches in silence and "
        "at a limit, stays latched for a new trading process and after its own death, means stop "
        "when it is dead, is not re-armed by one person and is by two.",
        limitations=(
            "It tests the breaker named in its parameters on the validator's machine, not the one "
            "of the trading floor",
            "The model itself takes no part: a breaker knows equity and exposure alone",
            "A machine that loses power, or its disk, is not tried",
            "Names are tried, not identities",
        ),
        references=(
            "Commission Delegated Regulation (EU) 2017/589 (RTS 6), articles 12 and 17",
            "SEC Rule 15c3-5",
        ),
        requires=("streaming",),
        metrics=(
            MetricSpec(name="broken_promises", unit="promises", better="lower",
                       meaning="Promises that the breaker did not keep"),
            MetricSpec(name="promise_kept", unit="share", better="higher",
                       meaning="1 if the promise was kept, 0 if not"),
        ),
    )  # fmt: skip

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what was kept of each promise, the number broken, and the proof."""
        reason = cannot_run()
        if reason:
            raise Skip(reason)
        outcomes = drill(self.desk)
        window = context.out_of_sample_window
        broken = sum(not outcome.kept for outcome in outcomes)
        yield measured(self, "broken_promises", broken, n=len(outcomes), window=window)
        for outcome in outcomes:
            yield measured(
                self,
                "promise_kept",
                float(outcome.kept),
                n=1,
                window=window,
                promise=outcome.promise,
            )
        yield Exhibit(
            check=self.card.name,
            name="drill",
            title="What was broken around the circuit breaker, and what happened",
            kind="table",
            columns=(
                Column(
                    name="what was done", values=tuple(PROMISES[o.promise][0] for o in outcomes)
                ),
                Column(
                    name="what must come", values=tuple(PROMISES[o.promise][1] for o in outcomes)
                ),
                Column(name="came", values=tuple("yes" if o.kept else "NO" for o in outcomes)),
                Column(name="what was said", values=tuple(o.seen[:160] for o in outcomes)),
            ),
        )
