"""The best of many: the steps of arch, and duplicates and all-better sets that it cannot do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arch.bootstrap import StepM

from finchaos.core.errors import InputError
from governance.statistics.data_snooping import (
    confidence_set,
    superior_models,
    superior_predictive_ability,
)

RNG = np.random.default_rng(1)
MARKET = 0.01 * RNG.standard_normal(800)
NOISE = {f"m{k}": 0.5 * MARKET + 0.008 * RNG.standard_normal(800) for k in range(5)}
BETTER = NOISE | {"good": NOISE["m1"] + 0.003, "fine": NOISE["m2"] + 0.002}


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_steps_are_those_of_arch() -> None:
    found = superior_models(MARKET, BETTER, size=0.05, block=5, draws=300, rng=rng())
    losses = pd.DataFrame({name: -values for name, values in BETTER.items()})
    theirs = StepM(-MARKET, losses, size=0.05, reps=300, block_size=5, seed=3)
    theirs.compute()
    assert found == set(theirs.superior_models) == {"good", "fine"}


def test_where_all_models_are_better_the_steps_end() -> None:
    good = {"a": MARKET + 0.01 + 1e-3 * RNG.standard_normal(800), "b": MARKET + NOISE["m0"] + 0.02}
    assert superior_models(MARKET, good, size=0.05, block=5, draws=200, rng=rng()) == {"a", "b"}


def test_the_lead_of_the_best_is_told_from_noise() -> None:
    probability = superior_predictive_ability(MARKET, BETTER, block=5, draws=200, rng=rng())
    assert probability == pytest.approx(1 / 201)
    assert superior_predictive_ability(MARKET, NOISE, block=5, draws=200, rng=rng()) > 0.05


def test_the_confidence_set_drops_what_lags() -> None:
    found = confidence_set(BETTER, block=5, draws=200, rng=rng())
    assert found["good"] == 1.0
    assert found["m0"] < 0.05


def test_the_best_of_noise_is_called_better_as_often_as_the_level_says() -> None:
    said = []
    for seed in range(60):
        draw = np.random.default_rng(seed)
        models = {str(k): 0.01 * draw.standard_normal(250) for k in range(10)}
        said.append(
            superior_predictive_ability(np.zeros(250), models, block=2, draws=100, rng=draw)
        )
    assert (np.array(said) <= 0.05).mean() < 0.14


def test_returns_must_be_numbers() -> None:
    with pytest.raises(InputError):
        confidence_set({"a": np.array([1.0, np.nan])}, block=1, draws=10, rng=rng())
