"""The instrument counts exactly what was planted, and nothing on clean bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars, Provenance
from finchaos.core.provenance import random_stream
from finchaos.markets import load_builtin
from finchaos.markets.calendar import expected_days
from finchaos.markets.sessions import session_closes
from finchaos.markets.simulate.heston import HestonConfig, simulate
from governance.checks.data_quality import COUNTS, SHARES, DataQuality
from governance.record import Exhibit
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

N = 700
PRICES = ("open", "high", "low", "close")


@pytest.fixture(scope="module")
def clean() -> Bars:
    """Simulated bars with overnight gaps on the sessions of the New York exchange."""
    bars = regime_switching_bars(3, N)
    days = expected_days("nyse", pd.Timestamp("2004-01-02"), pd.Timestamp("2008-12-31"))[:N]
    values = {name: getattr(bars, name) for name in (*PRICES, "volume")}
    return Bars(index=session_closes(days), **values, symbol="CLEAN", provenance=bars.provenance)


def look(bars: Bars, check: DataQuality | None = None) -> Measured:
    return measure(check or DataQuality(), VolatilityRegime(), context_of(bars))


def kept(bars: Bars, rows: np.ndarray) -> Bars:
    values = {name: getattr(bars, name)[rows] for name in (*PRICES, "volume")}
    return Bars(index=bars.index[rows], **values, symbol=bars.symbol)


def scaled(bars: Bars, rows: slice, factor: float) -> Bars:
    values = {name: getattr(bars, name).copy() for name in PRICES}
    for column in values.values():
        column[rows] *= factor
    return bars.with_values(**values)


def repeated(bars: Bars, rows: slice) -> Bars:
    """Feed frozen: the close before, again and again."""
    values = {name: getattr(bars, name).copy() for name in PRICES}
    for column in values.values():
        column[rows] = bars.close[rows.start - 1]
    return bars.with_values(**values)


def filled(bars: Bars) -> Bars:
    """The same bars on a grid of weekdays, holidays repeating the close before."""
    days = bars.index.tz_localize(None).normalize()
    grid = pd.bdate_range(days[0], days[-1])
    table = bars.frame().set_index(days).reindex(grid)
    table["close"] = table["close"].ffill()
    for name in ("open", "high", "low"):
        table[name] = table[name].fillna(table["close"])
    table = table.fillna({"volume": 0.0}).set_index(session_closes(grid))
    return Bars.from_frame(table, bars.symbol)


def shifted_zone(bars: Bars) -> Bars:
    """Ten rows stamped as if New York's clock were UTC."""
    stamps = bars.index.to_series().reset_index(drop=True)
    stamps[50:60] -= pd.Timedelta(hours=5)
    values = {name: getattr(bars, name) for name in (*PRICES, "volume")}
    return Bars(index=pd.DatetimeIndex(stamps), **values, symbol=bars.symbol)


def rows_of(exhibit: Exhibit, column: int = 1) -> dict[Any, Any]:
    """A column by the exhibit's first one."""
    shown = [item.values for item in exhibit.columns]  # noqa: PD011
    return dict(zip(shown[0], shown[column], strict=True))


def test_quiet_on_clean_bars_and_repeatable(clean: Bars) -> None:
    found = look(clean)
    assert {e.metric for e in found} == {spec.name for spec in DataQuality.card.metrics}
    assert {e.status for e in found} == {"measured"}
    loud = {e.metric: e.value for e in found if e.value}
    assert loud == {}
    assert found.digests == look(clean).digests


PLANTED: dict[str, tuple[Callable[[Bars], Bars], float]] = {
    "missing_sessions": (lambda b: kept(b, np.delete(np.arange(N), [100, 101, 300])), 3.0),
    "missing_sessions_share": (lambda b: kept(b, np.delete(np.arange(N), range(10, 80))), 0.1),
    "suspected_splits": (lambda b: scaled(b, slice(200, None), 1 / 3), 1.0),
    "suspected_bad_prices": (lambda b: scaled(b, slice(200, 201), 2.4), 1.0),
    "extreme_returns": (lambda b: scaled(b, slice(300, None), 0.7), 1.0),
    "stale_bars": (lambda b: repeated(b, slice(200, 207)), 7.0),
    "stale_bars_share": (lambda b: repeated(b, slice(200, 207)), 0.01),
    "flat_bars": (lambda b: repeated(b, slice(200, 207)), 7.0),
    "filled_holidays": (filled, 24.0),
    "odd_stamp_times": (shifted_zone, 10.0),
    "zero_volume_bars_share": (
        lambda b: b.with_values(volume=np.where(np.arange(N) % 10 == 0, 0.0, b.volume)),
        0.1,
    ),
}


