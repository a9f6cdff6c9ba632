from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from governance.minute_path import anchor_prices, coarser, minute_bars
from governance.reconstruction import Reconstruction, point_prices, seconds
from governance.scenario import load_scenario

SCENARIO = load_scenario("flash_crash_2010_minutes")
SPEC = SCENARIO.reconstruction
SEEDS = SPEC.seeds
PATHS = {seed: SCENARIO.minute_path(seed) for seed in SEEDS}


def row(clock: str) -> int:
    """Row of the minute that closes at this New York time."""
    return (seconds(clock) - seconds("09:30:00")) // 60 - 1


@pytest.mark.parametrize("seed", SEEDS)
def test_documented_prices_are_met_exactly(seed):
    bars = PATHS[seed]
    local = bars.index.tz_convert("America/New_York")
    assert len(bars) == 390
    assert str(local[0]) == "2010-05-06 09:31:00-04:00"
    assert str(local[-1]) == "2010-05-06 16:00:00-04:00"
    assert bars.open[0] == 1164.38
    assert bars.close[row("14:00:00")] == 1142.0
    assert bars.close[row("15:00:00")] == 1113.0
    assert bars.close[-1] == 1128.15
    assert bars.low.min() == bars.low[row("14:46:00")] == 1056.0
    assert bars.high.max() == 1167.58
    hour = slice(row("14:00:00") + 1, row("15:00:00") + 1)
    assert bars.high[hour].max() == 1143.75
    third_minute = row("14:49:00")
    assert bars.low[third_minute] <= 1097.0 <= bars.high[third_minute]


@pytest.mark.parametrize("seed", SEEDS)
def test_volume_adds_up_to_the_documented_totals(seed):
    volume = PATHS[seed].volume
    hour = slice(row("14:00:00") + 1, row("15:00:00") + 1)
    half = slice(row("14:30:00") + 1, row("15:00:00") + 1)
    program = slice(row("14:32:00") + 1, row("14:52:00") + 1)
    assert volume.sum() == pytest.approx(5_700_000)
    assert volume[hour].sum() == pytest.approx(1_600_000)
    assert volume[half].sum() == pytest.approx(1_100_000)
    assert volume[program].sum() == pytest.approx(844_513)
    assert volume.min() > 0


def test_the_day_return_is_that_of_the_daily_window():
    data = SCENARIO.data
    daily = data.returns[data.dates.index(date(2010, 5, 6))]
    assert PATHS[1].close[-1] / SCENARIO.prior_close - 1.0 == pytest.approx(daily, abs=1e-12)
    assert SCENARIO.prior_close == pytest.approx(1165.87, abs=0.005)


def test_a_seed_determines_the_path_and_seeds_differ():
    again = SCENARIO.minute_path(2)
    assert again.digest == PATHS[2].digest
    assert len({path.digest for path in PATHS.values()}) == len(SEEDS)
    assert not np.array_equal(PATHS[1].close, PATHS[2].close)
    with pytest.raises(InputError, match="seed"):
        SCENARIO.minute_path(99)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_label_travels_with_the_path(seed):
    source = PATHS[seed].provenance
    assert source.kind == "reconstructed"
    assert source.seed == seed
    assert SCENARIO.anchors_digest in source.notes[0]
    assert f"seed {seed}" in source.notes[0]
    assert set(SPEC.assumptions) <= set(source.notes)


def test_minutes_join_and_no_price_moves_in_the_pause():
    bars = PATHS[3]
    assert (bars.open[1:] == bars.close[:-1]).all()
    paused = [block for block in SPEC.volatility if block.volatility_annual == 0.0]
    assert [block.until for block in paused] == ["14:45:33"]


def test_without_volatility_the_path_is_straight_in_logs():
    raw = SPEC.model_dump()
    raw["extremes"] = ()
    for block in raw["volatility"]:
        block["volatility_annual"] = 0.0
    spec = Reconstruction.model_validate(raw)
    bars = minute_bars(
        spec, SCENARIO.facts, day=date(2010, 5, 6), prior_close=SCENARIO.prior_close, seed=1
    )
    at = point_prices(spec, SCENARIO.facts, SCENARIO.prior_close)
    clocks = np.array(sorted(at))
    closes = seconds("09:30:00") + 60 * np.arange(1, 391)
    straight = np.exp(np.interp(closes, clocks, np.log([at[c] for c in clocks])))
    np.testing.assert_allclose(bars.close, straight, rtol=1e-12)


def test_the_bridge_has_the_variance_it_should():
    """Halfway between two anchors the log price has a quarter of the free variance."""
    raw = SPEC.model_dump()
    raw["extremes"] = ()
    raw["seeds"] = tuple(range(300))
    spec = Reconstruction.model_validate(raw)
    middle = [
        minute_bars(
            spec, SCENARIO.facts, day=date(2010, 5, 6), prior_close=SCENARIO.prior_close, seed=seed
        ).close[row("11:45:00")]
        for seed in spec.seeds
    ]
    expected = 0.2588 * np.sqrt(4.5 / (252 * 6.5)) / 2
    assert np.log(middle).std() == pytest.approx(expected, rel=0.15)
    assert np.log(middle).mean() == pytest.approx(np.log(1164.38 * 1142.0) / 2, abs=expected / 5)


def test_coarser_bars_keep_range_and_volume():
    bars = PATHS[1]
    day = coarser(bars, 390)
    assert (day.open[0], day.high[0], day.low[0], day.close[0]) == (
        1164.38,
        1167.58,
        1056.0,
        1128.15,
    )
    assert day.volume[0] == pytest.approx(bars.volume.sum())
    assert day.bars_per_year == 252.0
    assert day.index[0] == bars.index[-1]
    with pytest.raises(InputError, match="divisor"):
        coarser(bars, 7)


def test_points_beyond_an_extreme_are_refused():
    raw = SPEC.model_dump()
    raw["extremes"][1]["within"] = ("09:30:00", "16:00:00")
    with pytest.raises(DataError, match="beyond the high"):
        anchor_prices(
            Reconstruction.model_validate(raw), SCENARIO.facts, 1165.87, random_stream(1, "t")
        )
