"""Tensors of an S4D scan, for the tests of the scan and of the layer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from finchaos.ssm.s4d import s4d_scan
from finchaos.ssm.ssd import ScanOutput

FORMS = ("chunked", "fft")

Tensors = dict[str, Tensor]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def make(b: int = 2, t: int = 40, h: int = 3, n: int = 4, seed: int = 0) -> Tensors:
    """Inputs, filters as they are initialised with step sizes from 1e-3 to 0.1, and a state."""
    real = torch.full((h, n), -0.5, dtype=torch.float64)
    imag = math.pi * torch.arange(n, dtype=torch.float64).expand(h, n)
    return {
        "u": normal(b, t, h, seed=seed),
        "dt": torch.logspace(-3, -1, h, dtype=torch.float64),
        "A": torch.stack([real, imag], -1),
        "C": normal(h, n, 2, seed=seed + 1),
        "D": normal(h, seed=seed + 2),
        "initial_state": torch.view_as_complex(normal(b, h, n, 2, seed=seed + 3)),
    }


def cast(x: Tensors, dtype: torch.dtype) -> Tensors:
    """Activations, C, D and state in a type; step sizes and rates stay in float64."""
    kinds = {"initial_state": dtype.to_complex(), "dt": torch.float64, "A": torch.float64}
    return {name: v.detach().to(kinds.get(name, dtype)) for name, v in x.items()}


def scan(x: Tensors, **options: Any) -> ScanOutput:
    return s4d_scan(**x, **options)


def deviation(found: Tensor, expected: Tensor) -> float:
    """Relative to the largest value."""
    size = float(expected.detach().abs().max())
    return float((found.detach() - expected.detach()).abs().max()) / max(size, 1.2e-38)
