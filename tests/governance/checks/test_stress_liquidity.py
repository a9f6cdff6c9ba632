"""Liquidity droughts: free for who never trades, dear for who trades much, exact by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from governance.checks.stress_liquidity import COSTS, EXTRA_DELAYS, StressLiquidity
from governance.policy import load_policy
from tests.governance.checks.stressed import Constant, StopsAtTenPercent, context
from tests.planted.measurements import measure

CHECK = StressLiquidity()


class Flickers(Constant):
    """Planted defect: in and out every other day."""

    def signals(self, bars):
        """One, nothing, one, nothing."""
        return Signals(bars.index, (np.arange(len(bars)) % 2).astype(float))


class LeavesOnOneDay(Constant):
    """Out from 2008-10-06 on."""

    def signals(self, bars):
        """Holds before that day."""
        return Signals(bars.index, (bars.index < pd.Timestamp("2008-10-06", tz="UTC")) * 1.0)


def test_who_never_trades_pays_nothing() -> None:
    found = measure(CHECK, Constant(1.0), context("gfc_2008", "covid_2020"))
    for name in ("gfc_2008", "covid_2020"):
        assert found.value("added_loss", scenario=name) == pytest.approx(0.0, abs=1e-12)
    assert found.find("added_loss_per_year").status == "skipped"


def test_leaving_late_costs_the_days_waited_and_the_spread() -> None:
    where = context("gfc_2008")
    found = measure(CHECK, LeavesOnOneDay(1.0), where)
    grid = found.exhibits[0]
    index, market = where.bars.index, where.bars.returns()
    first = int(index.searchsorted(pd.Timestamp(where.scenarios[0].data.dates[0], tz="UTC"))) - 1
    out = int(index.searchsorted(pd.Timestamp("2008-10-06", tz="UTC")))

    def kept(extra: int, times: float) -> float:
        last = out + 1 + extra  # decided at `out`, executed a bar later, and more
        steps = 1.0 + market[first:last]
        return float(np.prod(steps) * (1.0 - 0.001 * times))

    for row, extra in enumerate(EXTRA_DELAYS):
        for column, times in enumerate(COSTS):
            expected = kept(0, 1.0) - kept(extra, times)
            assert list(grid.columns[column + 1].model_dump()["values"])[row] == pytest.approx(
                expected, abs=1e-12
            )
    corner = kept(0, 1.0) - kept(4, 20.0)
    assert found.value("added_loss", scenario="gfc_2008") == pytest.approx(corner, abs=1e-12)


def test_a_flickering_signal_is_loud_and_a_slow_one_quiet() -> None:
    def verdict(subject) -> str:
        judged = load_policy("baseline").judge(
            measure(CHECK, subject, context("gfc_2008")).evidence
        )
        return next(f.verdict for f in judged.findings if f.rule == "stress_liquidity.crisis")

    assert verdict(Flickers()) == "warn"
    assert verdict(Constant(1.0)) == "pass"


def test_dearer_is_never_cheaper() -> None:
    found = measure(CHECK, StopsAtTenPercent(), context("gfc_2008", "ltcm_1998"))
    grid = np.array([one.model_dump()["values"] for one in found.exhibits[0].columns[1:]])
    assert (np.diff(grid, axis=0) >= -1e-12).all()


def test_recorded_signals_are_traded_where_they_were_made_for_the_bars() -> None:
    class Recorded(Constant):
        @property
        def card(self):
            from dataclasses import replace

            return replace(super().card, predictions_only=True)

    found = measure(CHECK, Recorded(1.0), context("gfc_2008", "covid_2020"))
    status = {e.slice["scenario"]: e.status for e in found if e.metric == "added_loss"}
    assert status == {"gfc_2008": "measured", "covid_2020": "skipped"}


def test_numbers_repeat() -> None:
    runs = [measure(CHECK, StopsAtTenPercent(), context("gfc_2008")).digests for _ in range(2)]
    assert runs[0] == runs[1]


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(InputError):
        StressLiquidity(warmup_bars=0)
