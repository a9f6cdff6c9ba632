from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from finchaos.markets import load_builtin
from finchaos.markets.sessions import regular_closes
from governance.challengers.buy_and_hold import BuyAndHold
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.checks.stress import Stress
from governance.measuring import measure
from governance.policy import load_policy
from governance.scenario import load_scenario, load_scenarios
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from governance.unseen_model import unseen_model
from tests.planted.markets import regime_switching_bars

LEVEL = {
    "august_2015",
    "dotcom_2000_2002",
    "downgrade_2011",
    "flash_crash_2010",
    "gfc_2008",
    "volmageddon_2018",
}


@dataclass(frozen=True)
class Constant:
    """Holds one position after its warm-up."""

    position: float = 0.0
    max_position: float = 2.0
    predictions_only: bool = False
    capabilities: frozenset[Capability] = frozenset()

    @property
    def card(self):
        return ModelCard(
            name="constant",
            version="1",
            max_position=self.max_position,
            predictions_only=self.predictions_only,
        )

    @property
    def digest(self):
        return f"{type(self).__name__} {self}"

    def fit(self, bars, *, seed):
        return self

    def signals(self, bars):
        return Signals(bars.index, np.full(len(bars), self.position))


class SellsLow(Constant):
    """Planted defect: leaves at a fall of eight per cent and is back only near the old high."""

    def signals(self, bars):
        level, high, out, position = 0.0, 0.0, False, []
        for level in bars.close:
            high = max(high, level)
            out = level < 0.92 * high if not out else level < 0.995 * high
            position.append(0.0 if out else 1.0)
        return Signals(bars.index, np.array(position))


class FailsInOctober(Constant):
    """Planted defect: raises on any day that loses a fifth."""

    def signals(self, bars):
        if (bars.returns() < -0.2).any():
            raise ZeroDivisionError("no such day in training")
        return super().signals(bars)


@dataclass(frozen=True)
class Remembers(Constant):
    """Knows until when it was trained."""

    until: str = ""
    capabilities: frozenset[Capability] = frozenset({Capability.REFIT})

    def fit(self, bars, *, seed):
        return replace(self, until=str(bars.index[-1]))


@cache
def sample() -> Bars:
    return load_builtin("spx")


def context(bars: Bars | None = None, names="all", **changes) -> Context:
    bars = bars or sample()
    folds = anchored_folds(len(bars), first_test=int(0.35 * len(bars)), count=6, gap=10)
    return Context(bars, folds, 7, scenarios=load_scenarios(names), **changes)


def evidence(subject, where=None, check=None):
    return measure(check or Stress(), subject, where or context()).evidence


def values(items, metric, **where):
    """Values of a metric by scenario."""
    return {
        (item.slice["scenario"], item.slice.get("clock", "daily"), item.slice.get("seed", "")): (
            item.value
        )
        for item in items
        if item.metric == metric and item.slice.items() >= where.items()
    }


def column(exhibit, name):
    return next(item.model_dump()["values"] for item in exhibit.columns if item.name == name)


def test_buy_and_hold_is_the_null():
    found = evidence(BuyAndHold())
    assert not [item for item in found if item.status == "errored"]
    assert set(values(found, "excess_loss").values()) == {0.0}
    assert set(values(found, "drawdown_share").values()) == {1.0}
    assert set(values(found, "exposure_at_worst_bar").values()) == {1.0}
    assert len(values(found, "excess_loss")) == 11 + 1 + 3
    late = values(found, "expectation_shortfall", expectation="bars_to_derisk")
    assert min(late.values()) > 0


def test_a_flat_subject_loses_nothing_and_meets_all_that_is_measured():
    found = evidence(Constant(0.0))
    for metric in ("loss", "max_drawdown", "worst_intrabar_loss", "drawdown_share"):
        numbers = {v for v in values(found, metric).values() if v is not None}
        assert numbers == {0.0}, metric
    by_scenario = values(found, "excess_loss")
    assert by_scenario[("gfc_2008", "daily", "")] is None
    assert by_scenario[("ltcm_1998", "daily", "")] > 0.0


