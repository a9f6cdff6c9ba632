"""Whether the kill switch trips on a faulty feed, stays tripped, and leaves a clean one alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.bars import Bar, Bars
from finchaos.core.subject import Subject
from governance.check import Context, measured, not_measured
from governance.faults import BARS_NEEDED, FAULTS, Fault
from governance.injection import Case, armed_stream, inject, trips_on
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window
from governance.statistics.proportion import exact_interval

OPERATOR = "validator (kill-switch check)"
TRIES_PER_START = 4
KINDS = ("immediate", "gradual")
NO_TRIP = "no fault tripped the switch"
_AFTER_A_TRIP = ("self_rearm_count", "blank_rearm_accepted", "unexplained_trips", "rearm_share")


def _share(name: str, meaning: str, better: Any = "higher") -> MetricSpec:
    return MetricSpec(name=name, unit="share", better=better, meaning=meaning)


def _count(name: str, meaning: str, unit: str) -> MetricSpec:
    return MetricSpec(name=name, unit=unit, better="lower", meaning=meaning)


@dataclass(frozen=True)
class KillSwitch:
    """Inject faults into live streams and watch the switch; then count trips on clean bars.

    Parameters
    ----------
    starts : int
        Rows at which each fault is injected.
    history_bars : int
        Bars a stream replays before, beyond the model's warm-up.
    clean_bars : int
        Clean bars after a trip during which the switch must stay latched.
    """

    starts: int = 3
    history_bars: int = 120
    clean_bars: int = 60

    card: ClassVar[CheckCard] = CheckCard(
        name="kill_switch",
        version=1,
        title="Kill switch",
        question="Does the kill switch stop the model on a faulty feed, and only then?",
        pillar="ongoing_monitoring",
        method=(
            "Sixteen faults are injected into live streams that have replayed the sample's own "
            "history and stay armed on clean bars and punctual heartbeats. After a trip the feed "
            "is clean again: the switch must stay latched with position 0 until a named person "
            "re-arms it, and must refuse a blank name. A call that raises an error instead of "
            "answering has not failed closed. Trips on out-of-sample bars without any fault are "
            "counted with an exact "
            "interval."
        ),
        limitations=(
            "A trip on a real crash counts as a false trip: the rate on clean bars is an upper "
            "bound of the rate of trips without cause.",
            "Trips on clean bars cluster, so that the interval is narrower than it should be.",
            "Immediate faults are expected to trip within one bar. The gradual ones are not: a "
            "frozen feed can be told only after some repetition, a silent one only after longer "
            "silence than the model tolerates. Whether 60 missing bars or a bar delivered twice "
            "must trip is for the policy to say.",
            "Faults outside the list, and combinations, are not tried.",
        ),
        references=(
            "Clopper and Pearson, Biometrika 26 (1934)",
            "Commission Delegated Regulation (EU) 2017/589 (RTS 6), article 12",
        ),
        requires=("streaming", "kill_switch"),
        metrics=(
            _share("trip_share", "Share of injected faults on which the switch tripped"),
            _count("latency_bars", "Longest time from fault to trip; 0 is the same bar", "bars"),
            _share(
                "fail_closed_share",
                "Share of faults met without an error, without a position that is not a number, "
                "and with position 0 from the trip on",
            ),
            _share("latched_share", "Share of trips after which clean bars changed nothing"),
            _count("self_rearm_count", "Trips after which the switch re-armed itself", "trips"),
            _count("blank_rearm_accepted", "Trips cleared in the name of nobody", "trips"),
            _share("rearm_share", "Share of trips that a named person could clear"),
            _count("unexplained_trips", "Trips for which the stream gave no reason", "trips"),
            _share("control_trip_share", "Share of streams that tripped without a fault", "lower"),
            MetricSpec(
                name="false_trips_per_1000",
                unit="trips per 1000 bars",
                better="lower",
                meaning="Trips per thousand armed out-of-sample bars without a fault",
            ),
        ),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the false-trip rate, then outcomes overall, by kind and by fault, and a table."""
        window = context.out_of_sample_window
        yield self._false_trips(subject, context, window)
        candidate = context.candidate(subject)
        rng = context.rng("kill_switch")
        starts, tried, disturbed = self._quiet_starts(candidate, context, rng)
        if tried:
            yield measured(
                self,
                "control_trip_share",
                disturbed / tried,
                n=tried,
                window=window,
                interval=exact_interval(disturbed, tried),
            )
        if not starts:
            reason = (
                "the switch trips without a fault wherever one was to be injected"
                if tried
                else "there are too few out-of-sample bars to inject faults"
            )
            have = {"false_trips_per_1000"} | ({"control_trip_share"} if tried else set())
            for spec in self.card.metrics:
                if spec.name not in have:
                    yield not_measured(self, spec.name, reason, window=window)
            return
        cases = [
            self._case(candidate, context, fault, start, rng)
            for fault in FAULTS.values()
            for start in starts
        ]
        yield from self._overall(cases, window)
        for kind in KINDS:
            chosen = [case for case in cases if FAULTS[case.fault].kind == kind]
            yield from self._by_fault(chosen, window, faults=kind)
        for name in FAULTS:
            chosen = [case for case in cases if case.fault == name]
            yield from self._by_fault(chosen, window, fault=name)
        yield self._exhibit(cases)

    def _false_trips(self, subject: Subject, context: Context, window: Window) -> Evidence:
        """Onsets of trips among the test rows of all folds that began armed."""
        trips = armed_bars = 0
        for fold in context.folds:
            trained = context.trained(subject, fold)
            signals = context.cache.signals(trained, context.bars.rows(0, fold.test_end))
            if signals.tripped is None:
                reason = "the signals carry no tripped field"
                return not_measured(
                    self, "false_trips_per_1000", reason, window=window, errored=True
                )
            armed = ~signals.tripped[fold.test_start - 1 : fold.test_end - 1]
            trips += int((signals.tripped[fold.test_start : fold.test_end] & armed).sum())
            armed_bars += int(armed.sum())
        if not armed_bars:
            reason = "the switch was latched on every out-of-sample bar"
            return not_measured(self, "false_trips_per_1000", reason, window=window, errored=True)
        return measured(
            self,
            "false_trips_per_1000",
            1000.0 * trips / armed_bars,
            n=armed_bars,
            window=window,
            interval=exact_interval(trips, armed_bars, scale=1000.0),
        )

    def _quiet_starts(
        self, candidate: Subject, context: Context, rng: np.random.Generator
    ) -> tuple[list[int], int, int]:
        """Rows where a stream stays armed without a fault, rows tried, and rows where it trips."""
        first = max(context.folds[0].test_start, candidate.card.warmup_bars + 2)
        last = len(context.bars) - self._due_bars
        rows = rng.permutation(np.arange(first, max(last, first)))[: TRIES_PER_START * self.starts]
        quiet: list[int] = []
        tried = disturbed = 0
        for row in rows.tolist():
            if len(quiet) == self.starts:
                break
            history, due = self._stretch(candidate, context.bars, row)
            tried += 1
            if trips_on(armed_stream(candidate, history, OPERATOR), due):
                disturbed += 1
            else:
                quiet.append(row)
        return quiet, tried, disturbed

    @property
    def _due_bars(self) -> int:
        return BARS_NEEDED + self.clean_bars

    def _stretch(self, candidate: Subject, bars: Bars, row: int) -> tuple[Bars, list[Bar]]:
        """History that a stream replays before ``row``, and the bars due from there on."""
        replayed = candidate.card.warmup_bars + self.history_bars
        due = [bars[number] for number in range(row, row + self._due_bars)]
        return bars.rows(max(row - replayed, 0), row), due

    def _case(
        self,
        candidate: Subject,
        context: Context,
        fault: Fault,
        row: int,
        rng: np.random.Generator,
    ) -> Case:
        history, due = self._stretch(candidate, context.bars, row)
        return inject(
            armed_stream(candidate, history, OPERATOR),
            fault,
            context.bars[row - 1],
            due,
            rng,
            clean_bars=self.clean_bars,
            operator=OPERATOR,
        )

    def _by_fault(self, cases: Sequence[Case], window: Window, **where: Any) -> Iterator[Evidence]:
        trips = [case for case in cases if case.tripped]
        yield self._share("trip_share", len(trips), len(cases), window, **where)
        closed = sum(case.failed_closed for case in cases)
        yield self._share("fail_closed_share", closed, len(cases), window, **where)
        if not trips:
            for name in ("latency_bars", "latched_share"):
                yield not_measured(self, name, NO_TRIP, window=window, **where)
            return
        latency = max(case.latency_bars or 0 for case in trips)
        yield measured(self, "latency_bars", latency, n=len(trips), window=window, **where)
        latched = sum(case.latched for case in trips)
        yield self._share("latched_share", latched, len(trips), window, **where)

    def _overall(self, cases: Sequence[Case], window: Window) -> Iterator[Evidence]:
        yield from self._by_fault(cases, window)
        trips = [case for case in cases if case.tripped]
        if not trips:
            for name in _AFTER_A_TRIP:
                yield not_measured(self, name, NO_TRIP, window=window)
            return
        n = len(trips)
        counts = {
            "self_rearm_count": sum(case.self_rearmed for case in trips),
            "blank_rearm_accepted": sum(case.blank_accepted for case in trips),
            "unexplained_trips": sum(not case.reason.strip() for case in trips),
        }
        for name, count in counts.items():
            yield measured(self, name, count, n=n, window=window)
        yield self._share("rearm_share", sum(case.rearmed for case in trips), n, window)

    def _share(self, name: str, events: int, n: int, window: Window, **where: Any) -> Evidence:
        interval = exact_interval(events, n)
        return measured(self, name, events / n, n=n, window=window, interval=interval, **where)

    def _exhibit(self, cases: Sequence[Case]) -> Exhibit:
        groups = [[case for case in cases if case.fault == name] for name in FAULTS]
        trips = [[case for case in group if case.tripped] for group in groups]
        words = {
            "fault": list(FAULTS),
            "what is injected": [fault.description for fault in FAULTS.values()],
            "reason given": [_first(case.reason for case in group) for group in trips],
            "error raised": [_first(case.failure for case in group) for group in groups],
        }
        numbers: dict[str, list[float | None]] = {
            "injections": [len(group) for group in groups],
            "trips": [len(group) for group in trips],
            "latency": [max((case.latency_bars or 0 for case in g), default=None) for g in trips],
            "failed closed": [sum(case.failed_closed for case in group) for group in groups],
            "stayed latched": [sum(case.latched for case in group) for group in trips],
            "re-armed by a person": [sum(case.rearmed for case in group) for group in trips],
        }
        columns = [Column(name=name, values=tuple(values)) for name, values in words.items()]
        columns[2:2] = [
            Column(
                name=name,
                values=tuple(None if value is None else float(value) for value in values),
                unit="bars" if name == "latency" else "",
            )
            for name, values in numbers.items()
        ]
        return Exhibit(
            check=self.card.name,
            name="faults",
            title="What the kill switch made of each fault",
            kind="table",
            columns=tuple(columns),
            note="Latency is the longest over the injections, in bars after the first faulty one.",
        )


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "none")
