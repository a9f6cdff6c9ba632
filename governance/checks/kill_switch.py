"""Whether the kill switch trips on a faulty feed, stays tripped, and leaves a clean one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.check import Context, measured, not_measured
from governance.faults import FAULTS, MAX_SEVERITY
from governance.injection import Case, Persons, inject
from governance.injection_starts import Start, Starts, find_starts
from governance.record import CheckCard, Evidence, Exhibit, MetricSpec, Window
from governance.statistics.proportion import exact_interval
from governance.statistics.rate import exact_rate_interval
from governance.switch_exhibits import (
    fail_closed_table,
    fault_table,
    grouped,
    latency_curve,
    latency_quantile,
    latency_table,
    severity_map,
)

OPERATOR = "validator (kill-switch check)"
KINDS = ("immediate", "gradual")
NO_TRIP = "no fault tripped the switch"
MILD = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Severities at which faults that can be mild are tried too."""
_AFTER_A_TRIP = (
    "self_rearm_count",
    "blank_rearm_accepted",
    "unexplained_trips",
    "rearm_share",
    "single_person_rearm_accepted",
)


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
    mild_starts : int
        Rows at which faults that can be mild are injected at each of several severities, at most
        ``starts``; 0 for none.
    """

    starts: int = 20
    history_bars: int = 120
    clean_bars: int = 60
    mild_starts: int = 6

    card: ClassVar[CheckCard] = CheckCard(
        name="kill_switch",
        version=2,
        title="Kill switch",
        question="Does the kill switch stop the model on a faulty feed, and only then?",
        pillar="ongoing_monitoring",
        method=(
            "Seventeen faults are injected, each at many random rows and at random severities from "
            "once to three times what its name says, into live streams that have replayed the "
            "sample's own history and stay armed on clean bars and punctual heartbeats. After a "
            "trip the feed is clean again: the switch must stay latched with position 0 until a "
            "named person re-arms it, and must refuse a blank name; where the subject declares "
            "that two persons re-arm it, one alone is tried in every way first. A call that raises "
            "an error instead of answering has not failed closed. Missed trips have exact "
            "intervals, latency is given by quantiles, and faults that can be mild are tried at "
            "smaller severities too. Trips without any fault are counted on out-of-sample "
            "signals and on live streams. Subjects that can be resumed are resumed at each row, "
            "and found to answer as if they had replayed."
        ),
        limitations=(
            "A trip on a real crash counts as a false trip: the rate on clean bars is an upper "
            "bound of the rate of trips without cause.",
            "Trips on clean bars cluster, and faults at the same row share its history, so that "
            "intervals are narrower than they should be.",
            "Immediate faults are expected to trip within one bar. The gradual ones are not: a "
            "frozen feed can be told only after some repetition, a silent one only after longer "
            "silence than the model tolerates. Whether 60 missing bars or a bar delivered twice "
            "must trip is for the policy to say.",
            "Faults outside the list, and combinations, are not tried.",
            "Names are tried, not identities: whether somebody may speak in a name is for the "
            "desk's own access control.",
        ),
        references=(
            "Clopper and Pearson, Biometrika 26 (1934)",
            "Garwood, Biometrika 28 (1936)",
            "Commission Delegated Regulation (EU) 2017/589 (RTS 6), article 12",
        ),
        requires=("streaming", "kill_switch"),
        metrics=(
            _share("trip_share", "Share of injected faults on which the switch tripped"),
            _share(
                "missed_trip_share", "Share of injected faults on which it did not trip", "lower"
            ),
            _count("latency_bars", "Longest time from fault to trip; 0 is the same bar", "bars"),
            _count("latency_median_bars", "Half of the trips came within this many bars", "bars"),
            _count("latency_p95_bars", "95 % of the trips came within this many bars", "bars"),
            _share(
                "fail_closed_share",
                "Share of faults met without an error, without a position that is not a number, "
                "and with position 0 from the trip on",
            ),
            _share("latched_share", "Share of trips after which clean bars changed nothing"),
            _count("self_rearm_count", "Trips after which the switch re-armed itself", "trips"),
            _count("blank_rearm_accepted", "Trips cleared in the name of nobody", "trips"),
            _share("rearm_share", "Share of trips that a named person could clear"),
            _count(
                "single_person_rearm_accepted",
                "Trips that one person cleared where the subject declares that it takes two",
                "trips",
            ),
            _count(
                "resume_differences",
                "Clean bars that a resumed stream answered otherwise than one that went on",
                "bars",
            ),
            _count("unexplained_trips", "Trips for which the stream gave no reason", "trips"),
            _share("control_trip_share", "Share of streams that tripped without a fault", "lower"),
            MetricSpec(
                name="false_trips_per_1000",
                unit="trips per 1000 bars",
                better="lower",
                meaning="Trips per thousand armed out-of-sample bars without a fault",
            ),
            MetricSpec(
                name="live_false_trips_per_1000",
                unit="trips per 1000 bars",
                better="lower",
                meaning="Trips of live streams per thousand bars and heartbeats without a fault",
            ),
        ),
    )

    def __post_init__(self) -> None:
        if min(self.starts, self.history_bars, self.clean_bars) < 1 or self.mild_starts < 0:
            raise InputError(
                "kill_switch cannot use these parameters",
                expected="starts, history_bars and clean_bars of 1 or more, mild_starts of 0 or "
                "more",
                got=repr(self),
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield the false-trip rates, outcomes overall, by kind and by fault, and the dossier."""
        window = context.out_of_sample_window
        yield self._false_trips(subject, context, window)
        candidate = context.candidate(subject)
        rng = context.rng("kill_switch")
        persons = Persons.of(candidate, OPERATOR)
        found = find_starts(
            candidate,
            context.bars,
            rng,
            first_row=context.folds[0].test_start,
            starts=self.starts,
            history_bars=self.history_bars,
            clean_bars=self.clean_bars,
            persons=persons,
        )
        yield from self._controls(found, window)
        if not found.quiet:
            yield from self._nothing_injected(found, window)
            return
        cases = [
            self._case(candidate, name, start, rng, persons)
            for name in FAULTS
            for start in found.quiet
        ]
        yield from self._overall(cases, window)
        for kind in KINDS:
            chosen = [case for case in cases if FAULTS[case.fault].kind == kind]
            yield from self._by_fault(chosen, window, faults=kind)
        for name, group in grouped(cases).items():
            yield from self._by_fault(group, window, fault=name)
        yield fault_table(self.card.name, cases)
        yield fail_closed_table(self.card.name, cases)
        table = latency_table(self.card.name, cases)
        if table is not None:
            yield table
        yield latency_curve(self.card.name, cases)
        if self.mild_starts:
            mild = self._mild(candidate, found.quiet[: self.mild_starts], context, persons)
            yield severity_map(self.card.name, mild)

    def _controls(self, found: Starts, window: Window) -> Iterator[Evidence]:
        """What live streams did without a fault."""
        if not found.tried:
            return
        yield self._share("control_trip_share", found.disturbed, found.tried, window)
        yield measured(
            self,
            "live_false_trips_per_1000",
            1000.0 * found.disturbed / found.bars,
            n=found.bars,
            window=window,
            interval=exact_rate_interval(found.disturbed, found.bars / 1000.0),
        )
        if found.resumed_bars:
            value, n = found.resume_differences, found.resumed_bars
            yield measured(self, "resume_differences", value, n=n, window=window)

    def _nothing_injected(self, found: Starts, window: Window) -> Iterator[Evidence]:
        """Say of every metric that is left why it was not measured."""
        reason = (
            "the switch trips without a fault wherever one was to be injected"
            if found.tried
            else "there are too few out-of-sample bars to inject faults"
        )
        have = {"false_trips_per_1000"}
        if found.tried:
            have |= {"control_trip_share", "live_false_trips_per_1000"}
        for spec in self.card.metrics:
            if spec.name not in have:
                yield not_measured(self, spec.name, reason, window=window)

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

    def _case(
        self,
        candidate: Subject,
        fault: str,
        start: Start,
        rng: np.random.Generator,
        persons: Persons,
    ) -> Case:
        return inject(
            start.stream(candidate, persons),
            FAULTS[fault],
            start.last,
            start.due,
            rng,
            clean_bars=self.clean_bars,
            persons=persons,
            severity=float(rng.uniform(1.0, MAX_SEVERITY)),
        )

    def _mild(
        self, candidate: Subject, starts: Sequence[Start], context: Context, persons: Persons
    ) -> dict[str, dict[float, float]]:
        """Share of trips by fault and severity, for faults that can be mild."""
        rng = context.rng("kill_switch:mild")
        return {
            name: {
                severity: float(
                    np.mean(
                        [
                            inject(
                                start.stream(candidate, persons),
                                fault,
                                start.last,
                                start.due,
                                rng,
                                clean_bars=0,
                                persons=persons,
                                severity=severity,
                            ).tripped
                            for start in starts
                        ]
                    )
                )
                for severity in MILD
            }
            for name, fault in FAULTS.items()
            if fault.size
        }

    def _by_fault(self, cases: Sequence[Case], window: Window, **where: Any) -> Iterator[Evidence]:
        trips = [case for case in cases if case.tripped]
        yield self._share("trip_share", len(trips), len(cases), window, **where)
        missed = len(cases) - len(trips)
        yield self._share("missed_trip_share", missed, len(cases), window, **where)
        closed = sum(case.failed_closed for case in cases)
        yield self._share("fail_closed_share", closed, len(cases), window, **where)
        if not trips:
            for name in ("latency_bars", "latched_share"):
                yield not_measured(self, name, NO_TRIP, window=window, **where)
            return
        latencies = [case.latency_bars for case in trips if case.latency_bars is not None]
        yield measured(self, "latency_bars", max(latencies), n=len(trips), window=window, **where)
        if "fault" not in where:
            for name, share in (("latency_median_bars", 0.5), ("latency_p95_bars", 0.95)):
                value = latency_quantile(latencies, share)
                yield measured(self, name, value, n=len(trips), window=window, **where)
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
        yield self._single_person(trips, window)

    def _single_person(self, trips: Sequence[Case], window: Window) -> Evidence:
        """How often one person was enough where two are declared."""
        name = "single_person_rearm_accepted"
        tried = [case.single_accepted for case in trips if case.single_accepted is not None]
        if not tried:
            reason = "the subject does not declare two-person re-arm: one named person is enough"
            return not_measured(self, name, reason, window=window)
        return measured(self, name, sum(tried), n=len(tried), window=window)

    def _share(self, name: str, events: int, n: int, window: Window, **where: Any) -> Evidence:
        interval = exact_interval(events, n)
        return measured(self, name, events / n, n=n, window=window, interval=interval, **where)
