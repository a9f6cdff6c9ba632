"""Challengers that tell regimes: causal, reproducible, with the figures of another study."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.subject import Subject
from finchaos.regimes.kpis import auc
from governance.challengers.garch_threshold import GarchThreshold
from governance.challengers.hidden_markov import HiddenMarkov
from governance.challengers.jump_model import JumpModel
from governance.challengers.last_regime import LastRegime
from governance.challengers.random_entry import RandomEntry
from governance.observe import observe
from governance.statistics import performance
from governance.statistics.accounting import profit_and_loss
from tests.planted.markets import labels, regime_switching_bars

NAMES = ("garch_threshold", "hidden_markov", "jump_model", "last_regime", "random_entry")


def challenger(name: str) -> Any:
    return registry.public_class("governance.challengers", name)()


def closes() -> Bars:
    frame = pytest.importorskip("skfolio.datasets").load_sp500_index()["SP500"]
    return Bars(
        pd.DatetimeIndex(frame.index).tz_localize("UTC"),
        **{name: frame.to_numpy() for name in ("open", "high", "low", "close")},
        volume=np.zeros(len(frame)),
        symbol="SPX",
    )


# Sharpe ratio, drawdown, round trips a year, share invested of another implementation, refitted
# each January on everything before, and how far a second one may be off: fits have many optima.
PUBLISHED = {
    "hidden_markov": ((0.191, -0.301, 6.47, 0.61), (0.04, 0.03, 0.3, 0.02)),
    "garch_threshold": ((0.346, -0.388, 3.53, 0.71), (0.03, 0.02, 0.3, 0.02)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_figures_of_another_study_on_the_sp500(name: str) -> None:
    bars = closes()
    year, position = bars.index.year, np.zeros(len(bars))
    for start in range(2000, 2023):
        train, stop = int(np.argmax(year == start)), int((year <= start).sum())
        trained = challenger(name).fit(bars.rows(0, train), seed=0)
        begin = train - 3 if start == 2000 else train
        position[begin:stop] = trained.signals(bars.rows(0, stop)).position[begin:]
    first = int(np.argmax(year == 2000))
    account = profit_and_loss(position, bars.returns(), cost_bps=10, delay_bars=1)
    net, traded, held = (getattr(account, n)[first - 1 :] for n in ("net", "traded", "held"))
    found = (
        performance.sharpe(net, 252),
        performance.max_drawdown(net),
        performance.turnover_per_year(traded, 252),
        held.mean(),
    )
    expected, slack = PUBLISHED[name]
    for value, other, off in zip(found, expected, slack, strict=True):
        assert float(value) == pytest.approx(other, abs=off)


@pytest.mark.parametrize("name", NAMES)
def test_the_past_does_not_change_with_the_future(name: str) -> None:
    bars = regime_switching_bars(2, 1200)
    trained = challenger(name).fit(bars.rows(0, 700), seed=3)
    assert isinstance(trained, Subject)
    whole = observe(trained, bars)
    for cut in (701, 900, 1199):
        part = observe(trained, bars.rows(0, cut))
        for field, values in part.arrays().items():
            assert np.array_equal(values, whole.arrays()[field][:cut]), field


@pytest.mark.parametrize("name", NAMES)
def test_the_same_training_gives_the_same_model_and_other_bars_another(name: str) -> None:
    bars = regime_switching_bars(2, 1200)
    first, again = (challenger(name).fit(bars.rows(0, 700), seed=3) for _ in range(2))
    assert first.digest == again.digest
    assert np.array_equal(first.signals(bars).position, again.signals(bars).position)
    other = challenger(name).fit(bars.rows(0, 1000), seed=4)
    assert other.digest != first.digest != challenger(name).digest


@pytest.mark.parametrize("name", NAMES)
def test_before_training_it_is_in_the_market(name: str) -> None:
    if name == "random_entry":
        return
    raw = challenger(name)
    assert (raw.signals(regime_switching_bars(1, 300)).position[raw.card.warmup_bars :] == 1).all()


@pytest.mark.parametrize("name", ["garch_threshold", "hidden_markov", "jump_model"])
def test_it_finds_a_volatile_regime(name: str) -> None:
    bars, state = regime_switching_bars(1), labels(1)
    trained = challenger(name).fit(bars.rows(0, 1000), seed=0)
    signals = observe(trained, bars)
    assert signals.stress_probability is not None
    found = auc(signals.stress_probability[1000:], state[1000:] > 0)
    plain = challenger("last_regime").fit(bars.rows(0, 1000), seed=0)
    naive = plain.signals(bars).stress_probability
    assert naive is not None
    assert found > max(0.6, auc(naive[1000:], state[1000:] > 0))


def test_random_entry_trades_as_often_as_it_says() -> None:
    bars = regime_switching_bars(1, 3000)
    drawn = [RandomEntry(30.0, 10.0).fit(bars, seed=n).signals(bars).position for n in range(40)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)
    trips = np.mean([np.abs(np.diff(one)).sum() / 2.0 for one in drawn])
    assert trips == pytest.approx(3000 / 40.0, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GarchThreshold(quantile=1.0),
        lambda: LastRegime(quantile=0.0),
        lambda: JumpModel(penalty=0.0),
        lambda: RandomEntry(in_bars=0.5),
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("kind", [GarchThreshold, HiddenMarkov, JumpModel])
def test_too_few_bars_are_refused(kind: Any) -> None:
    with pytest.raises(DataError):
        kind().fit(regime_switching_bars(1, 62).rows(0, 15), seed=0)
