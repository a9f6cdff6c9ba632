"""Mamba blocks bar by bar, in NumPy float64: what a live stream runs, and a replay of history.

One bar through two small layers is a few dozen operations on short vectors, where the overhead of
a tensor library is most of the time. And a validator asks for bit equality: the signal of a bar
may not depend on how many bars came in the same call. Therefore every product here is a product
of one row with a matrix, whatever the number of rows, and everything else is element by element;
a stream is a chunk of one row and gives the very bits of the whole history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from finchaos.ssm.mamba import NORM_EPSILON, MambaBlock

CHUNK_ROWS = 2048
"""Rows worked on at once, so that memory does not grow with the history."""


def row_product(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """``rows @ matrix``, each row by itself: its bits do not depend on the other rows.

    Parameters
    ----------
    rows : numpy.ndarray, shape (t, k)
    matrix : numpy.ndarray, shape (k, n)

    Returns
    -------
    numpy.ndarray, shape (t, n)
    """
    product: np.ndarray = np.matmul(rows[:, None, :], matrix)[:, 0, :]
    return product


def rms_normalise(rows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """RMSNorm of each row, shape (t, m)."""
    square = np.matmul(rows[:, None, :], rows[:, :, None])[:, 0]
    return rows / np.sqrt(square / rows.shape[1] + NORM_EPSILON) * weight


def _silu(x: np.ndarray) -> np.ndarray:
    gated: np.ndarray = x * expit(x)
    return gated


@dataclass(frozen=True, eq=False)
class _Weights:
    """One block's weights in float64; matrices are transposed, so that rows multiply from left."""

    norm: np.ndarray  # m
    in_proj: np.ndarray  # m 2d
    kernel: np.ndarray  # w d
    kernel_bias: np.ndarray  # d
    x_proj: np.ndarray  # d r+2n
    dt_proj: np.ndarray  # r d
    dt_bias: np.ndarray  # d
    rates: np.ndarray  # d n
    skip: np.ndarray  # d
    out_proj: np.ndarray  # d m

    @classmethod
    def of(cls, block: MambaBlock) -> _Weights:
        raw = {
            name: np.array(value.detach().cpu().numpy(), dtype=np.float64)
            for name, value in block.state_dict().items()
        }
        return cls(
            norm=raw["norm.weight"],
            in_proj=np.ascontiguousarray(raw["mixer.in_proj.weight"].T),
            kernel=np.ascontiguousarray(raw["mixer.conv1d.weight"][:, 0].T),
            kernel_bias=raw["mixer.conv1d.bias"],
            x_proj=np.ascontiguousarray(raw["mixer.x_proj.weight"].T),
            dt_proj=np.ascontiguousarray(raw["mixer.dt_proj.weight"].T),
            dt_bias=raw["mixer.dt_proj.bias"],
            rates=-np.exp(raw["mixer.A_log"]),
            skip=raw["mixer.D"],
            out_proj=np.ascontiguousarray(raw["mixer.out_proj.weight"].T),
        )


class _Layer:
    """One block with its state."""

    def __init__(self, weights: _Weights) -> None:
        self.weights = weights
        width, channels = weights.kernel.shape
        self._conv = np.zeros((width - 1, channels))
        self._state = np.zeros_like(weights.rates)

    def advance(self, x: np.ndarray) -> np.ndarray:
        w = self.weights
        channels, n = w.rates.shape
        projected = row_product(rms_normalise(x, w.norm), w.in_proj)
        u = _silu(self._convolve(np.ascontiguousarray(projected[:, :channels])))
        selected = row_product(u, w.x_proj)
        rank = len(w.dt_proj)
        low_rank = np.ascontiguousarray(selected[:, :rank])
        # softplus(x) = log(exp(0) + exp(x)), without overflow.
        delta = np.logaddexp(0.0, row_product(low_rank, w.dt_proj) + w.dt_bias)
        B, C = selected[:, rank : rank + n], selected[:, rank + n :]
        y = self._scan(u, delta, B, C) + w.skip * u
        return x + row_product(y * _silu(projected[:, channels:]), w.out_proj)

    def _convolve(self, u: np.ndarray) -> np.ndarray:
        kernel, rows = self.weights.kernel, len(u)
        padded = np.concatenate([self._conv, u])
        self._conv = padded[rows:].copy()
        total = self.weights.kernel_bias + kernel[0] * padded[:rows]
        for lag in range(1, len(kernel)):
            total += kernel[lag] * padded[lag : lag + rows]
        return total

    def _scan(self, u: np.ndarray, delta: np.ndarray, B: np.ndarray, C: np.ndarray) -> np.ndarray:
        decay = np.exp(delta[:, :, None] * self.weights.rates)
        states = (delta * u)[:, :, None] * B[:, None, :]
        held = self._state
        for decay_t, driven_t in zip(decay, states, strict=True):
            held = decay_t * held
            held += driven_t
            driven_t[:] = held
        self._state = held.copy()
        y: np.ndarray = np.matmul(states, np.ascontiguousarray(C)[:, :, None])[:, :, 0]
        return y


class MambaReplay:
    """A live session of a stack of blocks for one sequence. Time and memory per row do not grow.

    Parameters
    ----------
    blocks : sequence of MambaBlock
        Their weights are copied, so that later training does not reach the session.

    Notes
    -----
    Agrees with the PyTorch form in float64 to about 1e-14 relative; tested.
    """

    def __init__(self, blocks: Sequence[MambaBlock]) -> None:
        self._weights = tuple(_Weights.of(block) for block in blocks)
        self._layers = [_Layer(weights) for weights in self._weights]

    def fresh(self) -> MambaReplay:
        """A session with the same weights that has seen nothing."""
        other = MambaReplay(())
        other._weights = self._weights
        other._layers = [_Layer(weights) for weights in self._weights]
        return other

    def advance(self, x: np.ndarray) -> np.ndarray:
        """Outputs for the next rows.

        Parameters
        ----------
        x : numpy.ndarray, shape (t, m), float64

        Returns
        -------
        numpy.ndarray, shape (t, m)
            The same bits however the rows are cut into calls.
        """
        chunks = []
        for start in range(0, len(x), CHUNK_ROWS):
            rows = np.ascontiguousarray(x[start : start + CHUNK_ROWS])
            for layer in self._layers:
                rows = layer.advance(rows)
            chunks.append(rows)
        return np.concatenate(chunks) if chunks else np.empty_like(x)
