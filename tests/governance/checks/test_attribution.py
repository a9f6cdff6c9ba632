"""Attribution as an instrument: exact where the answer is known, loud on planted defects."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability
from governance.check import Skip
from governance.checks.attribution import Attribution, TorchNetwork
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted.differentiable import CARD, FEATURES, DifferentiableRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

BARS = regime_switching_bars(3, 1100)
CHECK = Attribution(windows=40, compared_windows=20, length=48, steps=24, copies=2)

# captum keeps the weights of its quadrature in single precision.
ROUNDING = 1e-6


@cache
def run(**changes: Any) -> Measured:
    return measure(CHECK, DifferentiableRegime(**changes), context_of(BARS, folds=3))


class Product(nn.Module):
    """x1 times x2 of the newest bar."""

    def forward(self, windows: Tensor) -> Tensor:
        return windows[:, -1, 0] * windows[:, -1, 1]


class Linear(nn.Module):
    """A weighted sum of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.arange(12, dtype=torch.float64).reshape(4, 3))

    def forward(self, windows: Tensor) -> Tensor:
        return (windows * self.weights).sum(dim=(1, 2))


def test_a_product_from_zero_is_shared_in_halves() -> None:
    windows = np.random.default_rng(1).normal(size=(50, 4, 3))
    found = TorchNetwork(Product(), steps=3).attribute(windows, np.zeros_like(windows))
    product = windows[:, -1, 0] * windows[:, -1, 1]
    np.testing.assert_allclose(found.values[:, -1, 0], product / 2.0, rtol=ROUNDING)
    np.testing.assert_allclose(found.values[:, -1, 1], product / 2.0, rtol=ROUNDING)
    assert np.abs(found.values[:, :-1]).max() == np.abs(found.values[:, :, 2]).max() == 0.0
    np.testing.assert_allclose(found.residuals, 0.0, atol=ROUNDING * np.abs(product).max())


def test_a_linear_module_is_attributed_exactly_in_one_step() -> None:
    rng = np.random.default_rng(2)
    windows, baselines = rng.normal(size=(2, 30, 4, 3))
    found = TorchNetwork(Linear(), steps=1).attribute(windows, baselines)
    weights = np.arange(12.0).reshape(4, 3)
    np.testing.assert_allclose(found.values, weights * (windows - baselines), rtol=ROUNDING)


def test_windows_sent_in_parts_are_answered_alike() -> None:
    windows = np.random.default_rng(3).normal(size=(70, 4, 3))
    whole = TorchNetwork(Product(), steps=2).attribute(windows, 0.5 * windows)
    parted = TorchNetwork(Product(), steps=100).attribute(windows, 0.5 * windows)
    np.testing.assert_allclose(parted.values, whole.values, rtol=ROUNDING)


def test_the_module_is_left_as_it_was() -> None:
    module = Linear().train()
    TorchNetwork(module, steps=2).decide(np.zeros((2, 4, 3)))
    assert module.training
    assert module.weights.requires_grad


@pytest.mark.parametrize("answer", [lambda x: x, lambda x: x[:, 0, 0] / 0.0])
def test_a_module_that_does_not_answer_is_at_fault(answer: Any) -> None:
    class Odd(nn.Module):
        def forward(self, windows: Tensor) -> Tensor:
            return answer(windows)

    with pytest.raises(SubjectFault, match="does not answer"):
        TorchNetwork(Odd(), steps=2).decide(np.ones((2, 4, 3)))


def test_sound_subject_is_explained_completely() -> None:
    found = run()
    evidence = found.find("completeness_residual")
    assert evidence.value is not None
    assert evidence.value < 1e-6
    assert evidence.self_check is not None
    assert evidence.self_check.holds
    # What the sum remembers from before 48 bars: 0.8**48.
    assert found.value("window_gap") < 1e-4
    assert 0.05 < found.value("explained_change") < 0.5
    shares = [found.value("feature_share", feature=name) for name in FEATURES]
    assert sum(shares) == pytest.approx(1.0)
    assert found.value("top_feature_share") == pytest.approx(max(shares))
    lags = [e.value for e in found if e.metric == "lag_share"]
    assert sum(value for value in lags if value is not None) == pytest.approx(1.0)
    assert found.value("ablation_agreement") > 0.7
    assert found.value("randomisation_correlation") < 0.7
    assert found.find("permutation_importance").status == "skipped"


def test_every_share_has_an_interval_that_holds_it() -> None:
    for evidence in run():
        if evidence.metric in ("feature_share", "lag_share", "top_feature_share"):
            assert evidence.value is not None
            assert evidence.interval is not None
            assert evidence.interval.low <= evidence.value <= evidence.interval.high


def test_the_one_feature_that_is_used_is_found() -> None:
    for k, name in enumerate(FEATURES):
        weights = tuple(0.7 if j == k else 0.0 for j in range(3))
        found = run(weights=weights)
        assert found.value("feature_share", feature=name) == pytest.approx(1.0)
        assert found.value("ablation_agreement") == 1.0


def test_lag_shares_follow_the_memory() -> None:
    short, long = run(decay=0.3), run(decay=0.95)
    assert short.value("lag_share", lag="0") > 0.5
    assert long.value("lag_share", lag="0") < 0.15
    assert long.value("lag_share", lag="20-39") > short.value("lag_share", lag="20-39")
    # A memory longer than the window shows as a gap.
    assert long.value("window_gap") > 10.0 * run().value("window_gap")


