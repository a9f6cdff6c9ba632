"""What is missing, repeated or odd in the bars a validation rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.subject import Subject
from finchaos.markets.calendar import CALENDARS
from finchaos.markets.faults import Fault
from finchaos.markets.quality import QualityReport, inspect
from finchaos.markets.usable import Settings
from governance.check import Context, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec, Window

COUNTS = {
    "missing_sessions": "Days of the calendar without a bar.",
    "unexpected_sessions": "Bars on days that the calendar does not have, such as weekends.",
    "missing_intraday_bars": "Bars missing between two bars of one session.",
    "filled_holidays": "Bars that repeat the last close on a holiday or without any volume.",
    "odd_stamp_times": "Daily bars stamped at another time of day than most: mixed time zones.",
    "extreme_returns": "Returns beyond a multiple of the robust deviation of the 250 before.",
    "suspected_splits": "Jumps near n to 1 after which the price stays at its new level.",
    "suspected_bad_prices": "Large moves of the close that the next bar undoes.",
    "stale_bars": "Bars that repeat the close before within a run of equal closes.",
    "flat_bars": "Bars whose open, high, low and close are one price.",
}
SHARES = {
    "missing_sessions": "Share of the calendar's days without a bar.",
    "filled_holidays": "Share of bars that are filled holidays.",
    "stale_bars": "Share of bars that are stale.",
    "open_equals_prior_close": "Share of bars that open exactly at the close before.",
    "zero_volume_bars": "Share of bars without volume, where others have some.",
}


@dataclass(frozen=True)
class DataQuality:
    """Count gaps, repetitions and oddities of the validation sample.

    Parameters
    ----------
    calendar : {"auto", "nyse", "weekdays", "every_day"}
        Which days to expect of daily bars; ``auto`` takes the calendar that fits best.
    stale_run : int
        Equal closes in a row from which they are called stale.
    extreme_multiple : float
        Robust standard deviations beyond which a return is extreme.
    """

    calendar: str = "auto"
    stale_run: int = 3
    extreme_multiple: float = 10.0

    card: ClassVar[CheckCard] = CheckCard(
        name="data_quality",
        version=1,
        title="Data quality",
        question="Are the bars complete, dated correctly and free of artefacts?",
        pillar="conceptual_soundness",
        method=(
            "Days are compared with a calendar: the sessions of the New York exchange from 1971, "
            "all weekdays or all days, whichever disagrees with the bars on the fewest days. "
            "Prices are compared with what was usual before them: a return is extreme beyond a "
            "multiple of the robust deviation of the 250 returns before it; a jump near n to 1 "
            "that lasts is a suspected split, one that the next bar undoes a suspected bad price. "
            "Closes equal to the one before count as stale in runs, and as filled holidays where "
            "nobody traded. Faults that make bars unusable, such as duplicate stamps or a high "
            "below its low, are refused when bars are loaded; they are counted again here."
        ),
        limitations=(
            "Only the bars themselves are examined: a price that is wrong and plausible is not "
            "found, and neither is a history that was revised afterwards.",
            "The calendar is the one that fits best. A feed that lacks the same weekday all along "
            "would need its calendar to be named.",
            "Extreme returns are mostly real: crises are counted together with errors.",
            "Holidays are known for the New York exchange alone.",
        ),
        references=(
            "Dacorogna, Gençay, Müller, Olsen and Pictet, An Introduction to High-Frequency "
            "Finance (2001), chapter 4",
        ),
        metrics=(
            MetricSpec(
                name="refused_faults",
                unit="count",
                better="lower",
                meaning="Faults that forbid loading: duplicate, unsorted or unreadable stamps, "
                "mixed zones, missing or impossible values, broken ranges.",
            ),
            *(
                MetricSpec(name=name, unit="count", better="lower", meaning=meaning)
                for name, meaning in COUNTS.items()
            ),
            *(
                MetricSpec(name=f"{name}_share", unit="share", better="lower", meaning=meaning)
                for name, meaning in SHARES.items()
            ),
            MetricSpec(
                name="known_late_share",
                unit="share",
                better="none",
                meaning="Share of bars that were known only after their close.",
            ),
        ),
    )

    def __post_init__(self) -> None:
        if self.calendar not in ("auto", *CALENDARS):
            raise ValueError(f"calendar must be auto or one of {', '.join(CALENDARS)}")
        if self.stale_run < 2 or not self.extreme_multiple > 0:
            raise ValueError("stale_run must be at least 2 and extreme_multiple positive")

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what was found in ``context.bars``; the subject is not asked."""
        bars = context.bars
        settings = Settings(cast(Any, self.calendar), self.stale_run, self.extreme_multiple)
        report = inspect(bars, settings=settings)
        window = context.window(0, len(bars) - 1)
        refused = sum(fault.count for fault in report.faults if fault.refused)
        yield measured(self, "refused_faults", refused, n=len(bars), window=window)
        for name in COUNTS:
            yield self._fault(name, report.fault(name), window, share=False)
        for name in SHARES:
            yield self._fault(f"{name}_share", report.fault(name), window, share=True)
        late = 0.0 if bars.known_at is None else float(np.mean(bars.known_at > bars.index))
        yield measured(self, "known_late_share", late, n=len(bars), window=window)
        yield _sample(report, bars)
        yield _found(report)
        if report.count("missing_sessions") and report.missing_by_year:
            yield _by_year(report)

    def _fault(self, metric: str, fault: Fault, window: Window, *, share: bool) -> Evidence:
        if not fault.of:
            reason = "the bars do not have what this is measured on: a range, or any volume"
            return not_measured(self, metric, reason, window=window)
        value = fault.share if share else float(fault.count)
        return measured(self, metric, value, n=fault.of, window=window)


