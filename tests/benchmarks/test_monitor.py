"""The benchmark of the monitor at a small size: every instrument, with an interval."""

from __future__ import annotations

import numpy as np

from benchmarks.monitor import INSTRUMENTS, Looks, alarmed, run
from governance.monitoring import MonitorSettings
from tests.benchmarks.small import ONCE


def test_every_instrument_is_counted_with_its_interval() -> None:
    (table,) = run(ONCE, Looks(quiet=1, louder=1, new=63)).tables
    assert table.column("instrument") == list(INSTRUMENTS)
    assert all(" to " in str(cell) for cell in table.column("95 % interval"))
    assert table.column("at most, %")[0] == 100.0 * (1.0 - np.exp(-63 / 2520))


def test_a_change_of_the_bars_is_one_of_the_reading() -> None:
    louder = alarmed(1, 4.0, Looks(), MonitorSettings())
    assert {"charts", "any"} <= louder