def test_loud_on_explanations_that_ignore_what_was_learned() -> None:
    found = run(ignores_weights=True)
    assert found.value("randomisation_correlation") == pytest.approx(1.0)
    assert run().value("randomisation_correlation") < 0.7


def test_loud_on_signals_that_the_module_does_not_make() -> None:
    assert run(bias_of_signals=0.05).value("window_gap") > 0.04


def test_loud_on_a_decision_too_rough_for_its_gradient() -> None:
    steep = run(gain=4000.0)
    evidence = steep.find("completeness_residual")
    assert evidence.self_check is not None
    assert not evidence.self_check.holds


def test_stable_over_baselines_and_folds() -> None:
    found = run(weights=(0.05, 1.2, 0.4))
    for baseline in ("mean", "calm"):
        assert found.value("baseline_rank_correlation", baseline=baseline) > 0.4
    for fold in ("1", "2"):
        assert found.value("fold_rank_correlation", fold=fold) == 1.0


def test_loud_on_reasons_that_change_from_fold_to_fold() -> None:
    class Fickle(DifferentiableRegime):
        def fit(self, bars: Bars, *, seed: int) -> DifferentiableRegime:
            weights = (1.2, 0.4, 0.02) if len(bars) < 700 else (0.02, 0.4, 1.2)
            return replace(super().fit(bars, seed=seed), weights=weights)

    found = measure(CHECK, Fickle(), context_of(BARS, folds=3))
    assert found.value("fold_rank_correlation", fold="1") < 0.0


def test_a_constant_decision_has_no_shares() -> None:
    found = run(weights=(0.0, 0.0, 0.0))
    assert found.value("completeness_residual") == 0.0
    assert found.value("explained_change") == 0.0
    evidence = found.find("top_feature_share")
    assert evidence.status == "skipped"
    assert "no input moves" in evidence.reason


def test_same_seed_same_numbers() -> None:
    again = measure(CHECK, DifferentiableRegime(), context_of(BARS, folds=3))
    assert again.digests == run().digests
    other = measure(CHECK, DifferentiableRegime(), context_of(BARS, folds=3, seed=99))
    assert other.value("top_feature_share") != again.value("top_feature_share")


def test_charts() -> None:
    by_name = {exhibit.name: exhibit for exhibit in run().exhibits}
    assert set(by_name) == {"feature_shares", "lags", "stability", "around_fall", "summary"}
    fall = by_name["around_fall"]
    for column in fall.columns[1:]:
        numbers = [value for value in column.values if isinstance(value, float)]
        assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=1e-6)
    assert [c.name for c in by_name["stability"].columns[1:]] == [
        "candidate", "baseline mean", "baseline calm", "fold 1", "fold 2", "seed +1",
        "test 1", "test 2",
    ]  # fmt: skip


def test_a_subject_that_is_not_refitted() -> None:
    capabilities = DifferentiableRegime().capabilities - {Capability.REFIT}
    found = run(capabilities=capabilities)
    assert found.find("fold_rank_correlation").status == "skipped"
    assert {e.window.trained_until for e in found} == {""}


def test_windows_that_break_the_contract_are_the_subjects_fault() -> None:
    class Short(DifferentiableRegime):
        def feature_windows(self, bars: Bars, ends: np.ndarray, length: int) -> np.ndarray:
            return super().feature_windows(bars, ends, length)[:, :, :2]

    with pytest.raises(SubjectFault, match="feature windows break"):
        measure(CHECK, Short(), context_of(BARS))


def test_too_short_a_test_is_refused() -> None:
    with pytest.raises(Skip, match="at least 20"):
        measure(CHECK, DifferentiableRegime(), context_of(BARS.rows(0, 415), folds=1))


class RangeReader(VolatilityRegime):
    """Holds less after a bar with a long lower shadow; reads nothing else."""

    def signals(self, bars: Bars) -> Signals:
        shadow = np.log(np.minimum(bars.open, bars.close) / bars.low)
        position = 1.0 / (1.0 + 200.0 * shadow)
        position[: self.card.warmup_bars] = 0.0
        return Signals(bars.index, position)


def test_permutation_finds_the_one_input_that_is_read() -> None:
    found = measure(CHECK, RangeReader(), context_of(BARS))
    importance = {
        name: found.value("permutation_importance", input=name)
        for name in ("return", "open", "high", "low", "volume")
    }
    assert importance["low"] > 0.1
    assert max(value for name, value in importance.items() if name != "low") < 1e-9
    evidence = found.find("permutation_importance", input="low")
    assert evidence.interval is not None
    assert evidence.interval.low < importance["low"] < evidence.interval.high
    for metric in ("completeness_residual", "feature_share", "fold_rank_correlation"):
        assert found.find(metric).status == "skipped"
    assert [exhibit.name for exhibit in found.exhibits] == ["permutation"]
    assert measure(CHECK, RangeReader(), context_of(BARS)).digests == found.digests


@pytest.mark.parametrize(
    "params",
    [{"windows": 10}, {"compared_windows": 5}, {"steps": 0}, {"compared_windows": 80}],
)
def test_refuses_impossible_parameters(params: dict[str, int]) -> None:
    with pytest.raises(InputError, match="attribution"):
        Attribution(**params)


def test_planted_subject_is_sound() -> None:
    subject = DifferentiableRegime().fit(BARS.rows(0, 500), seed=1)
    whole, part = subject.signals(BARS), subject.signals(BARS.rows(0, 700))
    np.testing.assert_allclose(whole.position[:700], part.position, atol=1e-15)
    assert CARD.warmup_bars == 60