def test_coming_through_with_nothing_at_risk_is_no_evidence():
    found = evidence(Constant(0.0), context(names=["gfc_2008"]))
    silent = [e for e in found if e.metric in ("excess_loss", "expectation_shortfall")]
    assert len(silent) == 1 + len(load_scenario("gfc_2008").expectations)
    for item in silent:
        assert item.status == "skipped"
        assert item.reason.startswith(
            "flat before the event: nothing was at risk when it began (lost 0 %"
        )
    unmeasured = next(e for e in found if e.metric == "expectations_unmeasured")
    assert unmeasured.value == len(silent) - 1
    assert unmeasured.note == "nothing was at risk in gfc_2008"
    judged = load_policy("baseline").judge(found).findings
    assert not [f for f in judged if f.metric == "excess_loss" and f.verdict == "pass"]
    said = next(f.statement for f in judged if f.metric == "excess_loss")
    assert "nothing was at risk" in said


def test_a_loss_is_judged_though_nothing_was_held_before():
    """A model that is flat before the event and buys into it is not excused."""

    class BuysTheFall(Constant):
        def signals(self, bars):
            close = bars.close
            fallen = close <= 0.9 * np.maximum.accumulate(close)
            late = np.arange(len(close)) >= len(close) - 1200
            return Signals(bars.index, np.where(fallen & late, 2.0, 0.0))

    found = evidence(BuysTheFall(0.0), context(names=["gfc_2008"]))
    key = ("gfc_2008", "daily", "")
    assert values(found, "loss")[key] > 0.3
    assert values(found, "expectation_shortfall", expectation="drawdown_share")[key] > 0.0


def test_a_wait_that_did_not_end_is_a_lower_bound_everywhere():
    found = measure(Stress(), BuyAndHold(), context(names=["gfc_2008"]))
    wait = next(e for e in found.evidence if e.metric == "bars_to_derisk")
    assert wait.at_least
    short = next(
        e
        for e in found.evidence
        if e.metric == "expectation_shortfall" and e.slice["expectation"] == "bars_to_derisk"
    )
    assert short.at_least
    assert short.unit == "bars"
    assert short.note.startswith(f"bars to derisk at least {wait.value:g} bars, expected at most")
    tables = {item.name: item for item in found.exhibits}
    assert column(tables["summary"], "bars to de-risk") == (f"≥ {wait.value:g}",)
    row = column(tables["expectations"], "metric").index("bars to derisk")
    assert column(tables["expectations"], "observed")[row] == f"≥ {wait.value:g} bars"
    loss = next(e for e in found.evidence if e.metric == "loss")
    assert not loss.at_least


def test_a_subject_that_misses_the_crash_is_loud():
    held, flat = evidence(BuyAndHold()), evidence(Constant(0.0))
    missed = [next(e for e in f if e.metric == "expectations_missed").value for f in (held, flat)]
    assert missed[0] >= 10
    assert missed[1] is None
    crash = values(held, "expectation_shortfall", expectation="drawdown_share")
    assert crash[("gfc_2008", "daily", "")] == pytest.approx(0.4)
    assert crash[("crash_1929", "daily", "")] == pytest.approx(0.25)


def test_leverage_into_the_flash_crash_is_loud():
    def mark(position):
        found = evidence(Constant(position), context(names=["flash_crash_2010_minutes"]))
        key = ("flash_crash_2010_minutes", "held through the day", "1, 2, 3")
        short = values(found, "expectation_shortfall", expectation="worst_intrabar_loss")
        return values(found, "worst_intrabar_loss")[key], short[key]

    prior = load_scenario("flash_crash_2010_minutes").prior_close
    one, two = mark(1.0), mark(2.0)
    assert one == (pytest.approx(1.0 - 1056.0 / prior), 0.0)
    assert two[0] == pytest.approx(2 * one[0])
    assert two[1] == pytest.approx(two[0] - 0.0943)


