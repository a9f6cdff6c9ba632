"""Placebos: middling for a crisis that is none, loud for a defect that a crisis brings out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Skip
from governance.checks.stress_placebo import StressPlacebo
from governance.placebos import key_of, unseen_rows
from governance.policy import load_policy
from governance.replay import daily_replay
from governance.statistics.performance import wealth
from governance.stress_run import Settings, stress_runs
from tests.governance.checks.stressed import Constant, StopsAtTenPercent, context, sample
from tests.planted.measurements import measure

CHECK = StressPlacebo(placebos=100)
"""Fewer could never put the low end of an interval above 0.95."""


class SellsTheCrash(Constant):
    """Planted defect: is short for a month after any day that loses eight per cent."""

    def signals(self, bars):
        """Long one, else short three."""
        moves = np.concatenate([[0.0], bars.returns()])
        hit = pd.Series(moves < -0.08).rolling(21, min_periods=1).max().to_numpy()
        return Signals(bars.index, np.where(hit > 0, -3.0, 1.0))


def test_who_holds_the_market_loses_nothing_more_anywhere() -> None:
    """Loss less the market's is 0 in every window: every placebo ties."""
    found = measure(CHECK, Constant(1.0), context("gfc_2008", "black_monday_1987"))
    excess = [e for e in found if e.metric == "excess_loss_percentile"]
    assert [e.slice["placebos"] for e in excess] == ["windows", "blocks"]
    for one in excess:
        assert one.value == pytest.approx(0.5, abs=0.5)
    deep = [e.value for e in found if e.metric == "drawdown_percentile"]
    assert min(deep) >= 0.98
    assert load_policy("baseline").judge(found.evidence)


def test_windows_hold_what_a_slow_loop_finds() -> None:
    where = context("gfc_2008")
    (run,) = stress_runs(Constant(1.0), where, where.scenarios[0], Settings(500, 20))
    found = measure(CHECK, Constant(1.0), where)
    rng = where.rng("stress_placebo:windows:gfc_2008")
    replay = daily_replay(where.scenarios[0], where.bars, history=500, needed=100)
    allowed = unseen_rows(run, replay, where)
    fits = [k for k in range(len(allowed) - 146) if allowed[k : k + 147].all()]
    market = where.bars.returns()
    depths = []
    for start in sorted(rng.choice(np.array(fits), 100)):
        level = wealth(market[start : start + 147])
        depths.append(1.0 - (level / np.maximum.accumulate(level)).min())
    picture = found.exhibits[0]
    assert picture.model_dump()["columns"][2]["values"][0] == pytest.approx(
        np.median(depths), abs=1e-12
    )


def test_placebos_lie_after_training_and_clear_of_the_event() -> None:
    where = context("gfc_2008", "volmageddon_2018")
    for scenario in where.scenarios:
        (run,) = stress_runs(VolatilityThreshold(), where, scenario, Settings(500, 20))
        replay = daily_replay(scenario, where.bars, history=500, needed=400)
        rows = np.flatnonzero(unseen_rows(run, replay, where))
        begins, ends = where.bars.index[rows], where.bars.index[rows + 1]
        assert (begins > pd.Timestamp(run.trained.until)).all()
        inside = (ends >= replay.index[0]) & (begins <= replay.index[-1])
        assert not inside.any()
        assert key_of(run, replay)[2] == replay.start


def test_a_defect_that_a_crisis_brings_out_is_loud() -> None:
    where = context("black_monday_1987", "covid_2020")
    found = measure(CHECK, SellsTheCrash(), where)
    judged = load_policy("baseline").judge(found.evidence).findings
    said = [f.verdict for f in judged if f.rule == "stress_placebo.excess_loss"]
    assert "warn" in said
    sound = measure(CHECK, StopsAtTenPercent(1.0), where)
    judged = load_policy("baseline").judge(sound.evidence).findings
    assert {f.verdict for f in judged if f.rule == "stress_placebo.excess_loss"} == {"pass"}


def test_numbers_are_those_of_the_seed() -> None:
    where = context("ltcm_1998", "august_2015")
    one, again = (measure(CHECK, StopsAtTenPercent(), where).digests for _ in range(2))
    assert one == again
    assert one != measure(CHECK, StopsAtTenPercent(), replace(where, seed=8)).digests


def test_a_shorter_crisis_meets_the_beginning_of_the_same_paths() -> None:
    """Blocks are shared by crises of one model and warm-up: what comes later changes nothing."""
    alone = measure(CHECK, StopsAtTenPercent(), context("crash_1929"))
    beside = measure(CHECK, StopsAtTenPercent(), context("crash_1929", "black_monday_1987"))
    of_crash = [e for e in beside if e.slice["scenario"] == "crash_1929"]
    assert [e.digest for e in alone] == [e.digest for e in of_crash]


def test_nothing_at_risk_is_no_evidence() -> None:
    found = measure(CHECK, Constant(0.0), context("gfc_2008"))
    assert {e.status for e in found} == {"skipped"}
    assert all("nothing was at risk" in e.reason for e in found)


def test_too_few_waits_are_not_measured() -> None:
    found = measure(CHECK, StopsAtTenPercent(), context("crash_1929"))
    (one,) = (e for e in found if e.metric == "reentry_percentile")
    assert one.status == "skipped"


def test_an_event_that_is_any_window_is_rarely_called_worse() -> None:
    """Size of the rule on the statistic that it judges, with blocks of clustered returns."""
    from governance.statistics.placebo import block_paths, percentile_among, percentile_interval

    market = sample().returns()[-1500:]
    warned = 0
    for seed in range(200):
        rng = random_stream(seed, "test.stress_placebo")
        paths = block_paths(market, 63, 21, 101, rng)
        loss = 1.0 - wealth(paths)[:, -1]
        share = percentile_among(loss[0], loss[1:])
        warned += percentile_interval(share, 100.0).low > 0.95
    assert warned / 200 <= 0.05


def test_without_daily_scenarios_it_says_so() -> None:
    with pytest.raises(Skip, match="no scenario"):
        list(CHECK.measure(Constant(), context("flash_crash_2010_minutes")))


@pytest.mark.parametrize("placebos", [19, 10_001])
def test_impossible_parameters_are_refused(placebos: int) -> None:
    with pytest.raises(InputError):
        StressPlacebo(placebos=placebos)
