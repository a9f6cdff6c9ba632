"""What a model holds and loses while its feed is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured
from governance.faults import BARS_NEEDED
from governance.operations import OPERATIONS, WATCHED_BARS, Operation, Trading, capital_lost, trade
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.statistics.proportion import exact_interval

OPERATOR = "validator (operational stress)"
TRIES_PER_START = 20


@dataclass(frozen=True, eq=False)
class _Case:
    """One scenario at one start: the stream on the wrong feed and its twin on the right one."""

    operation: Operation
    before: float
    wrong: int
    spoilt: Trading
    right: Trading
    lost: float
    lost_on_right_feed: float

    @property
    def held_at_end(self) -> float:
        """Exposure wanted at the last wrong bar."""
        return abs(float(self.spoilt.position[self.wrong - 1]))

    @property
    def over_twin(self) -> float:
        """Loss less that of the twin."""
        return self.lost - self.lost_on_right_feed

    @property
    def added(self) -> float:
        """Most exposure beyond what the twin or the bar before wanted, while the feed is wrong."""
        usual = np.maximum(np.abs(self.right.position), abs(self.before))
        more = np.abs(self.spoilt.position) - usual
        return max(float(more[: self.wrong].max()), 0.0)


@dataclass(frozen=True)
class StressOperations:
    """Deliver operational scenarios through the streaming protocol.

    Parameters
    ----------
    starts : int
        Out-of-sample rows at which every scenario begins, each with a position held.
    history_bars : int
        Bars a stream replays before, beyond the model's warm-up.
    """

    starts: int = 5
    history_bars: int = 120

    card: ClassVar[CheckCard] = CheckCard(
        name="stress_operations",
        version=1,
        title="Operational stress",
        question="What does the model hold, and what does it lose, while its feed is wrong?",
        pillar="ongoing_monitoring",
        method="Live streams replay the sample up to a random out-of-sample bar at which the model "
        "holds something, and are then shown a wrong feed: the last bar repeated ten times while "
        "the market loses a tenth, and then the market; stamps an hour early; one bar a hundred "
        "times too high or too low. A twin is shown the right one. Forty bars are traded on the "
        "market as it was, with the plan's cost and delay. A stream has stopped if its switch "
        "trips, or it answers with an error, on a wrong bar or the first right one; after an error "
        "the last position stands. Nobody re-arms.",
        limitations=(
            "Few starts, all in one market: intervals of shares are wide",
            "A stream that has stopped stays flat for the forty bars, and misses what the market "
            "gains in them: that is in the loss",
            "Daily stamps an hour early still rise, and a model need not look at the hour",
            "Faults of the feed alone: orders, fills and broker are not in it",
        ),
        references=(
            "Commission Delegated Regulation (EU) 2017/589 (RTS 6), articles 10, 12 and 17",
            "SEC, In the Matter of Knight Capital Americas LLC, Release 34-70694 (2013)",
            "Clopper and Pearson, Biometrika 26 (1934)",
        ),
        requires=("streaming",),
        metrics=(
            MetricSpec(name="stopped_share", unit="share", better="higher",
                       meaning="Starts at which the stream tripped or refused the feed"),
            MetricSpec(name="exposure_at_end", unit="fraction of capital", better="lower",
                       meaning="Largest exposure wanted at the last wrong bar"),
            MetricSpec(name="exposure_added", unit="fraction of capital", better="lower",
                       meaning="Most that a wrong feed made the model hold beyond what it held "
                       "before and beyond what its twin wants"),
            MetricSpec(name="loss", unit="fraction of capital", better="lower",
                       meaning="Largest loss over the forty bars, net"),
            MetricSpec(name="loss_over_twin", unit="fraction of capital", better="lower",
                       meaning="Median of the loss less that of the twin on the right feed"),
            MetricSpec(name="unusable_positions", unit="positions", better="lower",
                       meaning="Positions that were not finite"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not 1 <= self.starts <= 200 or self.history_bars < 1:
            raise InputError(
                "stress_operations cannot use these parameters",
                expected="1 to 200 starts and at least 1 bar of history",
                got=f"{self.starts}, {self.history_bars}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what was held and lost by scenario, and a table."""
        candidate = context.candidate(subject)
        starts = self._starts(candidate, context)
        groups = [
            [self._case(candidate, context, operation, row) for row in starts]
            for operation in OPERATIONS
        ]
        for cases in groups:
            yield from self._evidence(cases, context)
        yield self._table(groups)

    @property
    def _due_bars(self) -> int:
        return max(WATCHED_BARS, BARS_NEEDED)

    def _starts(self, candidate: Subject, context: Context) -> list[int]:
        """Rows before which the model holds something, bars after its training first of all."""
        warm = candidate.card.warmup_bars + 2
        last = len(context.bars) - self._due_bars
        position = context.cache.signals(candidate, context.bars).position
        rng = context.rng("stress_operations:starts")
        for first in (context.last_fold.test_start, context.folds[0].test_start):
            rows = np.arange(max(first, warm), max(last, first, warm))
            held = rows[position[rows - 1] != 0.0]
            if len(held) >= self.starts:
                return sorted(rng.permutation(held)[: self.starts].tolist())
        if not len(held):
            raise Skip("the model holds nothing at any bar that a scenario could begin after")
        return sorted(held.tolist())

    def _case(self, candidate: Subject, context: Context, operation: Operation, row: int) -> _Case:
        replayed = candidate.card.warmup_bars + self.history_bars
        history = context.bars.rows(max(row - replayed, 0), row)
        last = context.bars[row - 1]
        due = [context.bars[number] for number in range(row, row + self._due_bars)]
        market, feed, wrong = operation.spoil(last, due)
        market, feed = market[:WATCHED_BARS], feed[:WATCHED_BARS]
        wrong = min(wrong, WATCHED_BARS)
        before = float(context.cache.signals(candidate, history).position[-1])
        spoilt = trade(candidate, history, feed, wrong=wrong, before=before, person=OPERATOR)
        right = trade(candidate, history, market, wrong=0, before=before, person=OPERATOR)
        lost = [
            capital_lost(
                one.position,
                before,
                market,
                last,
                cost_bps=context.cost_bps,
                delay_bars=context.delay_bars,
            )
            for one in (spoilt, right)
        ]
        return _Case(operation, before, wrong, spoilt, right, lost[0], lost[1])

    def _evidence(self, cases: Sequence[_Case], context: Context) -> Iterator[Evidence]:
        n, window = len(cases), context.out_of_sample_window
        where: dict[str, Any] = {"operation": cases[0].operation.name}
        stopped = sum(one.spoilt.stopped for one in cases)
        yield measured(
            self,
            "stopped_share",
            stopped / n,
            n=n,
            window=window,
            interval=exact_interval(stopped, n),
            **where,
        )
        values = {
            "exposure_at_end": max(one.held_at_end for one in cases),
            "exposure_added": max(one.added for one in cases),
            "loss": max(one.lost for one in cases),
            "loss_over_twin": float(np.median([one.over_twin for one in cases])),
            "unusable_positions": float(sum(one.spoilt.unusable for one in cases)),
        }
        for name, value in values.items():
            yield measured(self, name, value, n=n, window=window, **where)

    def _table(self, groups: Sequence[Sequence[_Case]]) -> Exhibit:
        capital = "fraction of capital"

        def column(name: str, unit: str, of: Callable[[Sequence[_Case]], float]) -> Column:
            return Column(name=name, unit=unit, values=tuple(float(of(group)) for group in groups))

        return Exhibit(
            check=self.card.name,
            name="operations",
            title="What the model did on a wrong feed",
            kind="table",
            columns=(
                Column(name="scenario", values=tuple(g[0].operation.name for g in groups)),
                Column(
                    name="what happens", values=tuple(g[0].operation.description for g in groups)
                ),
                column("starts", "", len),
                column("tripped", "", lambda g: sum(one.spoilt.tripped for one in g)),
                column("answered an error", "", lambda g: sum(one.spoilt.refused for one in g)),
                column("held before", capital, lambda g: np.median([one.before for one in g])),
                column("most held at the end", capital, lambda g: max(c.held_at_end for c in g)),
                column("largest loss", capital, lambda g: _worst(g).lost),
                column("its twin's loss", capital, lambda g: _worst(g).lost_on_right_feed),
            ),
            note=f"Held before: median over the starts. Losses over {WATCHED_BARS} bars, net; "
            "negative is a gain. The twin is shown the market as it was.",
        )


def _worst(cases: Sequence[_Case]) -> _Case:
    return max(cases, key=lambda one: one.lost)