@pytest.mark.parametrize("metric", PLANTED)
def test_loud_on_each_planted_defect(metric: str, clean: Bars) -> None:
    plant, expected = PLANTED[metric]
    assert look(clean).value(metric) == 0.0
    assert look(plant(clean)).value(metric) == pytest.approx(expected)


def test_a_weekend_bar_is_unexpected(clean: Bars) -> None:
    extra = kept(clean, np.array([5]))
    saturday = Bars(
        index=extra.index + pd.Timedelta(days=1),
        **{name: getattr(extra, name) for name in (*PRICES, "volume")},
        symbol=extra.symbol,
    )
    bars = clean.rows(0, 6).followed_by(saturday).followed_by(clean.rows(6))
    assert look(bars).value("unexpected_sessions") == 1.0


def test_an_open_that_repeats_the_close_is_a_share() -> None:
    bars = simulate(HestonConfig(), 1, N, random_stream(1, "test.open")).bars(0)
    assert look(bars).value("open_equals_prior_close_share") == 1.0


def test_minutes_missing_inside_a_session() -> None:
    config = HestonConfig(bars_per_year=252.0 * 390)
    bars = simulate(config, 1, N, random_stream(1, "test.minutes")).bars(0)
    assert look(bars).value("missing_intraday_bars") == 0.0
    holes = kept(bars, np.delete(np.arange(N), [50, 51, 600]))
    assert look(holes).value("missing_intraday_bars") == 3.0


def test_what_cannot_be_measured_says_why(clean: Bars) -> None:
    closes = Bars(
        index=clean.index,
        open=clean.close,
        high=clean.close,
        low=clean.close,
        close=clean.close,
        volume=np.zeros(N),
        symbol="CLOSES",
        has_range=False,
    )
    found = look(closes)
    for metric in ("flat_bars", "open_equals_prior_close_share", "zero_volume_bars_share"):
        assert found.find(metric).status == "skipped"
        assert "range" in found.find(metric).reason
    assert found.value("missing_sessions") == 0.0


def test_late_knowledge_is_a_share(clean: Bars) -> None:
    delay = np.where(np.arange(N) < 70, 60, 0)
    known = clean.index + pd.to_timedelta(delay, unit="min")
    values = {name: getattr(clean, name) for name in (*PRICES, "volume")}
    bars = Bars(index=clean.index, **values, symbol="LATE", known_at=pd.DatetimeIndex(known))
    assert look(bars).value("known_late_share") == pytest.approx(0.1)


def test_exhibits_show_the_sample_and_what_was_found(clean: Bars) -> None:
    gone = kept(clean, np.delete(np.arange(N), [100, 101, 300]))
    gone = gone.with_values(Provenance("a feed", licence="CC0", notes=("adjusted",)))
    shown = {item.name: item for item in look(gone).exhibits}
    assert set(shown) == {"sample", "faults", "missing_by_year"}
    facts = rows_of(shown["sample"])
    assert facts["Source"] == "a feed"
    assert facts["Notes"] == "adjusted"
    assert facts["SHA-256"] == gone.digest
    assert rows_of(shown["faults"], 2)["missing sessions"] == 3.0
    assert str(rows_of(shown["faults"], 4)["missing sessions"]).startswith("2004-05-26; 2004-05-27")
    assert rows_of(shown["missing_by_year"])["2004"] == 2.0
    assert {item.name for item in look(clean).exhibits} == {"sample", "faults"}


def test_the_default_market_is_complete_but_its_open_is_weak() -> None:
    found = look(load_builtin("spx"))
    assert found.value("missing_sessions") == 0.0
    assert found.value("suspected_splits") == 0.0
    assert found.value("open_equals_prior_close_share") == pytest.approx(0.398, abs=0.001)
    assert found.value("extreme_returns") == 2.0


def test_parameters_matter_are_recorded_and_are_checked(clean: Bars) -> None:
    strict = look(clean, DataQuality(calendar="weekdays", extreme_multiple=3.0))
    assert strict.value("missing_sessions") > 20
    assert strict.value("extreme_returns") > 0
    assert strict.find("stale_bars").params == {
        "calendar": "weekdays",
        "stale_run": 3,
        "extreme_multiple": 3.0,
    }
    for wrong in ({"calendar": "lunar"}, {"stale_run": 1}, {"extreme_multiple": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            DataQuality(**wrong)


def test_every_metric_on_the_card_is_listed_once() -> None:
    names = [spec.name for spec in DataQuality.card.metrics]
    assert len(names) == len(set(names)) == 2 + len(COUNTS) + len(SHARES)
