"""How far back the model looks: measured on windows, and true when bars before are altered."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError
from finchaos.ssm.introspection import influence_by_lag, memory_length
from governance.checks.attribution import Attribution
from governance.statistics.model_memory import bars_holding
from tests.finchaos.subjects.small import market, trained, untrained
from tests.planted.measurements import context_of, measure

ENDS = np.arange(600, 1100, 100)
LENGTH = 200


def altered_after(bars: Bars, row: int) -> Bars:
    """The same bars up to and including a row, others after it."""
    later = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for values in later.values():
        values[row + 1 :] *= np.linspace(1.1, 2.0, len(values) - row - 1)
    return replace(bars, **later)


def test_memory_is_measured_on_every_window() -> None:
    memory = trained().memory(market(), ENDS, LENGTH)
    assert memory.influence.shape == (len(ENDS), LENGTH)
    assert memory.influence.sum(axis=1).min() > 0.0
    (layer,) = memory.layers
    config = trained().settings.network.layer
    assert layer.shape == (config.d_inner * config.d_state,)
    assert 0 < layer.min() < layer.max() < np.inf
    assert memory.input_lookback == trained().settings.schema_of_features.lookback


def test_the_engine_says_the_same() -> None:
    fitted = trained().fitted
    assert fitted is not None
    network = copy.deepcopy(fitted.network).double()
    x = torch.from_numpy(trained().feature_windows(market(), ENDS, LENGTH))
    memory = trained().memory(market(), ENDS, LENGTH)
    lags = influence_by_lag(network.latents, x).effective_memory(0.9).numpy()
    np.testing.assert_array_equal(bars_holding(0.9, memory.influence), lags + 1)
    _, (trace,) = network.traced_latents(x)
    np.testing.assert_array_equal(memory.layers[0], memory_length(trace).flatten().numpy())


def test_bars_after_an_end_change_nothing() -> None:
    before = trained().memory(market(), ENDS, LENGTH)
    last = int(ENDS.max())
    for bars in (market().rows(0, last + 1), altered_after(market(), last)):
        after = trained().memory(bars, ENDS, LENGTH)
        np.testing.assert_array_equal(after.influence, before.influence)
        np.testing.assert_array_equal(after.layers[0], before.layers[0])
    middle = int(ENDS[2])
    after = trained().memory(altered_after(market(), middle), ENDS, LENGTH)
    np.testing.assert_array_equal(after.influence[:3], before.influence[:3])
    assert (after.influence[3:] != before.influence[3:]).any(axis=1).all()


def test_attribution_records_how_far_back_the_model_looks() -> None:
    check = Attribution(
        windows=20, compared_windows=20, length=16, steps=2, copies=1, memory_bars=300
    )
    context = context_of(market(), first_test=700, folds=1)
    found = measure(check, untrained(), context)
    assert 1 <= found.value("effective_memory") <= 300
    low, mid, high = (
        found.value("memory_length", layer="1", states=s) for s in ("5%", "median", "95%")
    )
    assert 0 < low < mid < high
    assert found.value("memory_context") == 300
    assert found.value("input_lookback") == 240
    assert {"memory", "memory_of_layers"} <= {item.name for item in found.exhibits}
    assert measure(check, untrained(), context).digests == found.digests


def test_bars_beyond_the_memory_move_the_latents_less_than_those_within() -> None:
    fitted = trained().fitted
    assert fitted is not None
    network = copy.deepcopy(fitted.network).double().eval()
    windows = trained().feature_windows(market(), ENDS, LENGTH)
    lags = bars_holding(0.9, trained().memory(market(), ENDS, LENGTH).influence) - 1
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
