"""Tuning of the debounce: the best of the grid by brute force, and nothing of later bars."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from finchaos.core.errors import DataError, InputError
from finchaos.regimes.filter import FilterRule, RegimeFilter
from finchaos.regimes.kpis import score_detection
from finchaos.regimes.objectives import (
    BalancedAccuracy,
    DelayAtBudget,
    Objective,
    PenalisedSharpe,
    Stability,
)
from finchaos.regimes.tuning import GRID, Timeframe, tune_filter, tune_filters

BARS = 600


def series(seed: int = 0, noise: float = 0.15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stress probability, truth and closes: spells of 60 and 30 bars, some bars misread."""
    rng = np.random.default_rng(seed)
    truth = np.arange(BARS) % 90 >= 60
    misread = truth ^ (rng.random(BARS) < noise)
    stress = np.where(misread, rng.uniform(0.5, 1.0, BARS), rng.uniform(0.0, 0.49, BARS))
    returns = np.where(truth, -0.004, 0.001) + np.where(truth, 0.02, 0.007) * rng.normal(size=BARS)
    return stress, truth, np.exp(np.cumsum(returns))


def objectives(truth: np.ndarray, close: np.ndarray) -> list[Objective]:
    return [
        BalancedAccuracy(truth),
        DelayAtBudget(truth, 6.0),
        PenalisedSharpe(close),
        Stability(12),
    ]


def test_the_choice_is_the_best_of_the_grid_as_the_stream_filters() -> None:
    stress, truth, _ = series()
    found = tune_filter("1d", Timeframe(stress, 400, 252.0, BalancedAccuracy(truth)))
    merits = {}
    for rule in GRID:
        live = RegimeFilter(rule)
        passed = [live.step(float(value >= 0.5)) >= 1.0 for value in stress[:400]]
        score = score_detection(np.array(passed), truth[:400], bars_per_year=252.0)
        merits[rule] = score.balanced_accuracy
    assert {trial.rule: trial.merit for trial in found.trials} == merits
    assert merits[found.rule] == max(merits.values())
    assert found.rule.entry_bars > 1
    assert found.rule.exit_bars > 1


@pytest.mark.parametrize("kind", range(4))
def test_nothing_after_the_training_window_is_read(kind: int) -> None:
    stress, truth, close = series()
    one = tune_filter("1d", Timeframe(stress, 400, 252.0, objectives(truth, close)[kind]))
    stress[400:], truth[400:], close[400:] = np.nan, True, np.nan
    two = tune_filter("1d", Timeframe(stress, 400, 252.0, objectives(truth, close)[kind]))
    assert one == two


def test_the_budget_decides_between_fast_and_quiet() -> None:
    stress, truth, _ = series(3)
    loose = tune_filter("1d", Timeframe(stress, BARS, 252.0, DelayAtBudget(truth, 100.0)))
    tight = tune_filter("1d", Timeframe(stress, BARS, 252.0, DelayAtBudget(truth, 3.0)))
    assert tight.rule.entry_bars > loose.rule.entry_bars
    chosen = next(trial for trial in tight.trials if trial.rule == tight.rule)
    assert chosen.figures["false_onsets_per_year"] <= 3.0
    assert chosen.figures["calm_share_flagged"] <= 0.25
    # A quick entry with a slow exit keeps the onsets down, as it is hardly ever off: no bargain.
    stuck = next(trial for trial in tight.trials if trial.rule == FilterRule(1, 13))
    assert stuck.figures["false_onsets_per_year"] <= 3.0
    assert stuck.figures["share_lost"] < chosen.figures["share_lost"]
    assert stuck.merit == -np.inf
    with pytest.raises(DataError, match=r"no rule for 1d keeps the limit.*lowest"):
        tune_filter(
            "1d",
            Timeframe(stress, BARS, 252.0, DelayAtBudget(truth, 0.1)),
            [FilterRule(1, 1), FilterRule(2, 1)],
        )


def test_of_equals_the_shortest_is_taken() -> None:
    truth = np.arange(BARS) % 90 >= 60
    grid = [FilterRule(1, 5), FilterRule(1, 1), FilterRule(5, 1)]
    found = tune_filter("1d", Timeframe(truth, BARS, 252.0, BalancedAccuracy(truth)), grid)
    assert found.rule == FilterRule(1, 1)
    fall = np.arange(BARS) >= 300
    found = tune_filter("1d", Timeframe(fall, BARS, 252.0, BalancedAccuracy(fall)), grid)
    assert found.rule == FilterRule(1, 1)


def test_each_timeframe_has_its_own_rule_and_all_trials_can_be_registered() -> None:
    stress, truth, close = series()
    slow = Timeframe(stress, 400, 252.0, PenalisedSharpe(close))
    noisy, known, _ = series(5, noise=0.35)
    found = tune_filters(
        {"1d": slow, "1h": Timeframe(noisy, BARS, 1764.0, BalancedAccuracy(known))}
    )
    assert found["1d"] == tune_filter("1d", slow)
    assert found["1h"].rule != found["1d"].rule
    records = found["1d"].records()
    assert len(records) == len(GRID)
    assert sum(record["chosen"] for record in records) == 1
    assert {"timeframe", "entry_bars", "exit_bars", "merit", "sharpe"} <= set(records[0])
    best = next(record for record in records if record["chosen"])
    assert best["merit"] == max(record["merit"] for record in records)
    never = replace(slow, stress=truth & (np.arange(BARS) % 90 == 80), trained_bars=BARS)
    aim = DelayAtBudget(truth, 50.0)
    silent = tune_filter("1d", replace(never, objective=aim), [FilterRule(1, 1), FilterRule(3, 3)])
    assert silent.records()[1]["median_delay"] is None


def test_bad_input_is_refused() -> None:
    stress, truth, _ = series()
    good = Timeframe(stress, 400, 252.0, BalancedAccuracy(truth))
    for wrong in (
        replace(good, trained_bars=1),
        replace(good, trained_bars=BARS + 1),
        replace(good, stress=np.ones((3, 3))),
        replace(good, bars_per_year=0.0),
    ):
        with pytest.raises(InputError):
            tune_filter("1d", wrong)
    with pytest.raises(InputError, match="cannot be tuned"):
        tune_filter("1d", good, [])
    with pytest.raises(InputError, match="twice"):
        tune_filter("1d", good, [FilterRule(1, 1), FilterRule(1, 1)])
    with pytest.raises(InputError, match="no timeframes"):
        tune_filters({})
    with pytest.raises(DataError, match="NaN"):
        tune_filter("1d", replace(good, stress=np.where(np.arange(BARS) == 5, np.nan, stress)))
    with pytest.raises(DataError, match="too short for the grid"):
        tune_filter("1d", replace(good, trained_bars=13))
    with pytest.raises(DataError, match="never changes"):
        tune_filter("1d", replace(good, stress=np.zeros(BARS)))
