"""Bad input to S4D is refused with the name of the tensor, what was expected and what came."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from finchaos.core.errors import InputError, UnknownNameError
from finchaos.ssm.s4d import S4D, S4DConfig, S4DState, choose_s4d_backend, s4d_kernel, s4d_step
from tests.finchaos.ssm.s4d_tensors import cast, make, normal, scan

X = make()


def changed(name: str, index: tuple[int, ...], value: float) -> torch.Tensor:
    found = X[name].clone()
    found[index] = value
    return found


BAD: dict[str, tuple[dict[str, torch.Tensor], str]] = {
    "no time": ({"u": X["u"][:, :0]}, "u has a shape"),
    "an axis too few": ({"u": X["u"][0]}, "u has a shape"),
    "other channels": ({"u": X["u"][..., :2]}, "dt has a shape"),
    "a step size for each mode": ({"dt": X["A"][..., 0]}, "dt has a shape"),
    "other modes": ({"C": X["C"][:, :2]}, "C has a shape"),
    "rates without pairs": (
        {"A": X["A"][..., :1], "C": X["C"][..., :1]},
        "A holds complex numbers",
    ),
    "complex rates": ({"A": torch.view_as_complex(X["A"])}, "A does not fit the type"),
    "a skip for each mode": ({"D": X["C"]}, "D has a shape"),
    "integers": ({"u": X["u"].long()}, "u has a type"),
    "float32 beside float64": ({"C": X["C"].float()}, "C does not fit the type"),
    "a step size in float32": ({"dt": X["dt"].float()}, "dt does not fit the type"),
    "NaN in u": ({"u": changed("u", (1, 2, 0), math.nan)}, r"u holds 1 values.*\(1, 2, 0\)"),
    "infinity in A": ({"A": changed("A", (0, 1, 1), math.inf)}, "A holds 1 values"),
    "NaN in D": ({"D": changed("D", (0,), math.nan)}, "D holds 1 values"),
    "a negative step": ({"dt": changed("dt", (0,), -0.1)}, "dt holds negative step sizes"),
    "a growing rate": ({"A": changed("A", (0, 1, 0), 0.1)}, "A holds rates with a positive"),
    "an overflow": (
        {"dt": changed("dt", (0,), 1e300), "A": changed("A", (0, 1, 1), 1e300)},
        "the product of dt and A holds",
    ),
    "a state of other modes": (
        {"initial_state": X["initial_state"][..., 1:]},
        "initial_state does",
    ),
    "a state of other rows": ({"initial_state": X["initial_state"][:1]}, "initial_state does not"),
    "a real state": ({"initial_state": X["initial_state"].real}, "initial_state does not fit"),
    "a state of complex64": ({"initial_state": X["initial_state"].to(torch.complex64)}, "initial_"),
    "NaN in the state": (
        {"initial_state": changed("initial_state", (0, 0, 0), math.nan)},
        "initial_state holds",
    ),
}


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("case", BAD)
def test_bad_tensors_are_named(case: str, backend: str) -> None:
    tensors, message = BAD[case]
    with pytest.raises(InputError, match=message):
        scan({**X, **tensors}, backend=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": torch.tensor([1, 41])}, "lengths must lie"),
        ({"lengths": torch.tensor([1.0, 2.0])}, "lengths must hold"),
        ({"lengths": torch.tensor([1])}, "lengths must hold"),
        ({"keep": [3, 3]}, "keep must hold"),
        ({"keep": [40]}, "keep must hold"),
        ({"backend": "cuda"}, "the backend 'cuda' was asked for"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scan(X, **options)


@pytest.mark.parametrize("name", ["form", "backend", "discretisation"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="named 'none'"):
        scan(X, **{name: "none"})


def test_backends_say_what_computes() -> None:
    for name in ("auto", "torch", "cpu"):
        assert choose_s4d_backend(name).name == "torch"
        assert "on the device cpu" in choose_s4d_backend(name).reason
    assert choose_s4d_backend("reference").name == "reference"
    assert choose_s4d_backend("cuda", "cuda").name == "torch"
    with pytest.raises(InputError, match="u on the device cuda"):
        choose_s4d_backend("cpu", "cuda")


def test_a_step_and_a_kernel_refuse_the_same() -> None:
    filters = {name: X[name] for name in ("dt", "A", "C")}
    with pytest.raises(InputError, match="u has a shape"):
        s4d_step(X["u"], **filters, state=X["initial_state"])
    with pytest.raises(InputError, match="state does not fit"):
        s4d_step(X["u"][:, 0], **filters, state=X["initial_state"][..., 1:])
    with pytest.raises(InputError, match="u holds 3 values"):
        s4d_step(X["u"][:, 0] / torch.tensor([[0.0], [1.0]]), **filters, state=X["initial_state"])
    with pytest.raises(InputError, match="at least one lag"):
        s4d_kernel(**filters, steps=0)
    with pytest.raises(InputError, match="dt holds negative"):
        s4d_kernel(**{**filters, "dt": -X["dt"]}, steps=3)


@pytest.mark.parametrize(
    "options",
    [
        {"d_model": 0},
        {"d_state": 0},
        {"d_state": 5},
        {"dt_min": 0.0},
        {"dt_min": 0.2},
        {"dt_max": math.inf},
    ],
)
def test_configurations_that_make_no_layer(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        S4DConfig(**{"d_model": 4, **options})


@pytest.mark.parametrize("name", ["discretisation", "init", "form", "backend"])
def test_configurations_with_unknown_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="named 'none'"):
        S4DConfig(4, **{name: "none"})


def test_a_layer_refuses_what_does_not_fit_it() -> None:
    model, x = S4D(S4DConfig(3, 8)), normal(2, 9, 3, dtype=torch.float32)
    for bad in (x[0], x[..., :2], x[:, :0], x[:0], x[0, 0]):
        with pytest.raises(InputError, match="x has a shape"):
            model(bad)
    with pytest.raises(InputError, match="x has another type than the weights"):
        model(x.double())
    with pytest.raises(InputError, match="x holds 1 values"):
        model(
            x.index_put((torch.tensor(0), torch.tensor(0), torch.tensor(0)), torch.tensor(math.inf))
        )
    other = S4D(S4DConfig(3, 4)).initial_state(2)
    with pytest.raises(InputError, match="state of another"):
        model(x, other)
    with pytest.raises(InputError, match="state of another"):
        model.step(x[:, 0], other)
    with pytest.raises(InputError, match="state of another"):
        model(x, S4DState(model.initial_state(2).ssm.real))
    with pytest.raises(InputError, match="lengths must lie"):
        model(x, lengths=torch.tensor([1, 10]))


@pytest.mark.parametrize("name", ["log_dt", "log_A_real", "A_imag", "C"])
def test_a_diverged_layer_is_named_not_used(name: str) -> None:
    model = S4D(S4DConfig(3, 8))
    with torch.no_grad():
        getattr(model.kernel, name)[0] = math.nan
    for mode in (True, False):
        model.train(mode)
        with pytest.raises(InputError, match=f"{name} holds"), torch.no_grad():
            model(normal(1, 5, 3, dtype=torch.float32))


def test_step_sizes_beyond_float64_are_refused() -> None:
    model = S4D(S4DConfig(3, 8))
    with torch.no_grad():
        model.kernel.log_dt[0] = 800.0
    with pytest.raises(InputError, match="dt"):
        model(normal(1, 5, 3, dtype=torch.float32))


def test_types_are_those_of_the_activations() -> None:
    x = cast(X, torch.float32)
    x["dt"], x["A"] = x["dt"].float(), x["A"].float()
    out = scan(x)
    assert (out.y.dtype, out.last_state.dtype) == (torch.float32, torch.complex64)
    with pytest.raises(InputError, match="C does not fit the type of u, bfloat16"):
        scan({**x, "u": x["u"].bfloat16(), "C": x["C"].bfloat16()})
