"""What a kill switch made of injected faults, as tables and curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from governance.faults import FAULTS
from governance.injection import Case
from governance.record import Column, Exhibit

QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)
"""Of the latency: each the smallest number of bars within which that share of trips came."""
_ENDS: tuple[tuple[str, Callable[[Case], bool]], ...] = (
    ("raised an error", lambda case: bool(case.failure)),
    ("held, or no number", lambda case: case.unusable),
    ("carried on", lambda case: not case.tripped),
    ("flat, then moved", lambda case: not case.latched),
    ("flat and latched", lambda case: True),
)
"""What can happen; the first that fits is what happened."""


def latency_quantile(latencies: Sequence[int], share: float) -> int:
    """The smallest latency within which at least this share of trips came, bars."""
    return int(np.quantile(np.asarray(latencies), share, method="inverted_cdf"))


def grouped(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Cases by fault, in the order of the faults."""
    return {name: [case for case in cases if case.fault == name] for name in FAULTS}


def fault_table(check: str, cases: Sequence[Case]) -> Exhibit:
    """One row a fault: trips, latency, and what came after."""
    groups = list(grouped(cases).values())
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
        _numbers(name, values, "bars" if name == "latency" else "")
        for name, values in numbers.items()
    ]
    return Exhibit(
        check=check,
        name="faults",
        title="What the kill switch made of each fault",
        kind="table",
        columns=tuple(columns),
        note="Latency is the longest over the injections, in bars after the first faulty one.",
    )


def fail_closed_table(check: str, cases: Sequence[Case]) -> Exhibit:
    """One row a fault: what was broken, and in how many injections what happened."""
    groups = list(grouped(cases).values())
    ends = [[_end(case) for case in group] for group in groups]
    columns = [
        Column(name="what was broken", values=tuple(f.description for f in FAULTS.values())),
        _numbers("injections", [len(group) for group in groups]),
        *(
            _numbers(name, [sum(end == name for end in group) for group in ends])
            for name in (name for name, _ in reversed(_ENDS))
        ),
    ]
    return Exhibit(
        check=check,
        name="fail_closed",
        title="What was broken, and what happened",
        kind="table",
        columns=tuple(columns),
        note="Every injection ends in one column. Only the first of them is closed; what was "
        "carried on through is a missed trip.",
    )


def latency_table(check: str, cases: Sequence[Case]) -> Exhibit | None:
    """Quantiles of the latency by fault; None where nothing tripped."""
    groups = {
        name: [case.latency_bars for case in group if case.latency_bars is not None]
        for name, group in grouped(cases).items()
    }
    tripped = {name: latencies for name, latencies in groups.items() if latencies}
    if not tripped:
        return None
    rows = {**tripped, "all faults": [one for group in tripped.values() for one in group]}
    columns = [
        Column(name="fault", values=tuple(rows)),
        _numbers("trips", [len(latencies) for latencies in rows.values()]),
        _numbers("least", [min(latencies) for latencies in rows.values()], "bars"),
        *(
            _numbers(
                "longest" if share == 1.0 else f"{share:.0%} within".replace("%", " %"),
                [latency_quantile(latencies, share) for latencies in rows.values()],
                "bars",
            )
            for share in QUANTILES
        ),
    ]
    return Exhibit(
        check=check,
        name="latency",
        title="How long the switch took",
        kind="table",
        columns=tuple(columns),
        note="Bars or heartbeats after the first faulty one; 0 is the same bar.",
    )


def latency_curve(check: str, cases: Sequence[Case]) -> Exhibit:
    """Share of all injections tripped on within so many bars, by kind of fault."""
    kinds = {"immediate": _latencies(cases, "immediate"), "gradual": _latencies(cases, "gradual")}
    longest = max((one for group in kinds.values() for one in group if one is not None), default=0)
    within = range(longest + 1)
    return Exhibit(
        check=check,
        name="latency_curve",
        title="Share of injected faults on which the switch had tripped",
        kind="line",
        columns=(
            _numbers("bars since the first faulty one", list(within)),
            *(
                _numbers(
                    f"{kind} faults",
                    [
                        sum(one is not None and one <= bars for one in group) / len(group)
                        for bars in within
                    ],
                )
                for kind, group in kinds.items()
                if group
            ),
        ),
        y_label="share of injections",
        note="Missed faults count as not tripped: a curve that ends below 1 says how many.",
    )


def severity_map(check: str, shares: Mapping[str, Mapping[float, float]]) -> Exhibit:
    """Share of trips by fault and severity."""
    severities = list(next(iter(shares.values())))
    sizes = "; ".join(f"{name}: {FAULTS[name].size}" for name in shares)
    return Exhibit(
        check=check,
        name="severity",
        title="Share of faults on which the switch tripped, by severity",
        kind="heatmap",
        columns=(
            Column(name="fault", values=tuple(shares)),
            *(
                _numbers(f"{severity:g}x", [row[severity] for row in shares.values()])
                for severity in severities
            ),
        ),
        note=f"At 1x: {sizes}. Below that a fault may pass for an ordinary bar and need not trip.",
    )


def _latencies(cases: Sequence[Case], kind: str) -> list[int | None]:
    return [case.latency_bars for case in cases if FAULTS[case.fault].kind == kind]


def _end(case: Case) -> str:
    return next(name for name, fits in _ENDS if fits(case))


def _numbers(name: str, values: Sequence[Any], unit: str = "") -> Column:
    numbers = tuple(None if value is None else float(value) for value in values)
    return Column(name=name, values=numbers, unit=unit)


def _first(texts: Iterable[str]) -> str:
    return next((text for text in texts if text), "none")
