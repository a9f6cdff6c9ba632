"""A monitoring record in the text format that Prometheus reads.

For the textfile collector of the node exporter: gauges alone, each with help and type.

References
----------
Prometheus documentation, Exposition formats, text-based format 0.0.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from governance.monitoring import MonitoringRecord

_VERDICTS = {"in_control": 0, "alarm": 1, "inconclusive": 2}


@dataclass(frozen=True)
class Gauge:
    """One metric: its name, what it means, and values by labels."""

    name: str
    meaning: str
    values: tuple[tuple[Mapping[str, str], float], ...]

    def text(self) -> str:
        r"""Help, type and samples; a metric without samples is left out.

        Examples
        --------
        >>> print(Gauge("up", "Is it?", (({"of": 'a "b"'}, 1.0),)).text(), end="")
        # HELP up Is it?
        # TYPE up gauge
        up{of="a \"b\""} 1.0
        """
        if not self.values:
            return ""
        lines = [f"# HELP {self.name} {_escaped(self.meaning)}", f"# TYPE {self.name} gauge"]
        for labels, value in self.values:
            said = ",".join(
                f'{key}="{_escaped(text, quoted=True)}"' for key, text in labels.items()
            )
            lines.append(f"{self.name}{{{said}}} {float(value)!r}")
        return "\n".join(lines) + "\n"


def prometheus_text(record: MonitoringRecord, model: str) -> str:
    """The record's readings.

    Parameters
    ----------
    record : MonitoringRecord
    model : str
        Name of the model, a label of every sample.
    """
    base = {"model": model, "run": record.run[:12]}
    return "".join(gauge.text() for gauge in _gauges(record, base))


def _gauges(record: MonitoringRecord, base: Mapping[str, str]) -> Iterable[Gauge]:
    def one(name: str, meaning: str, value: float) -> Gauge:
        return Gauge(f"finchaos_monitor_{name}", meaning, ((base, value),))

    yield one("verdict", "0 in control, 1 alarm, 2 could not be measured",
              _VERDICTS[record.verdict])  # fmt: skip
    yield one("alarms", "Alarms of this look", len(record.alarms))
    yield one("new_bars", "Bars since the end of the run", record.new_bars)
    yield one(
        "last_bar_timestamp_seconds",
        "Close of the last bar looked at",
        pd.Timestamp(record.last).timestamp(),
    )
    yield one("capital_highest", "Highest mean capital of bets on change", record.highest_capital)
    yield one("capital_limit", "Capital that is an alarm", 2.0 / record.settings.false_alarm_rate)
    yield _many(base, "test_p_value", "p-value adjusted by Holm", (
        ({"panel": test.panel, "test": test.test}, test.adjusted) for test in record.tests
    ))  # fmt: skip
    for field in ("psi", "psi_limit", "ks", "ks_limit"):
        yield _many(base, field, f"{field} of the tested rows against the reference", (
            ({"panel": row.panel, "series": row.series}, getattr(row, field))
            for row in record.distances
        ))  # fmt: skip
    for field in ("highest", "latest", "limit"):
        yield _many(base, f"chart_{field}", f"{field} of a control chart since the run's end", (
            ({"series": chart.series, "chart": chart.chart}, getattr(chart, field))
            for chart in record.charts
        ))  # fmt: skip


def _many(
    base: Mapping[str, str],
    name: str,
    meaning: str,
    values: Iterable[tuple[Mapping[str, str], float | None]],
) -> Gauge:
    kept = tuple(({**base, **labels}, value) for labels, value in values if value is not None)
    return Gauge(f"finchaos_monitor_{name}", meaning, kept)


def _escaped(text: str, *, quoted: bool = False) -> str:
    said = text.replace("\\", "\\\\").replace("\n", "\\n")
    return said.replace('"', '\\"') if quoted else said