def test_selling_low_and_buying_high_is_loud():
    key = ("flash_crash_2010_minutes", "one bar a minute", "1")
    found = evidence(SellsLow(1.0), context(names=["flash_crash_2010_minutes", "ltcm_1998"]))
    assert values(found, "excess_loss")[("ltcm_1998", "daily", "")] > 0.08
    assert values(found, "bars_to_derisk")[key] <= 40
    assert values(found, "excess_loss")[key] > values(evidence(BuyAndHold()), "excess_loss")[key]


def test_money_agrees_with_an_independent_loop():
    """Loss and drawdown of 2008, bar by bar with cost and delay, in plain arithmetic."""
    subject = VolatilityThreshold()
    where = context(names=["gfc_2008"])
    trained = unseen_model(subject, where, where.scenarios[0])
    dates = where.scenarios[0].data.dates
    index = where.bars.index
    first = int(index.searchsorted(pd.Timestamp(dates[0], tz="UTC")))
    last = first + len(dates)
    bars = where.bars.rows(first - 500, last)
    position = trained.model.signals(bars).position
    capital, high, depth, held = 1.0, 1.0, 0.0, None
    for row in range(499, len(bars) - 1):
        wanted, previous = position[row - 1], position[row - 2]
        held = previous if held is None else held
        cost = abs(wanted - held) * 10.0 / 1e4
        held = wanted
        capital *= 1.0 + held * (bars.close[row + 1] / bars.close[row] - 1.0) - cost
        high = max(high, capital)
        depth = min(depth, capital / high - 1.0)
    found = evidence(subject, where)
    key = ("gfc_2008", "daily", "")
    assert values(found, "loss")[key] == pytest.approx(1.0 - capital, abs=1e-12)
    assert values(found, "max_drawdown")[key] == pytest.approx(depth, abs=1e-12)


def test_cost_and_delay_are_the_plans():
    names = ["covid_2020"]
    free = values(evidence(VolatilityThreshold(), context(names=names, cost_bps=0.0)), "loss")
    dear = values(evidence(VolatilityThreshold(), context(names=names, cost_bps=50.0)), "loss")
    key = ("covid_2020", "daily", "")
    assert dear[key] > free[key]
    waits = [
        values(
            evidence(VolatilityThreshold(), context(names=names, delay_bars=d)), "bars_to_derisk"
        )
        for d in (1, 5)
    ]
    assert waits[1][key] == waits[0][key] + 4


def test_the_model_that_answers_had_not_seen_the_scenario_where_one_exists():
    where = context()
    for scenario in where.scenarios:
        trained = unseen_model(Remembers(), where, scenario)
        until = pd.Timestamp(trained.model.until)
        before = until.date() < scenario.data.dates[0]
        inside = any(
            scenario.data.dates[0] <= stamp.date() <= scenario.data.dates[-1]
            for stamp in where.bars.index[where.bars.index <= until]
        )
        assert trained.sample == ("in" if inside else "out")
        assert trained.until == until.isoformat()
        if where.bars.index[where.folds[0].train_end].date() < scenario.data.dates[0]:
            assert before, scenario.name
    samples = {e.slice["scenario"]: e.slice["sample"] for e in evidence(Remembers()) if e.slice}
    assert samples["dotcom_2000_2002"] == "in"
    assert samples["gfc_2008"] == samples["crash_1929"] == samples["covid_2020"] == "out"
    unknown = {e.slice["sample"] for e in evidence(Constant()) if "sample" in e.slice}
    assert unknown == {"unknown"}


