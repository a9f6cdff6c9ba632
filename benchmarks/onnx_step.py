"""Our step as an ONNX model in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn


class _FlatStep(nn.Module):
    """All layers advanced by one token; states as a flat sequence of tensors."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers
        self.kinds = [type(cast(Any, layer).initial_state(1)) for layer in layers]

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        after: list[Tensor] = []
        for i, (layer, kind) in enumerate(zip(self.layers, self.kinds, strict=True)):
            x, state = cast(Any, layer).step(x, kind(states[2 * i], states[2 * i + 1]))
            after += [state.conv, state.ssm]
        return (x, *after)


def runtime_step(layers: nn.ModuleList, width: int) -> Callable[[np.ndarray], np.ndarray]:
    """A callable from a row (m,) to a row that keeps its state, run by ONNX Runtime.

    Parameters
    ----------
    layers : torch.nn.ModuleList
        Our blocks.
    width : int
        Of the rows, m.
    """
    starts = [layer.initial_state(1) for layer in cast(Any, layers)]
    states = [tensor for start in starts for tensor in (start.conv, start.ssm)]
    rows = (torch.zeros(1, width), *states)
    program: Any = torch.onnx.export(_FlatStep(layers).eval(), rows, dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [given.name for given in session.get_inputs()]
    feed = dict(zip(names, [row.numpy() for row in rows], strict=True))

    def step(x: np.ndarray) -> np.ndarray:
        feed[names[0]] = x.reshape(1, -1)
        y, *after = session.run(None, feed)
        feed.update(zip(names[1:], after, strict=True))
        row: np.ndarray = y.reshape(-1)
        return row

    return step
