"""What the tests against other packages share: a whole model of ours, and oracles in float64."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.double import InDouble
from finchaos.ssm.mamba import MambaBlock, MambaConfig, RMSNorm
from finchaos.ssm.mamba2 import Mamba2Block
from finchaos.ssm.stack_config import StackConfig

__all__ = ["InDouble", "Stack"]


class Stack(nn.Module):
    """A model with our names, with embedding and head where the configuration has a vocabulary."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        layer, width = config.layer, config.layer.d_model
        self.layers = nn.ModuleList(
            MambaBlock(layer) if isinstance(layer, MambaConfig) else Mamba2Block(layer)
            for _ in range(config.n_layers)
        )
        self.embedding = self.norm_f = self.lm_head = None
        if config.vocab_size is not None:
            self.embedding = nn.Embedding(config.vocab_size, width)
            self.norm_f = RMSNorm(width)
            self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
            if config.tied:
                self.lm_head.weight = self.embedding.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From embedded rows (b t m), or tokens (b t) where there is a vocabulary."""
        if self.embedding is not None:
            x = self.embedding(x)
        for layer in self.layers:
            x, _ = layer(x)
        return self._head(x)

    def stream(self, x: torch.Tensor) -> torch.Tensor:
        """As ``forward``, one step after the other."""
        states = [layer.initial_state(len(x)) for layer in self.layers]
        outputs = []
        for now in (x if self.embedding is None else self.embedding(x)).unbind(1):
            for i, layer in enumerate(self.layers):
                now, states[i] = layer.step(now, states[i])
            outputs.append(now)
        return self._head(torch.stack(outputs, 1))

    def _head(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.norm_f is None or self.lm_head is None else self.lm_head(self.norm_f(x))
