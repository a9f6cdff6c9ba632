"""The networks that are compared, all with one face: built from sizes and weights, (b t m) to same.

Packages that have the same model get the same weights: the names of the state dicts agree, and
loading is strict. The others are given as many parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.baselines import CausalTransformer, LSTMStack
from finchaos.ssm import MambaBlock, MambaConfig
from finchaos.ssm.cuda.ssd import CHUNK_STEPS
from finchaos.ssm.mamba import RMSNorm
from finchaos.ssm.mamba2 import Mamba2Block
from finchaos.ssm.mamba2_config import Mamba2Config

Weights = Mapping[str, Tensor]
SEED = 7


@dataclass(frozen=True)
class Shape:
    """Sizes of a stack of layers.

    Attributes
    ----------
    family : str
        ``mamba`` or ``mamba2``.
    d_model, d_state, layers : int
    headdim : int
        Of Mamba-2.
    """

    family: str
    d_model: int
    d_state: int
    layers: int = 4
    headdim: int = 32

    @property
    def label(self) -> str:
        """In words."""
        name = "Mamba-1" if self.family == "mamba" else f"Mamba-2 headdim {self.headdim}"
        return f"{name} d{self.d_model} x{self.layers}, N{self.d_state}"


MAMBA_64, MAMBA_128 = Shape("mamba", 64, 16), Shape("mamba", 128, 16)
MAMBA2_64, MAMBA2_128 = Shape("mamba2", 64, 64), Shape("mamba2", 128, 64)


class OurStack(nn.Module):
    """Our blocks one after the other."""

    def __init__(
        self, shape: Shape, backend: str, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _our_block(shape, backend, generator) for _ in range(shape.layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """From (b t m) to (b t m)."""
        for layer in self.layers:
            x, _ = layer(x)
        return x


class _TheirStack(nn.Module):
    """Blocks of another package that map a tensor to a tensor."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def common_weights(shape: Shape) -> Weights:
    """Initial weights that every package with this model is given."""
    generator = torch.Generator().manual_seed(SEED)
    return OurStack(shape, "reference", generator).state_dict()


def ours(shape: Shape, weights: Weights, backend: str = "auto") -> OurStack:
    """Our stack, computed by a backend."""
    network = OurStack(shape, backend)
    network.load_state_dict(weights)
    return network


def mambapy(shape: Shape, weights: Weights, *, parallel: bool = True) -> nn.Module:
    """The package mambapy with its parallel scan, or its sequential one."""
    from mambapy.mamba import Mamba, MambaConfig

    network: nn.Module = Mamba(
        MambaConfig(
            d_model=shape.d_model, n_layers=shape.layers, d_state=shape.d_state, pscan=parallel
        )
    )
    network.load_state_dict(weights)
    return network


def transformers(shape: Shape, weights: Weights, chunk: int | None = None) -> nn.Module:
    """The blocks of the package transformers, without embedding and last norm."""
    network = _TheirStack(transformers_model(shape, chunk).layers)
    network.load_state_dict(weights)
    return network


def transformers_model(shape: Shape, chunk: int | None = None) -> Any:
    """Model of the package transformers, with its own weights."""
    from transformers import Mamba2Config, Mamba2Model, MambaConfig, MambaModel
    from transformers.utils import logging

    # It warns at every layer that kernels for GPUs are absent.
    cast(Any, logging).set_verbosity_error()
    sizes: dict[str, Any] = {
        "vocab_size": 2,
        "hidden_size": shape.d_model,
        "state_size": shape.d_state,
        "num_hidden_layers": shape.layers,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if shape.family == "mamba":
        return MambaModel(MambaConfig(**sizes))
    heads: dict[str, Any] = {
        "head_dim": shape.headdim,
        "num_heads": 2 * shape.d_model // shape.headdim,
    }
    chunks: dict[str, Any] = {} if chunk is None else {"chunk_size": chunk}
    return Mamba2Model(Mamba2Config(**sizes, **heads, **chunks, n_groups=1))


def mamba_ssm(shape: Shape, weights: Weights) -> nn.Module:
    """The layers of the package mamba-ssm in residual blocks like ours; they need a GPU."""
    from mamba_ssm import Mamba, Mamba2

    sizes: dict[str, Any] = {"d_model": shape.d_model, "d_state": shape.d_state}
    if shape.family == "mamba2":
        sizes |= {"headdim": shape.headdim, "chunk_size": CHUNK_STEPS}
    kind = Mamba if shape.family == "mamba" else Mamba2
    blocks = (_Residual(RMSNorm(shape.d_model), kind(**sizes)) for _ in range(shape.layers))
    network = _TheirStack(nn.ModuleList(blocks))
    network.load_state_dict(weights)
    return network


class _Residual(nn.Module):
    """A layer after a norm and beside a skip connection, (b t m) to same."""

    def __init__(self, norm: nn.Module, mixer: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.mixer = mixer

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mixer(self.norm(x))
        return x + mixed


def lstm(shape: Shape, weights: Weights) -> LSTMStack:
    """An LSTM of as many parameters."""
    return LSTMStack(shape.d_model, shape.layers, _count(weights))


def transformer(shape: Shape, weights: Weights) -> CausalTransformer:
    """A causal Transformer of as many parameters."""
    return CausalTransformer(shape.d_model, shape.layers, _count(weights))


@dataclass(frozen=True)
class Peer:
    """A network to compare with.

    Attributes
    ----------
    name : str
        For tables.
    build : callable
        From sizes and weights to a module.
    same_model : bool
        Whether it is our model, so that outputs and gradients must agree.
    """

    name: str
    build: Callable[[Shape, Weights], nn.Module]
    same_model: bool = True


PEERS: Mapping[str, Peer] = {
    "mambapy": Peer("mambapy, parallel scan", mambapy),
    "mambapy_loop": Peer("mambapy, sequential", partial(mambapy, parallel=False)),
    "transformers": Peer("transformers, default path", transformers),
    "transformers_64": Peer("transformers, chunks of 64", partial(transformers, chunk=64)),
    "loop": Peer("torch, sequential loop (our reference)", partial(ours, backend="reference")),
    "fallback": Peer("ours without a compiler", partial(ours, backend="torch")),
    "lstm": Peer("torch.nn.LSTM, equal parameters", lstm, same_model=False),
    "transformer": Peer(
        "causal Transformer (SDPA), equal parameters", transformer, same_model=False
    ),
}


def _our_block(shape: Shape, backend: str, generator: torch.Generator | None) -> nn.Module:
    sizes: dict[str, Any] = {"d_state": shape.d_state, "backend": backend}
    if shape.family == "mamba":
        return MambaBlock(MambaConfig(shape.d_model, **sizes), generator)
    return Mamba2Block(Mamba2Config(shape.d_model, headdim=shape.headdim, **sizes), generator)


def _count(weights: Weights) -> int:
    return sum(weight.numel() for weight in weights.values())
