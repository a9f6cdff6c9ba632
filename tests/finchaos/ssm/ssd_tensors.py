"""Tensors for the tests of the Mamba-2 scan, and its call."""

from __future__ import annotations

from typing import Any

import torch

from finchaos.ssm.backends import available_backends
from finchaos.ssm.ssd import ScanOutput, ssd_scan

Tensors = dict[str, torch.Tensor]
FAST = [name for name in available_backends() if name not in ("cuda", "reference")]
MOVING = ("x", "dt", "B", "C", "z")


def make(
    batch: int = 2,
    time: int = 37,
    heads: int = 4,
    width: int = 3,
    groups: int = 2,
    states: int = 5,
    *,
    seed: int = 0,
    skip: tuple[int, ...] = (),
) -> Tensors:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        # Values that float32 holds exactly, so that both precisions see the same numbers.
        return torch.randn(*shape, generator=g).double()

    return {
        "x": normal(batch, time, heads, width),
        "dt": normal(batch, time, heads) - 2.0,
        "A": -torch.exp(normal(heads)).float().double(),
        "B": normal(batch, time, groups, states),
        "C": normal(batch, time, groups, states),
        "D": normal(*(skip or (heads,))),
        "z": normal(batch, time, heads, width),
        "dt_bias": normal(heads),
        "initial_state": normal(batch, heads, width, states),
    }


def scan(x: Tensors, backend: str, **options: Any) -> ScanOutput:
    return ssd_scan(**x, **{"dt_softplus": True, **options}, backend=backend)
