"""Networks of another kind, of as many parameters as a stack of state-space layers.

A multi-layer LSTM of PyTorch, and a causal Transformer: pre-norm, scaled dot-product attention by
PyTorch's fused kernel, a two-layer perceptron; without a positional code, which only costs time.
Both map (b t m) to (b t m) and advance by one token too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

HEAD_WIDTH = 32


class LSTMStack(nn.Module):
    """``torch.nn.LSTM`` and a map back to the model width.

    Parameters
    ----------
    d_model, layers : int
    parameters : int
        Wanted number of parameters; the hidden width is the nearest to it.
    """

    def __init__(self, d_model: int, layers: int, parameters: int) -> None:
        super().__init__()

        def count(hidden: int) -> int:
            deeper = (layers - 1) * (8 * hidden**2 + 8 * hidden)
            return 4 * hidden * (d_model + hidden + 2) + deeper + d_model * (hidden + 1)

        hidden = _nearest(count, parameters)
        self.lstm = nn.LSTM(d_model, hidden, layers, batch_first=True)
        self.readout = nn.Linear(hidden, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """From (b t m) to (b t m)."""
        return self.step(x, None)[0]

    def step(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As ``forward``, from a state, which comes back advanced."""
        hidden, state = self.lstm(x, state)
        return self.readout(hidden), state


class CausalTransformer(nn.Module):
    """Causal pre-norm Transformer.

    Parameters
    ----------
    d_model, layers : int
    parameters : int
        Wanted number of parameters; the width of the perceptrons is the nearest to it.
    """

    def __init__(self, d_model: int, layers: int, parameters: int) -> None:
        super().__init__()

        def count(hidden: int) -> int:
            attention = 4 * d_model**2 + 4 * d_model
            perceptron = 2 * d_model * hidden + hidden + d_model
            return layers * (attention + perceptron + 4 * d_model)

        hidden = _nearest(count, parameters)
        self.layers = nn.ModuleList(_AttentionBlock(d_model, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """From (b t m) to (b t m)."""
        for layer in self.layers:
            x = layer(x)
        return x

    def step(self, x: Tensor, caches: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The last token of a context, (b 1 m); its keys and values replace the last cached ones.

        Parameters
        ----------
        x : torch.Tensor, shape (b, 1, m)
        caches : list of (keys, values), each of shape (b, heads, context, head width)
            One pair a layer. A context of constant length, so that every call does the same work.
        """
        for layer, cache in zip(self.layers, caches, strict=True):
            x = layer(x, cache)
        return x


class _AttentionBlock(nn.Module):
    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.query_key_value = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.widen, self.narrow = nn.Linear(d_model, hidden), nn.Linear(hidden, d_model)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None) -> Tensor:
        b, t, m = x.shape
        parts = self.query_key_value(self.norm_attention(x)).view(b, t, 3, -1, min(m, HEAD_WIDTH))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if cache is not None:
            cache[0][:, :, -1:], cache[1][:, :, -1:] = key, value
            key, value = cache
        seen = scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        x = x + self.out(seen.transpose(1, 2).reshape(b, t, m))
        perceptron: Tensor = self.narrow(gelu(self.widen(self.norm_perceptron(x))))
        return x + perceptron


def parameters_of(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in network.parameters())


def full_caches(
    network: CausalTransformer, context: int, width: int
) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of a context that was seen, for a batch of one."""
    heads = width // min(width, HEAD_WIDTH)
    shape = (1, heads, context, min(width, HEAD_WIDTH))
    return [(torch.randn(shape), torch.randn(shape)) for _ in network.layers]


def _nearest(count: Callable[[int], int], wanted: int) -> int:
    """The width whose network has a number of parameters closest to the wanted one."""
    width = 1
    while count(width + 1) < wanted:
        width += 1
    return min((width, width + 1), key=lambda candidate: abs(count(candidate) - wanted))
