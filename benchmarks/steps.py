"""One token after the other: every peer as a callable from a row (m,) to a row (m,).

Each keeps its own state between calls, so that fed the same rows the same models must give the
same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import peers
from benchmarks.baselines import full_caches
from benchmarks.onnx_step import runtime_step
from benchmarks.peers import Shape, Weights
from finchaos.ssm import compile_stream

Step = Callable[[np.ndarray], np.ndarray]
SHORT_CONTEXT, LONG_CONTEXT = 128, 2048


def stream(shape: Shape, weights: Weights, backend: str = "auto") -> Step:
    """Our streaming engine: all layers in one call."""
    return compile_stream(peers.ours(shape, weights).eval().layers, backend=backend).step


def engine(shape: Shape, backend: str) -> str:
    """What advances our stream, and why."""
    layers = peers.ours(shape, peers.common_weights(shape)).layers
    choice = compile_stream(layers, backend=backend).engine
    return f"{choice.name}, {choice.reason}"


def eager(shape: Shape, weights: Weights) -> Step:
    """Our blocks stepped one by one in PyTorch."""
    layers: list[Any] = list(peers.ours(shape, weights, "torch").eval().layers)
    states = [layer.initial_state(1) for layer in layers]

    def step(x: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(x).unsqueeze(0)
        with torch.inference_mode():
            for i, layer in enumerate(layers):
                row, states[i] = layer.step(row, states[i])
        return _numpy(row)

    return step


def mambapy(shape: Shape, weights: Weights) -> Step:
    """``Mamba.step`` of mambapy."""
    network: Any = peers.mambapy(shape, weights).eval()
    inner = 2 * shape.d_model
    caches = [(None, torch.zeros(1, inner, 3)) for _ in range(shape.layers)]

    def step(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            row, _ = network.step(torch.from_numpy(x).unsqueeze(0), caches)
        return _numpy(row)

    return step


def transformers(shape: Shape, weights: Weights) -> Step:
    """The blocks of transformers with their cache, without embedding and last norm."""
    from transformers import DynamicCache

    model = peers.transformers_model(shape).eval()
    model.layers.load_state_dict({k.removeprefix("layers."): v for k, v in weights.items()})
    cache = DynamicCache(config=model.config)

    def step(x: np.ndarray) -> np.ndarray:
        row = torch.from_numpy(x).view(1, 1, -1)
        with torch.inference_mode():
            for layer in model.layers:
                row = layer(row, cache=cache)
        return _numpy(row)

    return step


def lstm(shape: Shape, weights: Weights) -> Step:
    """``torch.nn.LSTM`` on a sequence of one."""
    network = peers.lstm(shape, weights).eval()
    state = None

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            row, state = network.step(torch.from_numpy(x).view(1, 1, -1), state)
        return _numpy(row)

    return step


def transformer(shape: Shape, weights: Weights, context: int) -> Step:
    """The causal Transformer with cached keys and values, at a constant context."""
    network = peers.transformer(shape, weights).eval()
    caches = full_caches(network, context, shape.d_model)

    def step(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return _numpy(network.step(torch.from_numpy(x).view(1, 1, -1), caches))

    return step


def onnx(shape: Shape, weights: Weights) -> Step:
    """``run()`` of ONNX Runtime on our export, one thread."""
    layers: nn.ModuleList = peers.ours(shape, weights, "torch").eval().layers
    return runtime_step(layers, shape.d_model)


@dataclass(frozen=True)
class StepPeer:
    """A way to advance by one token.

    Attributes
    ----------
    name : str
        For tables.
    build : callable
        From sizes and weights to a callable with a fresh state.
    families : tuple of str
        Of the shapes it can do.
    same_model : bool
        Whether its rows must be ours.
    """

    name: str
    build: Callable[[Shape, Weights], Step]
    families: tuple[str, ...] = ("mamba", "mamba2")
    same_model: bool = True


OURS = "stream"
STEPS: Mapping[str, StepPeer] = {
    OURS: StepPeer("ours, compile_stream", stream),
    "eager": StepPeer("ours, blocks in PyTorch", eager),
    "mambapy": StepPeer("mambapy step", mambapy, families=("mamba",)),
    "transformers": StepPeer("transformers with cache", transformers),
    "onnx": StepPeer("ONNX Runtime run() of our export", onnx),
    "lstm": StepPeer("torch.nn.LSTM, equal parameters", lstm, same_model=False),
    "transformer_short": StepPeer(
        f"causal Transformer, context {SHORT_CONTEXT}",
        partial(transformer, context=SHORT_CONTEXT),
        same_model=False,
    ),
    "transformer_long": StepPeer(
        f"causal Transformer, context {LONG_CONTEXT}",
        partial(transformer, context=LONG_CONTEXT),
        same_model=False,
    ),
}


def _numpy(row: torch.Tensor) -> np.ndarray:
    found: np.ndarray = row.view(-1).numpy()
    return found