def test_paths_are_what_the_sample_allows():
    found = evidence(BuyAndHold())
    paths = {e.slice["scenario"]: e.slice["path"] for e in found if "path" in e.slice}
    assert {name for name, path in paths.items() if path == "level"} == LEVEL
    assert {name for name, path in paths.items() if path == "reconstructed"} == {
        "flash_crash_2010_minutes"
    }
    shape = [e for e in found if e.slice.get("path") == "shape" and e.value is not None]
    assert all(e.self_check is not None and e.self_check.holds for e in shape)
    intrabar = {e.slice["path"]: e.status for e in found if e.metric == "worst_intrabar_loss"}
    assert intrabar == {"level": "measured", "shape": "skipped", "reconstructed": "measured"}


def test_the_reconstruction_is_labelled_wherever_it_appears():
    where = context()
    found = measure(Stress(), BuyAndHold(), where)
    digest = load_scenario("flash_crash_2010_minutes").anchors_digest
    mine = [e for e in found.evidence if e.slice.get("scenario") == "flash_crash_2010_minutes"]
    assert mine
    assert all(e.slice["anchors"] == digest and e.slice["seed"] for e in mine)
    assert all(e.slice["path"] == "reconstructed" for e in mine)
    paths = [x for x in found.exhibits if x.name.startswith("path_flash_crash_2010_minutes")]
    assert len(paths) == 4
    for exhibit in paths:
        assert "Reconstructed, seed" in exhibit.note
        assert digest in exhibit.note
    for exhibit in found.exhibits:
        if exhibit.name in ("losses", "summary", "expectations", "provenance"):
            cells = [v for v in column(exhibit, "scenario") if "minutes" in str(v)]
            assert all("reconstructed, seed" in cell for cell in cells)
            assert digest in exhibit.note


def test_shape_replays_are_labelled_in_their_figures():
    found = measure(Stress(), BuyAndHold(), context(names=["black_monday_1987"]))
    exhibit = next(x for x in found.exhibits if x.name == "path_black_monday_1987")
    assert exhibit.note.startswith("Shape replay")
    assert "ranges and volume reconstructed" in exhibit.note
    times = column(exhibit, "time")
    assert "1987-10-19T20:00:00+00:00" in times
    drop = column(exhibit, "buy and hold")
    row = times.index("1987-10-19T20:00:00+00:00")
    assert drop[row] / drop[row - 1] - 1.0 == pytest.approx(-0.2047, abs=5e-5)


def test_every_run_has_its_figure_and_names_are_unique():
    found = measure(Stress(), BuyAndHold(), context())
    names = [x.name for x in found.exhibits]
    assert len(names) == len(set(names)) == 15 + 4


class LeavesAtTheStart(Constant):
    """Holds until the scenario begins and nothing from then on."""

    def signals(self, bars):
        return Signals(bars.index, (bars.index < pd.Timestamp("2008-08-29", tz="UTC")) * 1.0)


def test_the_reference_exposure_lies_before_the_fall():
    found = evidence(LeavesAtTheStart(), context(names=["gfc_2008"]))
    key = ("gfc_2008", "daily", "")
    assert values(found, "exposure_before")[key] == 1.0
    assert values(found, "bars_to_derisk")[key] == 0.0
    assert values(found, "loss")[key] == pytest.approx(
        1 - (1 - 0.0137) * (1 - 0.0041 - 0.001), abs=1e-4
    )


def test_what_happens_after_a_scenario_changes_nothing_in_it():
    bars = sample()
    cut = int(bars.index.searchsorted(pd.Timestamp("2009-06-01", tz="UTC")))
    later = bars.rows(cut).with_values(
        **{name: getattr(bars, name)[cut:] * 2 for name in ("open", "high", "low", "close")}
    )
    altered = bars.rows(0, cut).followed_by(later)
    one = evidence(VolatilityThreshold(), context(names=["gfc_2008"]))
    two = evidence(VolatilityThreshold(), context(altered, names=["gfc_2008"]))
    assert [e.value for e in one] == [e.value for e in two]


def test_numbers_repeat():
    subject = VolatilityRegime()
    where = ["black_monday_1987", "flash_crash_2010_minutes"]
    bars = regime_switching_bars(3, 900)
    one = measure(Stress(), subject, context(bars, where))
    two = measure(Stress(), subject, context(bars, where))
    assert [e.digest for e in one.evidence] == [e.digest for e in two.evidence]
    assert [x.digest for x in one.exhibits] == [x.digest for x in two.exhibits]


