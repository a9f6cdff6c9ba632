"""Data snooping: coins are no better than holding, a seer is, and trials are counted."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.challengers.buy_and_hold import BuyAndHold
from governance.check import Context, Skip
from governance.checks.data_snooping import DataSnooping
from governance.splits import anchored_folds
from governance.trials import Trials
from tests.planted.measurements import Measured, measure
from tests.planted.skill import Scripted, coin_flips, memoryless_bars, seer

QUICK = DataSnooping(draws=100)


def found_on(
    subject: Subject, bars: Bars, trials: Trials | None = None, **rivals: Subject
) -> Measured:
    folds = anchored_folds(len(bars), first_test=len(bars) // 3, count=2, gap=2)
    context = Context(
        bars=bars, folds=folds, seed=5, cost_bps=0.0, challengers=rivals, trials=trials
    )
    return measure(QUICK, subject, context)


def test_a_seer_is_established_and_its_rivals_lag() -> None:
    bars = memoryless_bars(1, 700)
    good, coin = seer(bars, steps=2), coin_flips(1, 700)
    found = found_on(good, bars, coin=coin)
    for kind in ("plain", "volatility_matched"):
        assert found.value("spa_probability", returns=kind) == pytest.approx(1 / 101)
        assert found.value("established", returns=kind) == 1.0
        assert found.value("best_probability", returns=kind) == 1.0
    behind = found_on(coin, bars, good=good)
    assert behind.value("established", returns="plain") == 0.0
    assert behind.value("best_probability", returns="volatility_matched") < 0.05
    assert behind.value("model_probability", returns="plain") > 0.05
    (table,) = behind.exhibits
    assert table.columns[0].values[0] == "good"


def test_coins_are_called_better_as_often_as_the_level_says() -> None:
    better, behind = [], []
    for seed in range(30):
        bars = memoryless_bars(seed, 450)
        rivals = {f"c{k}": coin_flips(1000 * k + seed, 450) for k in (1, 2)}
        found = found_on(coin_flips(seed, 450), bars, **rivals)
        better.append(found.value("spa_probability", returns="volatility_matched"))
        behind.append(found.value("best_probability", returns="volatility_matched"))
    assert (np.array(better) <= 0.05).sum() <= 5
    assert (np.array(behind) <= 0.05).sum() <= 5


def test_the_best_of_trials_is_judged_as_the_best_of_many() -> None:
    bars = memoryless_bars(2, 450)
    noise = 0.01 * random_stream(1, "trials").standard_normal((400, 30))
    skill = noise.copy()
    skill[:, 3] += 0.004
    said = [
        found_on(
            coin_flips(2, 450), bars, Trials("s", 30, np.zeros(0), False, "f" * 64, returns)
        ).value("trials_probability")
        for returns in (noise, skill)
    ]
    assert said[0] > 0.05
    assert said[1] == pytest.approx(1 / 101)


def test_holding_the_market_or_a_twin_cannot_be_compared() -> None:
    bars = memoryless_bars(3, 450)
    found = found_on(BuyAndHold(), bars, twin=BuyAndHold())
    assert "holds the market" in found.find("established", returns="plain").reason
    assert "no other model" in found.find("best_probability", returns="plain").reason
    assert "no returns of trials" in found.find("trials_probability").reason
    with pytest.raises(Skip, match="do not vary"):
        found_on(Scripted(np.zeros(450)), bars)


class Failing(Scripted):
    """A rival that cannot answer."""

    def fit(self, bars: Bars, *, seed: int) -> Failing:
        return self

    def signals(self, bars: Bars) -> Signals:
        raise ValueError("planted")


def test_a_rival_that_fails_is_recorded() -> None:
    bars = memoryless_bars(3, 450)
    found = found_on(coin_flips(3, 450), bars, broken=Failing(np.ones(450)))
    assert found.find("best_probability", challenger="broken").status == "errored"


def test_too_many_trials_are_not_tested_in_silence() -> None:
    bars = memoryless_bars(3, 450)
    returns = random_stream(1, "many").standard_normal((60, 4))
    trials = Trials("s", 4, np.zeros(0), False, "f" * 64, returns)
    folds = anchored_folds(450, first_test=150, count=1, gap=2)
    context = Context(bars=bars, folds=folds, seed=5, trials=trials)
    found = measure(DataSnooping(draws=100, most_trials=3), coin_flips(3, 450), context)
    assert "more than most_trials" in found.find("trials_probability").reason


@pytest.mark.parametrize("wrong", [{"draws": 10}, {"size": 0.5}, {"most_trials": 1}])
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        DataSnooping(**wrong)  # type: ignore[arg-type]
