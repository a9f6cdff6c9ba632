"""An exported S4D step gives the numbers of the layer, in PyTorch and in ONNX Runtime."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from finchaos.ssm.s4d import DISCRETISATIONS, S4D, S4DConfig
from finchaos.ssm.s4d_export import S4DRealStep
from tests.finchaos.ssm.s4d_tensors import normal


def layer(dtype: torch.dtype, discretisation: str = "zoh") -> S4D:
    config = S4DConfig(6, 8, discretisation=discretisation)
    return S4D(config, torch.Generator().manual_seed(1)).to(dtype).eval().requires_grad_(False)


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_real_steps_equal_the_layer(
    dtype: torch.dtype, tolerance: float, discretisation: str
) -> None:
    model = layer(dtype, discretisation)
    step, x = S4DRealStep(model), normal(50, 2, 6, dtype=dtype)
    state = model.initial_state(2)
    pairs = torch.view_as_real(state.ssm)
    for t in range(50):
        expected, state = model.step(x[t], state)
        y, pairs = step(x[t], pairs)
        torch.testing.assert_close(y, expected, rtol=0, atol=tolerance)
        torch.testing.assert_close(torch.view_as_complex(pairs), state.ssm, rtol=0, atol=tolerance)


def test_in_onnx_runtime(tmp_path: Path) -> None:
    model = layer(torch.float32)
    x, state = normal(50, 2, 6, dtype=torch.float32), model.initial_state(2)
    pairs = torch.view_as_real(state.ssm)
    path = tmp_path / "step.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        torch.onnx.export(
            S4DRealStep(model),
            (x[0], pairs),
            path,
            input_names=["x", "state"],
            output_names=["y", "next"],
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    carried = pairs.numpy()
    for t in range(50):
        expected, state = model.step(x[t], state)
        y, carried = session.run(None, {"x": x[t].numpy(), "state": carried})
        np.testing.assert_allclose(y, expected.numpy(), rtol=0, atol=2e-6)