def test_a_kill_switch_is_counted():
    bars = regime_switching_bars(3, 900)
    subject = VolatilityRegime()
    found = evidence(subject, context(bars, ["black_monday_1987"]))
    trips = next(e for e in found if e.metric == "kill_switch_trips")
    assert trips.value == 0.0  # its limit on jumps is 25 per cent
    touchy = replace(subject.fit(bars.rows(0, 600), seed=1), fitted=replace(_tight(subject, bars)))
    fixed = Frozen(touchy)
    found = evidence(fixed, context(bars, ["black_monday_1987"]))
    assert next(e for e in found if e.metric == "kill_switch_trips").value >= 1.0
    none = evidence(BuyAndHold(), context(bars, ["black_monday_1987"]))
    assert next(e for e in none if e.metric == "kill_switch_trips").reason.startswith("signals")


def _tight(subject, bars):
    return replace(subject.fit(bars.rows(0, 600), seed=1).fitted, jump_limit=0.10)


@dataclass(frozen=True)
class Frozen:
    """A trained subject that does not train again."""

    inner: VolatilityRegime
    capabilities: frozenset[Capability] = frozenset()

    @property
    def card(self):
        return self.inner.card

    @property
    def digest(self):
        return self.inner.digest

    def fit(self, bars, *, seed):
        return self

    def signals(self, bars):
        return self.inner.signals(bars)


def test_a_subject_that_fails_is_errored_there_and_measured_elsewhere():
    found = evidence(FailsInOctober(1.0), context(names=["black_monday_1987", "covid_2020"]))
    failed = [e for e in found if e.slice.get("scenario") == "black_monday_1987"]
    assert {e.status for e in failed} == {"errored"}
    assert all("no such day in training" in e.reason for e in failed)
    fine = [e for e in found if e.slice.get("scenario") == "covid_2020" and e.metric == "loss"]
    assert [e.status for e in fine] == ["measured"]
    unmeasured = next(e for e in found if e.metric == "expectations_unmeasured")
    assert unmeasured.value == 2.0


def test_recorded_signals_answer_only_the_bars_they_were_made_for():
    subject = Constant(1.0, predictions_only=True)
    found = evidence(subject, context(names=["gfc_2008", "covid_2020"]))
    loss = {e.slice["scenario"]: e for e in found if e.metric == "loss"}
    assert loss["gfc_2008"].status == "measured"
    assert loss["covid_2020"].status == "skipped"
    assert "recorded beforehand" in loss["covid_2020"].reason


def test_intraday_subjects_see_the_session_in_their_own_clock():
    bars = regime_switching_bars(3, 1200)
    bars = replace(
        bars, bars_per_year=252.0 * 78, index=regular_closes("2012-01-03", 1200, 252.0 * 78)
    )
    found = evidence(BuyAndHold(), context(bars, ["flash_crash_2010_minutes", "gfc_2008"]))
    runs = {e.slice.get("clock") for e in found if e.slice.get("path") == "reconstructed"}
    assert runs == {"intraday"}
    shown = [e for e in found if e.slice.get("clock") == "intraday" and e.status == "measured"]
    assert {e.n for e in shown} == {78}
    daily = [e for e in found if e.slice.get("scenario") == "gfc_2008"]
    assert {e.status for e in daily} == {"skipped"}
    assert all("daily warm-up" in e.reason for e in daily)


def test_no_scenario_is_a_reason_not_a_pass():
    found = evidence(BuyAndHold(), replace(context(), scenarios=()))
    assert {e.status for e in found} == {"skipped"}
    assert {e.metric for e in found} == {spec.name for spec in Stress.card.metrics}


def test_parameters_are_checked():
    with pytest.raises(InputError, match="at least 1"):
        Stress(reference_bars=0)
