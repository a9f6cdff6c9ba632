"""Files of signals: exact, honest about what they cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import DocumentError, FinchaosError, InputError, SubjectFault
from finchaos.core.subject import Capability, Subject
from governance.adapters.signals_file import PREDICTIONS_ONLY, UNBOUND, build
from governance.check import Context, measured
from governance.checks.walk_forward import WalkForward
from governance.measuring import measure as run_check
from governance.observe import observe
from governance.record import CheckCard, Evidence, MetricSpec
from governance.selftest.volatility_regime import VolatilityRegime
from governance.splits import anchored_folds
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import measure


@dataclass(frozen=True)
class NeedsModel:
    """A check that asks the model about bars that never were."""

    card: ClassVar[CheckCard] = CheckCard(
        name="needs_model",
        version=1,
        title="t",
        question="q",
        pillar="conceptual_soundness",
        method="m",
        limitations=("none to speak of",),
        requires=("model",),
        metrics=(MetricSpec(name="rows", unit="rows", better="none", meaning="m"),),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence]:
        """Count rows."""
        signals = subject.signals(context.bars)
        yield measured(self, "rows", len(signals), n=1, window=context.out_of_sample_window)


@pytest.fixture(scope="module")
def bars() -> Bars:
    return regime_switching_bars(4, 400)


@pytest.fixture(scope="module")
def frame(bars: Bars) -> pd.DataFrame:
    signals = VolatilityRegime().fit(bars.rows(0, 200), seed=1).signals(bars)
    return pd.DataFrame(
        {
            "ts": [stamp.isoformat() for stamp in bars.index],
            "position": signals.position,
            "stress_probability": signals.stress_probability,
            "regime": signals.regime,
        }
    )


def write(frame: pd.DataFrame, folder: Path, name: str = "signals.csv") -> str:
    path = folder / name
    if name.endswith(".csv"):
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["signals.csv", "signals.parquet"])
def test_says_what_the_file_says(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    subject = build({"path": write(frame, tmp_path, name), "version": "7"}, seed=1)
    assert subject.capabilities == {Capability.REGIMES}
    assert subject.card.name == "signals"
    assert {PREDICTIONS_ONLY, UNBOUND} <= set(subject.card.limitations)
    signals = observe(subject, bars)
    assert np.array_equal(signals.position, frame["position"].to_numpy())
    assert np.array_equal(signals.arrays()["regime"], frame["regime"].to_numpy())
    assert subject.fit(bars, seed=1) is subject
    part = observe(subject, bars.rows(100, 150))
    assert np.array_equal(part.position, frame["position"].to_numpy()[100:150])


def test_csv_and_parquet_of_the_same_rows_have_one_digest(
    frame: pd.DataFrame, tmp_path: Path
) -> None:
    typed = frame.assign(ts=pd.to_datetime(frame["ts"], utc=True))
    one = build({"path": write(frame, tmp_path, "signals.csv")}, seed=1)
    two = build({"path": write(typed, tmp_path, "signals.parquet")}, seed=1)
    assert one.digest == two.digest
    changed = frame.assign(position=np.where(frame.index == 300, 0.5, frame["position"]))
    assert build({"path": write(changed, tmp_path)}, seed=1).digest != one.digest


def test_positions_alone_are_enough_and_declare_nothing(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    subject = build({"path": write(frame[["ts", "position"]], tmp_path)}, seed=1)
    assert subject.capabilities == frozenset()
    assert set(observe(subject, bars).arrays()) == {"position"}


def test_bars_without_a_row_are_refused(bars: Bars, frame: pd.DataFrame, tmp_path: Path) -> None:
    subject = build({"path": write(frame.iloc[:300], tmp_path)}, seed=1)
    assert len(observe(subject, bars.rows(0, 300))) == 300
    with pytest.raises(SubjectFault, match="no signals for 100 of 400 bars") as caught:
        observe(subject, bars)
    assert bars.index[300].isoformat() in str(caught.value)
    shifted = frame.assign(ts=[(s + pd.Timedelta("1us")).isoformat() for s in bars.index])
    with pytest.raises(SubjectFault, match="400 of 400"):
        observe(build({"path": write(shifted, tmp_path)}, seed=1), bars)


def test_earlier_bars_are_flat_only_where_asked(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    path = write(frame.iloc[100:], tmp_path)
    with pytest.raises(SubjectFault, match="before_first"):
        observe(build({"path": path}, seed=1), bars)
    flat = build({"path": path, "before_first": "flat"}, seed=1)
    signals = observe(flat, bars)
    assert not signals.position[:100].any()
    assert np.array_equal(signals.position[100:], frame["position"].to_numpy()[100:])
    holed = write(frame.drop(index=200).iloc[100:], tmp_path, "holed.csv")
    with pytest.raises(SubjectFault, match="1 of 400"):
        observe(build({"path": holed, "before_first": "flat"}, seed=1), bars)


def test_closes_tie_signals_to_their_prices(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    subject = build({"path": write(frame.assign(close=bars.close), tmp_path)}, seed=1)
    assert UNBOUND not in subject.card.limitations
    assert len(observe(subject, bars)) == 400
    close = bars.close.copy()
    close[250] *= 1.001
    other = bars.with_values(
        None, close=close, high=np.maximum(bars.high, close), low=np.minimum(bars.low, close)
    )
    with pytest.raises(SubjectFault, match="made from other prices") as caught:
        observe(subject, other)
    assert bars.index[250].isoformat() in str(caught.value)


def test_walk_forward_of_a_file_equals_that_of_its_model_of_one_fold(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    context = Context(
        bars=bars,
        folds=anchored_folds(400, first_test=200, count=1, gap=0),
        seed=1,
    )
    subject = build({"path": write(frame, tmp_path)}, seed=1)
    one = measure(WalkForward(draws=100), subject, context)
    two = measure(WalkForward(draws=100), VolatilityRegime(), context)
    for metric in ("sharpe", "turnover_per_year", "regime_shifts_per_year"):
        assert one.value(metric) == two.value(metric)
    assert one.find("sharpe").window.trained_until == ""


def test_what_needs_a_model_is_not_assessed(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    context = Context(bars=bars, folds=anchored_folds(400, first_test=200, count=1, gap=0), seed=1)
    recorded = build({"path": write(frame, tmp_path)}, seed=1)
    assert recorded.card.predictions_only
    found = run_check(NeedsModel(), recorded, context).evidence
    assert [(e.status, "needs the model" in e.reason) for e in found] == [("skipped", True)]
    found = run_check(NeedsModel(), VolatilityRegime(), context).evidence
    assert [e.status for e in found] == ["measured"]


def test_the_models_own_faults_reach_the_contract(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    bad = frame.copy()
    bad.loc[5, "position"] = np.nan
    bad.loc[6, "position"] = 3.0
    bad.loc[7, "stress_probability"] = 1.5
    subject = build({"path": write(bad, tmp_path)}, seed=1)
    with pytest.raises(SubjectFault) as caught:
        observe(subject, bars)
    for kind in ("nonfinite_positions: 1", "positions_beyond_limits: 1", "invalid_prob"):
        assert kind in str(caught.value)


def _break(frame: pd.DataFrame, how: str) -> pd.DataFrame:
    stamps = list(frame["ts"])
    return {
        "no position": frame.drop(columns="position"),
        "unknown column": frame.assign(alpha=1.0),
        "empty": frame.iloc[:0],
        "duplicate": pd.concat([frame.iloc[:3], frame.iloc[2:5]]),
        "unsorted": frame.iloc[::-1],
        "no zone": frame.assign(ts=[s[:19] for s in stamps]),
        "not a time": frame.assign(ts="yesterday"),
        "text": frame.assign(position="long"),
        "half regime": frame.assign(regime=0.5),
        "no price": frame.assign(close=0.0),
        "missing stamp": frame.assign(ts=["", *stamps[1:]]),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "no position", "unknown column", "empty", "duplicate", "unsorted", "no zone",
        "not a time", "text", "half regime", "no price", "missing stamp",
    ],
)  # fmt: skip
def test_unusable_files_are_refused(frame: pd.DataFrame, tmp_path: Path, how: str) -> None:
    path = write(_break(frame, how), tmp_path)
    with pytest.raises(InputError, match=r"signals\.csv"):
        build({"path": path}, seed=1)


@pytest.mark.parametrize(
    ("params", "kind"),
    [
        ({}, DocumentError),
        ({"path": "x.csv", "separator": ";"}, DocumentError),
        ({"path": "x.csv", "before_first": "hold"}, DocumentError),
        ({"path": "missing.csv"}, InputError),
        ({"path": "signals.xlsx"}, InputError),
    ],
)
def test_parameters_are_strict(params: dict[str, Any], kind: type[FinchaosError]) -> None:
    with pytest.raises(kind):
        build(params, seed=1)


def test_forecasts_are_read_and_need_every_bar(
    bars: Bars, frame: pd.DataFrame, tmp_path: Path
) -> None:
    with_forecasts = frame.assign(forecast_mean=0.0, forecast_volatility=0.01)
    path = write(with_forecasts, tmp_path)
    signals = observe(build({"path": path}, seed=1), bars)
    assert signals.forecast_volatility is not None
    assert (signals.forecast_volatility == 0.01).all()
    with pytest.raises(InputError, match="would have none"):
        build({"path": path, "before_first": "flat"}, seed=1)
