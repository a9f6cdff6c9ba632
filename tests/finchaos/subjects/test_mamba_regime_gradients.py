"""The decision as a function of windows: what attribution asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from tests.finchaos.subjects.small import market, trained

ENDS = np.arange(500, 1100, 40)


def test_windows_are_the_scaled_rows_up_to_each_end() -> None:
    windows = trained().feature_windows(market(), ENDS, 64)
    assert windows.shape == (len(ENDS), 64, len(trained().feature_names))
    features = trained().settings.schema_of_features.build(market())
    fitted = trained().fitted
    assert fitted is not None
    scaled = fitted.scaler.transform(features.values)
    np.testing.assert_array_equal(windows[3], scaled[ENDS[3] - 63 : ENDS[3] + 1])
    for ends in ([62], [1100]):
        with pytest.raises(InputError, match="outside the bars"):
            trained().feature_windows(market(), np.array(ends), 64)


def test_the_decision_on_the_whole_history_is_that_of_the_signals() -> None:
    windows = trained().feature_windows(market(), np.array([899]), 900)
    said = trained().decision_module()(torch.from_numpy(windows))
    signals = trained().signals(market().rows(0, 900))
    assert signals.stress_probability is not None
    assert float(said[0]) == pytest.approx(signals.stress_probability[-1], abs=1e-9)


def test_long_windows_come_close_to_the_signals() -> None:
    windows = trained().feature_windows(market(), ENDS, 250)
    said = trained().decision_module()(torch.from_numpy(windows)).numpy()
    truth = trained().signals(market()).stress_probability
    assert truth is not None
    assert np.corrcoef(said, truth[ENDS])[0, 1] > 0.95


def test_gradients_agree_with_finite_differences() -> None:
    module = trained().decision_module()
    windows = torch.from_numpy(trained().feature_windows(market(), ENDS, 40)).requires_grad_(True)
    gradient = torch.autograd.grad(module(windows).sum(), windows)[0]
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        way = torch.randn(windows.shape, dtype=torch.float64, generator=generator)
        with torch.no_grad():
            ahead, behind = (module(windows + sign * 1e-6 * way).sum() for sign in (1, -1))
        slope = float(ahead - behind) / 2e-6
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-5, abs=1e-8)


def test_randomised_weights_say_something_else() -> None:
    windows = torch.from_numpy(trained().feature_windows(market(), ENDS, 64))
    plain = trained().decision_module()(windows)
    first, again, other = (trained().randomised(s) for s in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    said = first.decision_module()(windows)
    assert torch.equal(said, again.decision_module()(windows))
    assert not torch.allclose(said, plain, atol=0.05)
    assert bool(((said >= 0) & (said <= 1)).all())


def test_the_module_can_be_moved_without_touching_the_subject() -> None:
    before = trained().digest
    module = trained().decision_module()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    fitted = trained().fitted
    assert fitted is not None
    assert trained().digest == before
    assert bool(fitted.network.embed.weight.any())