def _sample(report: QualityReport, bars: Bars) -> Exhibit:
    source = bars.provenance
    facts: dict[str, str] = {
        "Instrument": bars.symbol,
        "Source": source.source,
        "Kind": source.kind,
        "Licence": source.licence or "not stated",
        "Bars": f"{report.rows}",
        "First bar": report.first,
        "Last bar": report.last,
        "Spacing": report.spacing,
        "Calendar": report.calendar,
        "Open, high and low": "known" if bars.has_range else "unknown",
        "Notes": "; ".join(source.notes) or "none",
        "SHA-256": bars.digest,
    }
    return Exhibit(
        check="data_quality",
        name="sample",
        title="The validation sample",
        kind="table",
        columns=(
            Column(name="Fact", values=tuple(facts)),
            Column(name="Value", values=tuple(facts.values())),
        ),
    )


def _found(report: QualityReport) -> Exhibit:
    return Exhibit(
        check="data_quality",
        name="faults",
        title="What was looked for and found",
        kind="table",
        columns=(
            Column(name="Fault", values=tuple(f.name.replace("_", " ") for f in report.faults)),
            Column(name="Meaning", values=tuple(f.meaning for f in report.faults)),
            Column(name="Found", values=tuple(float(f.count) for f in report.faults)),
            Column(name="Out of", values=tuple(float(f.of) for f in report.faults)),
            Column(name="First", values=tuple("; ".join(f.examples[:3]) for f in report.faults)),
        ),
        note="Faults from unreadable stamps to outside range are refused when bars are loaded.",
    )


def _by_year(report: QualityReport) -> Exhibit:
    return Exhibit(
        check="data_quality",
        name="missing_by_year",
        title="Missing sessions by year",
        kind="bar",
        columns=(
            Column(name="Year", values=tuple(str(year) for year, _, _ in report.missing_by_year)),
            Column(
                name="Missing sessions",
                values=tuple(float(missing) for _, _, missing in report.missing_by_year),
            ),
        ),
        y_label="sessions",
        note=f"Expected by the calendar: {report.calendar}.",
    )
