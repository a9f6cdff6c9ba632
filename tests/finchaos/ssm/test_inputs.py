"""What the scan of Mamba-2 refuses, and that it names the tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.ssd import ssd_step
from tests.finchaos.ssm.ssd_tensors import FAST, MOVING, make, scan


def with_nan(v: torch.Tensor) -> torch.Tensor:
    v = v.clone()
    v.view(-1)[-1] = math.nan
    return v


BAD: dict[str, tuple[str, Callable[[torch.Tensor], torch.Tensor], str]] = {
    "no time": ("x", lambda v: v[:, :0], "x has a shape"),
    "missing axis": ("x", lambda v: v[..., 0], "x has a shape"),
    "dt of another length": ("dt", lambda v: v[:, 1:], "dt has a shape"),
    "dt as for Mamba-1": ("dt", lambda v: v.repeat(1, 1, 3), "dt has a shape"),
    "A of Mamba-1": ("A", lambda v: v[:, None].expand(4, 5), "A has a shape"),
    "groups that do not divide": ("B", lambda v: v[:, :, [0, 0, 1]], "C has a shape"),
    "C of another width": ("C", lambda v: v[..., :4], "C has a shape"),
    "D of another head count": ("D", lambda v: v[:3], "D has a shape"),
    "gate of another shape": ("z", lambda v: v[..., :2], "z has a shape"),
    "bias of another shape": ("dt_bias", lambda v: v[:1], "dt_bias has a shape"),
    "state of another batch": ("initial_state", lambda v: v[:1], "initial_state has a shape"),
    "state of another layer": ("initial_state", lambda v: v[..., :4], "initial_state has a shape"),
    "float32 among float64": ("B", torch.Tensor.float, "B does not fit the type"),
    "float32 state": ("initial_state", torch.Tensor.float, "initial_state does not fit the type"),
    "integers": ("x", torch.Tensor.long, "x has a type"),
    "NaN input": ("x", with_nan, "x holds 1 values that are not finite"),
    "infinite step": ("dt", lambda v: v * math.inf, "dt holds .* not finite"),
    "NaN state": ("initial_state", with_nan, "initial_state holds"),
    "NaN rate": ("A", with_nan, "A holds 1 values that are not finite"),
    "growing state": ("A", torch.Tensor.neg, "A holds positive rates"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_bad_tensors_are_refused_by_name(backend: str, case: str) -> None:
    name, spoil, message = BAD[case]
    x = make()
    with pytest.raises(InputError, match=f"^{message}"):
        scan({**x, name: spoil(x[name])}, backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": torch.tensor([1.0, 2.0])}, "lengths must hold one integer"),
        ({"lengths": torch.tensor([1])}, "lengths must hold one integer"),
        ({"lengths": torch.tensor([1, 38])}, "lengths must lie within"),
        ({"lengths": torch.tensor([-1, 3])}, "lengths must lie within"),
        ({"keep": [3, 3]}, "keep must hold increasing"),
        ({"keep": [37]}, "keep must hold increasing"),
        ({"keep": [-1]}, "keep must hold increasing"),
        ({"dt_limit": (0.2, 0.1)}, "dt_limit must be a range"),
        ({"dt_limit": (-1.0, 0.1)}, "dt_limit must be a range"),
        ({"dt_limit": (0.0, math.nan)}, "dt_limit must be a range"),
        ({"dt_softplus": False}, "dt holds negative step sizes"),
    ],
)
@pytest.mark.parametrize("backend", ["reference", *FAST])
def test_bad_options_are_refused(backend: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        scan(make(), backend, **options)


def test_groups_must_divide_heads() -> None:
    x = make()
    with pytest.raises(InputError, match="divide the heads"):
        scan({**x, "B": x["B"][:, :, [0, 0, 1]], "C": x["C"][:, :, [0, 0, 1]]}, "reference")


def test_a_bad_step_is_refused_by_name() -> None:
    x = {name: v[:, 0] if name in MOVING else v for name, v in make().items()}
    state = x.pop("initial_state")
    with pytest.raises(InputError, match=r"^state has a shape"):
        ssd_step(**x, state=state[..., :2], dt_softplus=True)
    with pytest.raises(InputError, match=r"^C holds 1 values"):
        ssd_step(**{**x, "C": with_nan(x["C"])}, state=state, dt_softplus=True)
    with pytest.raises(InputError, match="negative"):
        ssd_step(**{**x, "dt": -x["dt"].abs()}, state=state)


def test_large_finite_values_are_no_error() -> None:
    x = {name: v.float() for name, v in make().items()}
    assert scan({**x, "z": torch.full_like(x["z"], 3e38)}, "torch").y.dtype == torch.float32


def test_unknown_backend_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="native"):
        scan(make(), "native")
