"""Our step as an ONNX model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
from torch import nn

from finchaos.ssm.export import onnx_step, start_tensors, tensor_names


def runtime_step(layers: nn.ModuleList, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """A callable from a row (m,) to a row that keeps its state, run by ONNX Runtime.

    Parameters
    ----------
    layers : torch.nn.ModuleList
        Our blocks.
    width : int
        Of the rows, m.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_step(layers), options, providers=["CPUExecutionProvider"]
    )
    (row, *names), _ = tensor_names(layers)
    feed = dict(zip(names, [state.numpy() for state in start_tensors(layers)], strict=True))

    def step(x: np.ndarray) -> np.ndarray:
        y, *after = session.run(None, {row: x.reshape(1, width), **feed})
        feed.update(zip(names, after, strict=True))
        found: np.ndarray = y.reshape(-1)
        return found

    return step
