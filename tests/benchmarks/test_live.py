"""The benchmark of the paper loop at a small size: loops that agree are timed, others are not."""

from __future__ import annotations

import pytest

from benchmarks import live
from tests.benchmarks.small import ONCE
from tests.finchaos.subjects.small import market, trained

HISTORY, REST = market().rows(0, 700), market().rows(700, 800)


def test_every_path_is_timed_after_the_loops_agreed() -> None:
    times = live.measure(trained(), HISTORY, REST, ONCE.protocol)
    assert list(times) == list(live.NAMES)
    assert all(samples.n == 4 for samples in times.values())


def test_loops_that_disagree_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "in_torch", lambda model: model.randomised(1))
    with pytest.raises(RuntimeError, match="differ"):
        live.measure(trained(), HISTORY, REST, ONCE.protocol)


def test_the_table_names_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    class Untrained:
        def fit(self, bars: object, *, seed: int) -> object:
            return trained()

    monkeypatch.setattr(live, "build", lambda params, *, seed: Untrained())
    (table,) = live.run(ONCE).tables
    assert table.column("path") == list(live.NAMES.values())
    assert table.column("p50 / ours")[0] == 1.0
