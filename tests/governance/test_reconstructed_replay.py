from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import DataError
from finchaos.markets.sessions import regular_closes
from governance.reconstructed_replay import minutes_as_days, session_replay
from governance.scenario import load_scenario
from tests.planted.markets import regime_switching_bars

FLASH = load_scenario("flash_crash_2010_minutes")
WARMUP = regime_switching_bars(3, 300)


def test_minutes_stand_for_bars_of_a_daily_model():
    path = FLASH.minute_path(2)
    replay = minutes_as_days(FLASH, 2, WARMUP, "warm-up note")
    assert len(replay.index) == 390
    assert replay.path == "reconstructed"
    assert FLASH.anchors_digest in replay.note
    assert "seed 2" in replay.note
    assert replay.bars.provenance.kind == "reconstructed"
    assert replay.bars.provenance.seed == 2
    shown = replay.bars.returns()[replay.start - 1 :]
    meant = path.close / np.concatenate([[FLASH.prior_close], path.close[:-1]]) - 1.0
    np.testing.assert_allclose(shown, meant, atol=1e-12)
    ratio = replay.bars.low[replay.start :].min() / replay.bars.close[replay.start - 1]
    assert ratio == pytest.approx(1056.0 / FLASH.prior_close)
    assert (np.diff(replay.bars.index) >= np.timedelta64(1, "D")).all()


@pytest.mark.parametrize("size", [1, 5, 30])
def test_a_session_is_replayed_in_the_clock_of_intraday_bars(size):
    n = 390 // size * 20
    market = regime_switching_bars(3, n)
    per_year = 252.0 * 390 / size
    warm = replace(market, bars_per_year=per_year, index=regular_closes("2012-01-03", n, per_year))
    replay = session_replay(FLASH, 1, warm, "warm-up note")
    assert len(replay.index) == 390 // size
    local = replay.bars.index[replay.start :].tz_convert("America/New_York")
    assert set(local.date) == {(warm.index[-1] + pd.offsets.BDay()).date()}
    assert str(local[-1].time()) == "16:00:00"
    assert replay.bars.low[replay.start :].min() / warm.close[-1] == pytest.approx(
        1056.0 / FLASH.prior_close
    )
    with pytest.raises(DataError, match="divide a session"):
        session_replay(FLASH, 1, replace(warm, bars_per_year=252.0 * 7), "note")
