"""Slices: known beforehand, tested as Welch would, adjusted as a slow twin does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.check import Context
from governance.splits import anchored_folds
from governance.statistics.accounting import profit_and_loss
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.slices import known_slices, net_of_holding, volatility_terciles
from governance.statistics.step_down import losing_slices, step_down
from tests.planted.clustered import garch_bars
from tests.planted.skill import Scripted


def slow_step_down(observed: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """Algorithm 2.1 of Romano & Wolf (2016), word by word."""
    found, before = np.empty(len(observed)), 0.0
    left = sorted(range(len(observed)), key=lambda k: observed[k])
    while left:
        count = sum(min(draw[k] for k in left) <= observed[left[0]] for draw in by_chance)
        before = max(before, (1 + count) / (1 + len(by_chance)))
        found[left.pop(0)] = before
    return found


@given(
    arrays(float, 5, elements=st.floats(-4, 4)),
    arrays(float, (12, 5), elements=st.floats(-4, 4)),
)
def test_step_down_equals_its_slow_twin(observed: np.ndarray, by_chance: np.ndarray) -> None:
    found = step_down(observed, by_chance)
    assert np.array_equal(found, slow_step_down(observed, by_chance))
    alone = (1 + (by_chance <= observed).sum(axis=0)) / 13
    assert (found >= alone - 1e-12).all()


def test_statistics_are_those_of_student_and_welch() -> None:
    rng = random_stream(1, "welch")
    values, rows = rng.normal(0.1, 1.0, 300), rng.random((4, 300)) < 0.3
    found = losing_slices(values, rows, block=5, draws=100, rng=rng)
    for k, row in enumerate(rows):
        zero = stats.ttest_1samp(values[row], 0.0).statistic
        rest = stats.ttest_ind(values[row], values[~row], equal_var=False).statistic
        assert found.statistic[k] == pytest.approx(max(zero, rest), rel=1e-9)
        assert found.mean[k] == pytest.approx(values[row].mean(), rel=1e-12)
        assert found.rest[k] == pytest.approx(values[~row].mean(), rel=1e-12)


def test_a_slice_that_earns_nothing_is_no_weakness_and_one_that_loses_is() -> None:
    rng = random_stream(2, "weak")
    values = rng.normal(0.2, 1.0, 1000)
    flat, losing = np.arange(1000) % 5 == 0, np.arange(1000) % 5 == 1
    values[flat] = 0.0
    values[losing] -= 0.6
    found = losing_slices(values, np.stack([flat, losing]), block=5, draws=500, rng=rng)
    assert found.adjusted_p[0] > 0.3
    assert found.adjusted_p[1] < 0.01
    steady = values.copy()
    steady[losing] = -0.1
    certain = losing_slices(steady, losing[None], block=5, draws=500, rng=rng)
    assert certain.statistic[0] < 0


@pytest.mark.parametrize(("slices", "mean"), [(1, 0.3), (5, 0.3), (5, -0.3)])
def test_where_one_condition_holds_for_certain_the_other_keeps_its_size(
    slices: int, mean: float
) -> None:
    """A slice that earns nothing beside a rest that earns well; slices that all lose alike."""
    accused = 0
    for seed in range(200):
        rng = random_stream(seed, "step_down.size")
        label = rng.integers(0, max(slices, 5), 600)
        rows = np.stack([label == number for number in range(slices)])
        values = rng.standard_normal(600) + np.where(rows[0] & (mean > 0.0), 0.0, mean)
        found = losing_slices(values, rows, block=3, draws=200, rng=rng)
        accused += found.adjusted_p.min() <= 0.05
    assert accused / 200 <= 0.09  # three standard errors above one in twenty


def test_impossible_slices_are_refused() -> None:
    rng = random_stream(3, "bad")
    for values, rows in (
        (np.ones(10), np.ones((1, 10))),
        (np.arange(10.0), np.ones((1, 10))),
        (np.arange(10.0), np.zeros((0, 10))),
        (np.ones(10), np.arange(10)[None] < 5),
    ):
        with pytest.raises(InputError):
            losing_slices(values, rows.astype(bool), block=2, draws=10, rng=rng)


def test_slices_are_known_before_the_period_begins() -> None:
    """Altering every close after the one that a period begins at changes no label of it."""
    n, first = 500, 200
    bars = garch_bars(4, n)
    subject = Scripted(np.tile([1.0, 0.0], n // 2))

    def labels(given: object) -> dict[tuple[str, str], np.ndarray]:
        context = Context(
            bars=given,  # type: ignore[arg-type]
            folds=anchored_folds(n, first_test=first, count=2, gap=3),
            seed=1,
        )
        tested = out_of_sample(subject, context)
        found = known_slices(tested, context.bars, least=10)
        return {(one.by, one.name): one.rows for one in found}

    whole = labels(bars)
    assert {by for by, _ in whole} == {
        "regime", "weekday", "month", "year", "last move", "trend", "volatility"
    }  # fmt: skip
    cut = 350  # period j begins at bar first + 1 + j
    altered = np.append(bars.close[:cut], bars.close[cut:][::-1] * 3.0)
    changed = labels(bars.with_values(None, open=altered, high=altered, low=altered, close=altered))
    known = cut - first - 1
    for key in whole.keys() & changed.keys():
        assert np.array_equal(whole[key][:known], changed[key][:known]), key
    assert any((whole[key] != changed[key]).any() for key in whole.keys() & changed.keys())


def test_terciles_rank_among_the_past() -> None:
    moves = np.append(np.full(100, 0.0), random_stream(1, "m").standard_normal(50))
    found = volatility_terciles(moves)
    assert found[:42].tolist() == [""] * 42
    assert found[99] == "low volatility"
    assert found[120] == "high volatility"
    assert np.array_equal(found[:130], volatility_terciles(moves[:130]))


@given(arrays(float, 30, elements=st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])))
def test_costs_of_leaving_are_moved_and_none_is_lost(held: np.ndarray) -> None:
    found = net_of_holding(held, np.zeros(30), 10.0)
    ledger = profit_and_loss(np.append(held, 0.0), np.zeros(31 - 1), cost_bps=10.0, delay_bars=0)
    assert found.sum() == pytest.approx(-ledger.cost.sum(), abs=1e-12)
    assert (found[held == 0.0] == 0.0).all()
