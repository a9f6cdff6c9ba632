"""The monitor as an instrument: quiet at its stated rate, loud on a change, the same twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import SubjectFault
from finchaos.core.signals import Signals
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.monitor import read_instruments
from governance.monitoring import MonitorSettings
from governance.splits import anchored_folds
from tests.governance.garch_market import garch_bars

OLD, NEW = 1200, 126
SETTINGS = MonitorSettings(draws=1999)


def look_at(
    seed: int, settings: MonitorSettings = SETTINGS, *, factor: float = 1.0, new: int = NEW
):
    bars = garch_bars(seed, OLD + new, quiet=OLD, factor=factor)
    old = bars.rows(0, OLD)
    folds = anchored_folds(OLD, first_test=400, count=2, gap=5)
    context = Context(bars=old, folds=folds, seed=seed)
    return read_instruments(VolatilityThreshold(), context, bars.rows(OLD), settings)


@pytest.mark.slow
def test_without_a_change_alarms_come_at_the_stated_rate():
    # At most 0.05 by tests and bets, and 0.05 by charts in 126 bars of 2520: one look in ten.
    # ./dev bench monitor: 16 of 300 looks.
    alarmed = sum(bool(look_at(seed).alarms) for seed in range(12))
    assert alarmed <= 4  # more in one run of two hundred


@pytest.fixture(scope="module")
def louder():
    return look_at(3, factor=2.5)


def test_a_louder_market_is_found_by_every_instrument(louder):
    assert any("absolute_return is beyond" in alarm for alarm in louder.alarms)
    assert any("test rejects" in alarm for alarm in louder.alarms)
    assert louder.test_level == pytest.approx(0.005)
    assert louder.highest_capital > 3.0
    reading = next(one for one in louder.charts if one.series == "absolute_return")
    assert reading.direction == "up"
    moved = next(one for one in louder.distances if one.series == "absolute_return")
    assert moved.psi > moved.psi_limit
    assert moved.scale_shift > 0.4


def test_later_bars_change_no_earlier_reading(louder):
    """Alarms of charts stay where they were, and tests wait for their next time."""
    longer = look_at(3, factor=2.5, new=NEW + 10)
    first = {(one.series, one.chart): one.first_alarm for one in louder.charts}
    for one in longer.charts:
        if first[one.series, one.chart] is not None:
            assert one.first_alarm == first[one.series, one.chart]
    assert longer.tests == louder.tests
    assert longer.distances == louder.distances
    assert longer.highest_capital == louder.highest_capital  # the same complete batches


def test_before_a_period_is_complete_only_charts_and_bets_read():
    found = look_at(5, new=30)
    assert found.tests == []
    assert found.test_level is None
    assert any("wait for 63 new bars" in reason for reason in found.not_measured)
    assert len(found.charts) >= 6
    assert {one.batches for one in found.capital} == {1}


@dataclass(frozen=True)
class Altered:
    """A volatility threshold whose positions are changed."""

    change: object
    inner: VolatilityThreshold

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def fit(self, bars: Bars, *, seed: int) -> Altered:
        return replace(self, inner=self.inner.fit(bars, seed=seed))

    def signals(self, bars: Bars) -> Signals:
        said = self.inner.signals(bars)
        position = said.position.copy()
        self.change(position)
        return Signals(said.index, position, said.stress_probability, said.regime)


def _altered(change, new: int = NEW):
    bars = garch_bars(2, OLD + new)
    folds = anchored_folds(OLD, first_test=400, count=2, gap=5)
    context = Context(bars=bars.rows(0, OLD), folds=folds, seed=1)
    return read_instruments(
        Altered(change, VolatilityThreshold()), context, bars.rows(OLD), SETTINGS
    )


def _always_in(position: np.ndarray, until: int) -> None:
    position[21:] = 1.0
    position[until:] = 0.5


def test_a_constant_that_moves_is_an_alarm():
    found = _altered(partial(_always_in, until=OLD))
    assert "outputs: position never moved before and moves now" in found.alarms


def test_a_constant_that_stays_is_said_and_no_alarm():
    found = _altered(partial(_always_in, until=10**9))
    assert "outputs: position never moves" in found.not_measured
    assert not any("position" in alarm for alarm in found.alarms)


def test_a_model_that_changes_its_past_is_refused():
    def looks_ahead(position: np.ndarray) -> None:
        if len(position) > OLD:
            position[500:600] = 0.25

    with pytest.raises(SubjectFault, match="once new bars follow"):
        _altered(looks_ahead)
