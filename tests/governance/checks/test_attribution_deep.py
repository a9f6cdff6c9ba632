"""Fidelity, seeds, own tests, crises and the summary, each quiet on a sound model and loud else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from governance.checks.attribution import Attribution
from governance.scenario import load_scenario
from tests.planted.differentiable import FEATURES, DifferentiableRegime
from tests.planted.markets import regime_switching_bars
from tests.planted.measurements import Measured, context_of, measure

BARS = regime_switching_bars(3, 1100)
CHECK = Attribution(windows=40, compared_windows=20, length=48, steps=24, copies=1)


@cache
def run(**changes: Any) -> Measured:
    return measure(CHECK, DifferentiableRegime(**changes), context_of(BARS, folds=3))


def test_a_sound_model_is_explained_faithfully_and_steadily() -> None:
    found = run()
    assert found.value("infidelity") < 0.2
    assert found.value("sensitivity_max") < 0.1
    assert found.value("ablation_rank_correlation") == 1.0
    assert found.value("seed_rank_correlation", seed="+1") == 1.0
    # By ranks of three features: the weakest two may change places between tests.
    for fold in ("1", "2"):
        assert found.value("test_rank_correlation", fold=fold) >= 0.5
        assert found.find("test_rank_correlation", fold=fold).interval is not None
    assert found.value("nodes_per_window") == 24.0


def test_loud_on_features_that_only_count_together() -> None:
    class Jointly(nn.Module):
        """The product of two features: what one does depends on the other."""

        def forward(self, windows: Tensor) -> Tensor:
            mean = windows.mean(dim=1)
            return 0.5 + 0.1 * mean[:, 0] * mean[:, 2] * windows.shape[1]

    class Product(DifferentiableRegime):
        def decision_module(self) -> nn.Module:
            return Jointly().double()

    found = measure(CHECK, Product(), context_of(BARS, folds=1))
    assert found.value("infidelity") > 2.0 * run().value("infidelity")


def test_loud_on_reasons_that_change_with_the_seed() -> None:
    class Fickle(DifferentiableRegime):
        def fit(self, bars: Bars, *, seed: int) -> DifferentiableRegime:
            weights = (1.2, 0.4, 0.02) if seed == 11 else (0.02, 0.4, 1.2)
            return replace(super().fit(bars, seed=seed), weights=weights)

    found = measure(CHECK, Fickle(), context_of(BARS, folds=2))
    assert found.value("seed_rank_correlation", seed="+1") < 0.0


def test_no_seeds_asked_for_none_trained() -> None:
    found = measure(replace(CHECK, seeds=0), DifferentiableRegime(), context_of(BARS, folds=2))
    assert found.find("seed_rank_correlation").status == "skipped"
    with pytest.raises(InputError, match="positive parameters"):
        Attribution(seeds=-1)


def test_a_crisis_out_of_sample_has_its_map_and_others_none() -> None:
    scenario = load_scenario("gfc_2008")
    bars = regime_switching_bars(3, 2600)  # begins in 2001
    inside = context_of(bars, folds=2, first_test=1500)
    outside = context_of(bars, folds=2, first_test=2300)
    small = Attribution(windows=20, compared_windows=20, length=20, steps=4, copies=1, seeds=0)
    found = measure(small, DifferentiableRegime(), replace(inside, scenarios=(scenario,)))
    (crisis,) = [e for e in found.exhibits if e.name == "around_gfc_2008"]
    assert scenario.title in crisis.title
    dates = [column.name for column in crisis.columns[1:]]
    assert dates == sorted(dates)
    assert dates[0] < scenario.known.peak.isoformat() < scenario.known.trough.isoformat()
    assert scenario.known.trough.isoformat() < dates[-1]
    for column in crisis.columns[1:]:
        numbers = [value for value in column.values if isinstance(value, float)]
        assert sum(numbers[:-1]) == pytest.approx(numbers[-1], abs=1e-2)
    none = measure(small, DifferentiableRegime(), replace(outside, scenarios=(scenario,)))
    assert "around_gfc_2008" not in {e.name for e in none.exhibits}


def test_the_summary_ranks_the_features_by_share() -> None:
    (summary,) = [e for e in run().exhibits if e.name == "summary"]
    columns = {column.name: column.values for column in summary.columns}
    shares = [run().value("feature_share", feature=str(name)) for name in columns["feature"]]
    assert shares == sorted(shares, reverse=True)
    assert shares == pytest.approx(list(columns["share"]))
    assert set(columns["feature"]) == set(FEATURES)
    assert summary.note.startswith(f"What moves the decision most: {columns['feature'][0]}")
    least, largest = (np.array(columns[f"{end} share elsewhere"]) for end in ("least", "largest"))
    assert (least <= np.array(shares)).all()
    assert (np.array(shares) <= largest).all()
