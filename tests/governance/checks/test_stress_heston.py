"""Simulated crashes: one for one when held, half when half, and another world for every seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import InputError
from governance.check import Skip
from governance.checks.stress_heston import StressHeston
from governance.policy import load_policy
from tests.governance.checks.stressed import Constant, StopsAtTenPercent, context
from tests.planted.measurements import measure

SMALL = StressHeston(paths=2, bars=40)


def test_holding_the_market_is_the_whole_fall() -> None:
    found = measure(SMALL, Constant(1.0), context())
    for one in (e for e in found if e.metric == "drawdown_share"):
        assert one.value == pytest.approx(1.0, abs=1e-12)
    for one in (e for e in found if e.metric == "breach_share"):
        assert one.value == found.value("market_breach_share", **one.slice)
    assert found.find("drawdown_share").n == 2 * 32


def test_who_leaves_falls_less_and_leverage_is_loud() -> None:
    def verdict(subject) -> str:
        judged = load_policy("baseline").judge(measure(SMALL, subject, context()).evidence)
        rule = "stress_heston.shallower_than_market"
        return next(f.verdict for f in judged.findings if f.rule == rule)

    assert measure(SMALL, StopsAtTenPercent(), context()).value("drawdown_share") < 0.9
    assert verdict(StopsAtTenPercent()) == "pass"
    assert verdict(Constant(1.0)) == "pass"
    assert verdict(Constant(2.0)) == "fail"


def test_a_crash_is_worse_than_a_bear_market() -> None:
    found = measure(StressHeston(paths=6, bars=63), Constant(1.0), context())
    bear, crash = (found.value("market_breach_share", drift=name) for name in ("bear", "crash"))
    assert crash > bear + 0.1


def test_paths_are_those_of_the_seed() -> None:
    one, again = (measure(SMALL, StopsAtTenPercent(), context()).digests for _ in range(2))
    other = measure(SMALL, StopsAtTenPercent(), replace(context(), seed=8)).digests
    assert one == again
    assert one != other


def test_heat_maps_are_of_the_grid() -> None:
    found = measure(SMALL, Constant(0.5), context())
    maps = [item for item in found.exhibits if item.kind == "heatmap"]
    assert [item.name for item in maps] == ["map_bear", "map_crash"]
    for item in maps:
        grid = np.array([column.values for column in item.columns[1:]])
        assert grid.shape == (4, 4)
        assert (grid > 0.0).all()
        assert "Simulated" in item.note


def test_nothing_at_risk_is_skipped() -> None:
    with pytest.raises(Skip, match="nothing was at risk"):
        list(SMALL.measure(Constant(0.0), context()))


@pytest.mark.parametrize("values", [{"paths": 1}, {"bars": 4}, {"drawdown_limit": 1.0}])
def test_impossible_parameters_are_refused(values: dict) -> None:
    with pytest.raises(InputError):
        StressHeston(**values)
