"""How far back the model looks: measured on windows, and true when bars before are altered."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.subjects.mamba_regime.memory import memory_of
from tests.finchaos.subjects.small import market, trained, untrained

ENDS = np.arange(600, 1100, 100)
LENGTH = 200


def test_memory_is_measured_on_every_window() -> None:
    memory = trained().memory(market(), ENDS, LENGTH)
    assert len(memory.latents) == len(ENDS)
    assert all(0 <= lag < LENGTH for lag in memory.latents)
    ((low, mid, high),) = memory.layers
    assert 0 < low < mid < high < np.inf
    further = trained().memory(market(), ENDS, LENGTH, share=0.99)
    assert all(a <= b for a, b in zip(memory.latents, further.latents, strict=True))
    assert further.layers == memory.layers


def test_bars_beyond_the_memory_move_the_latents_less_than_those_within() -> None:
    fitted = trained().fitted
    assert fitted is not None
    network = copy.deepcopy(fitted.network).double().eval()
    windows = trained().feature_windows(market(), ENDS, LENGTH)
    lags = trained().memory(market(), ENDS, LENGTH).latents
    noise = 1e-4 * np.random.default_rng(1).normal(size=windows.shape)
    back = np.arange(LENGTH)[::-1, None]
    for window, lag, shake in zip(windows, lags, noise, strict=True):
        moved = []
        for where in (back <= lag, back > lag):
            pair = torch.from_numpy(np.stack([window, window + shake * where]))
            with torch.no_grad():
                before, after = network.latents(pair)[:, -1]
            moved.append(float((after - before).norm()))
        assert moved[0] > moved[1]


def test_the_model_stays_as_it_was() -> None:
    before = trained().digest
    trained().memory(market(), ENDS, 64)
    assert trained().digest == before
    fitted = trained().fitted
    assert fitted is not None
    assert next(fitted.network.parameters()).dtype == torch.float32


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="not been trained"):
        untrained().memory(market(), ENDS, LENGTH)
    with pytest.raises(InputError, match="outside the bars"):
        trained().memory(market(), np.array([10]), LENGTH)
    fitted = trained().fitted
    assert fitted is not None
    with pytest.raises(InputError, match="share must lie between"):
        memory_of(fitted.network, trained().feature_windows(market(), ENDS, 20), share=90.0)
