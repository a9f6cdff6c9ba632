"""Evidence of one check as tables: measures by slice where that fits, one row each otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from governance.record import CheckCard, Evidence, Residual, Verdict
from reports.numbers import AT_LEAST, aligned, interval_text, number, period, trained, unit_style
from reports.tables import Cell, Head, Notes, Table, short_digest, words

_MOST_COLUMNS = 7
_FEWEST_ROWS_ACROSS = 2
_LEGEND: dict[Verdict, str] = {"fail": "F: breaches a limit.", "warn": "W: breaches a warning."}
_BOUND = f"{AT_LEAST.strip()}: a lower bound, as it had not come by the end of the window."
_LETTERS: dict[Verdict, str] = {"fail": "F", "warn": "W"}

_NUMBER = re.compile(r"\d+(?:\.\d+)?")

Verdicts = Mapping[str, Verdict]
"""Worst verdict by key of the evidence judged."""
Where = tuple[str, ...]


def evidence_tables(
    card: CheckCard, evidence: Sequence[Evidence], verdicts: Verdicts
) -> tuple[Table, ...]:
    """Every measurement of one check, none left out.

    Measurements with the same kind of slice share a table. Measures stand in columns where every
    slice has at most one value of each over one window, else each measurement has its own row.

    Parameters
    ----------
    card : CheckCard
        Gives the order, unit and meaning of the measures.
    evidence : sequence of Evidence
        Of this check alone.
    verdicts : mapping of evidence key to verdict
        Values judged ``fail`` or ``warn`` are marked.
    """
    order = {spec.name: place for place, spec in enumerate(card.metrics)}
    groups: dict[Where, list[Evidence]] = {}
    for item in evidence:
        groups.setdefault(tuple(item.slice), []).append(item)
    tables: list[Table] = []
    for keys, items in sorted(groups.items(), key=lambda pair: len(pair[0])):
        metrics = sorted({e.metric for e in items}, key=lambda m: order.get(m, len(order)))
        shared = _shared_digests(items)
        kept = tuple(key for key in keys if key not in shared)
        group = _Group(kept, tuple(metrics), tuple(items), verdicts, shared)
        tables += group.across() if group.fits_across() else [group.listed()]
    return tuple(tables)


def self_checks(evidence: Sequence[Evidence]) -> Table | None:
    """How far what should be zero was from zero, worst per kind; None if nothing was checked."""
    kinds: dict[tuple[str, float], list[Residual]] = {}
    for item in evidence:
        if item.self_check is not None:
            residual = item.self_check
            kinds.setdefault((residual.what, residual.tolerance), []).append(residual)
    if not kinds:
        return None
    rows = []
    for (what, tolerance), residuals in kinds.items():
        worst = max(residuals, key=lambda r: abs(r.value))
        missed = sum(not r.holds for r in residuals)
        rows.append(
            (
                Cell(what),
                Cell(f"{len(residuals):,}"),
                Cell(number(worst.value), exact=repr(worst.value)),
                Cell(number(tolerance)),
                Cell("holds" if not missed else f"{missed} missed", tone="fail" if missed else ""),
            )
        )
    heads = (
        Head("Residual"),
        Head("Times", numeric=True),
        Head("Largest", numeric=True),
        Head("Tolerance", numeric=True),
        Head("Outcome"),
    )
    return Table("Self-checks of the instrument", heads, tuple(rows))


@dataclass(frozen=True)
class _Group:
    """Measurements of one check that are sliced by the same keys."""

    keys: Where
    metrics: tuple[str, ...]
    items: tuple[Evidence, ...]
    verdicts: Verdicts
    shared: Mapping[str, str]
    """Digests that all of them have in common, by key; a note says them in full."""

    def fits_across(self) -> bool:
        """Whether measures can stand in columns."""
        if not self.keys:
            return False
        rows = self._by_where()
        single = all(
            len({e.metric for e in row}) == len(row) and len({_said(e) for e in row}) == 1
            for row in rows.values()
        )
        return single and len(rows) >= _FEWEST_ROWS_ACROSS and len(self.metrics) > 1

    def across(self) -> list[Table]:
        """Slices down, measures across; wide tables are cut between measures."""
        rows = self._by_where()
        windows = {_said(e) for e in self.items}
        room = max(2, _MOST_COLUMNS - len(self.keys) - (len(windows) > 1))
        cuts = -(-len(self.metrics) // room)
        size = -(-len(self.metrics) // cuts)
        parts = [self.metrics[k : k + size] for k in range(0, len(self.metrics), size)]
        return [self._part(part, rows, windows, k, len(parts)) for k, part in enumerate(parts)]

    def _part(
        self,
        metrics: tuple[str, ...],
        rows: Mapping[Where, list[Evidence]],
        windows: set[str],
        place: int,
        parts: int,
    ) -> Table:
        notes = Notes()
        shown = [e for e in self.items if e.metric in metrics]
        counts = _counts(shown)
        by_row = len(counts) > 1 and all(len(_counts(row)) <= 1 for row in rows.values())
        cells = self._cells(shown, notes, with_n=len(counts) > 1 and not by_row)
        body = []
        for where, row in rows.items():
            by_metric = {e.metric: e for e in row}
            line = [Cell(text) for text in where]
            line += [_window_cell(row[0])] if len(windows) > 1 else []
            line += [
                cells[by_metric[m].key] if m in by_metric else Cell("", tone="quiet")
                for m in metrics
            ]
            line += [Cell("".join(f"{n:,}" for n in _counts(row)))] if by_row else []
            body.append(tuple(line))
        heads = [Head(words(key)) for key in self.keys]
        heads += [Head("Window")] if len(windows) > 1 else []
        heads += [Head(words(m), self._unit(m), numeric=True) for m in metrics]
        heads += [Head("n", numeric=True)] if by_row else []
        common = self._common(windows, counts, shown)
        title = self._title() + (f" ({place + 1} of {parts})" if parts > 1 else "")
        return Table(title, tuple(heads), tuple(body), (*_joined(common), *notes.lines()))

    def listed(self) -> Table:
        """One measurement a row."""
        notes = Notes()
        cells = self._cells(self.items, notes, with_n=False)
        windows = {_said(e) for e in self.items}
        ordered = sorted(self.items, key=lambda e: self.metrics.index(e.metric))
        only = len(self.metrics) == 1 and bool(self.keys)
        counts = _counts(self.items)
        spread = any(e.interval is not None for e in self.items)
        body = []
        for item in ordered:
            cell = cells[item.key]
            line = [] if only else [Cell(words(item.metric))]
            line += [Cell(short_digest(item.slice[key])) for key in self.keys]
            line += [
                replace(cell, under=""),
                Cell(unit_style(item.unit).heading, tone="quiet"),
            ]
            line += [Cell(cell.under)] if spread else []
            line += (
                [Cell(f"{item.n:,}" if item.value is not None else "")] if len(counts) > 1 else []
            )
            line += [_window_cell(item)] if len(windows) > 1 else []
            body.append(tuple(line))
        heads = [] if only else [Head("Measure")]
        heads += [Head(words(key)) for key in self.keys]
        heads += [Head(words(self.metrics[0]) if only else "Value", numeric=True), Head("Unit")]
        heads += [Head("Interval", numeric=True)] if spread else []
        heads += [Head("n", numeric=True)] if len(counts) > 1 else []
        heads += [Head("Window")] if len(windows) > 1 else []
        common = self._common(windows, counts, self.items)
        return Table(self._title(), tuple(heads), tuple(body), (*_joined(common), *notes.lines()))

    def _by_where(self) -> dict[Where, list[Evidence]]:
        rows: dict[Where, list[Evidence]] = {}
        for item in self.items:
            rows.setdefault(tuple(short_digest(item.slice[key]) for key in self.keys), []).append(
                item
            )
        return rows

    def _unit(self, metric: str) -> str:
        return unit_style(next(e.unit for e in self.items if e.metric == metric)).heading

    def _title(self) -> str:
        if not self.keys:
            return "Overall"
        return f"By {' and '.join(key.replace('_', ' ') for key in self.keys)}"

    def _common(self, windows: set[str], counts: set[int], items: Sequence[Evidence]) -> list[str]:
        """What all values of a table share, and what its marks mean."""
        digests = [f"{words(key)} SHA-256 {value}." for key, value in self.shared.items()]
        return _common(windows, counts) + _interval_notes(items) + self._legend(items) + digests

    def _legend(self, items: Sequence[Evidence]) -> list[str]:
        worst = {self.verdicts.get(e.key) for e in items}
        bounds = [_BOUND] if any(e.at_least for e in items) else []
        return [text for verdict, text in _LEGEND.items() if verdict in worst] + bounds

    def _cells(self, items: Sequence[Evidence], notes: Notes, *, with_n: bool) -> dict[str, Cell]:
        """Cell by evidence key; decimals agree within one measure."""
        cells: dict[str, Cell] = {}
        for metric, unit in dict.fromkeys((e.metric, e.unit) for e in items):
            mine = [e for e in items if (e.metric, e.unit) == (metric, unit)]
            measured = [(e, e.value) for e in mine if e.value is not None]
            texts = aligned([value for _, value in measured], unit)
            for (item, value), text in zip(measured, texts, strict=True):
                verdict = self.verdicts.get(item.key, "pass")
                under = interval_text(item.interval, item.unit) if item.interval else ""
                if with_n:
                    under = f"{under}; n = {item.n:,}" if under else f"n = {item.n:,}"
                flag = _LETTERS.get(verdict, "")
                bound = AT_LEAST if item.at_least else ""
                tone = verdict if flag else ""
                cells[item.key] = Cell(f"{bound}{text}", under, repr(value), flag, tone)
            for item in mine:
                if item.value is None:
                    mark = notes.mark(f"{words(item.status)}: {item.reason}")
                    cells[item.key] = Cell(f"{item.status} {mark}", tone="not_assessed")
        return cells


def _said(item: Evidence) -> str:
    """The window in words."""
    return ", ".join(filter(None, (period(item.window), _trained(item))))


def _trained(item: Evidence) -> str:
    return trained(item.window, item.slice.get("sample", ""))


def _window_cell(item: Evidence) -> Cell:
    return Cell(period(item.window), _trained(item), tone="quiet")


def _counts(items: Sequence[Evidence]) -> set[int]:
    """Numbers of observations behind what was measured."""
    return {e.n for e in items if e.status == "measured"}


def _shared_digests(items: Sequence[Evidence]) -> dict[str, str]:
    """Slice values that are digests and the same everywhere: a column of them tells nothing."""
    first = items[0].slice
    return {
        key: value
        for key, value in first.items()
        if short_digest(value) != value and all(item.slice[key] == value for item in items)
    }


def _common(windows: set[str], counts: set[int]) -> list[str]:
    """What all values of a table share."""
    lines = [f"Window {next(iter(windows))}."] if len(windows) == 1 else []
    return lines + ([f"n = {next(iter(counts)):,}."] if len(counts) == 1 else [])


def _interval_notes(items: Sequence[Evidence]) -> list[str]:
    """How the intervals were made; methods that differ only in numbers are said as one."""
    kinds: dict[tuple[float, str], set[tuple[str, ...]]] = {}
    for interval in (item.interval for item in items if item.interval is not None):
        literal = interval.method.replace("{", "{{").replace("}", "}}")
        form = (interval.level, _NUMBER.sub("{}", literal))
        kinds.setdefault(form, set()).add(tuple(_NUMBER.findall(interval.method)))
    return [
        f"Intervals: {level * 100:g}%, {form.format(*map(_span, zip(*numbers, strict=True)))}."
        for (level, form), numbers in sorted(kinds.items())
    ]


def _span(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if low == high else f"{low} to {high}"


def _joined(parts: list[str]) -> tuple[str, ...]:
    return (" ".join(parts),) if parts else ()
