"""What the compiled kernels are never given: each refusal names the tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.ssm import Mamba2Block
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.layers import BLOCKS, Kind, layer_of, mixer_of
from tests.finchaos.ssm.native.tensors import KERNELS, SCANS, Kernel, conv, conv_tensors, ssd

Spoil = Callable[[torch.Tensor], torch.Tensor]


def with_value(value: float) -> Spoil:
    def spoil(v: torch.Tensor) -> torch.Tensor:
        v = v.clone()
        v.view(-1)[-1] = value
        return v

    return spoil


def cut(v: torch.Tensor) -> torch.Tensor:
    return v[..., :-1]


SCAN: list[tuple[str, Spoil, str]] = [
    ("u", lambda v: v[:, :0], "u has a shape"),
    ("u", lambda v: v[:0], "u has a shape"),
    ("u", lambda v: v[0], "u has a shape"),
    ("u", torch.Tensor.long, "u has a type"),
    ("u", with_value(math.nan), "u holds 1 values that are not finite"),
    ("delta", cut, "delta has a shape"),
    ("delta", lambda v: v[:, 1:], "delta has a shape"),
    ("delta", with_value(math.inf), "delta holds 1 values"),
    ("A", cut, "B has a shape"),
    ("A", lambda v: v[:-1], "A has a shape"),
    ("A", lambda v: v.T, "A has a shape"),
    ("A", torch.Tensor.float, "A does not fit the type of u, float64"),
    ("A", torch.Tensor.neg, "A holds positive rates"),
    ("A", with_value(-math.inf), "A holds 1 values"),
    ("B", cut, "B has a shape"),
    ("B", lambda v: v[:1], "B has a shape"),
    ("B", torch.Tensor.float, "B does not fit the type"),
    ("C", cut, "C has a shape"),
    ("C", with_value(math.nan), "C holds 1 values"),
    ("D", cut, "D has a shape"),
    ("D", torch.Tensor.bfloat16, "D does not fit the type"),
    ("z", cut, "z has a shape"),
    ("z", with_value(math.nan), "z holds 1 values"),
    ("delta_bias", cut, "delta_bias has a shape"),
    ("delta_bias", with_value(math.nan), "delta_bias holds 1 values"),
    ("initial_state", cut, "initial_state has a shape"),
    ("initial_state", lambda v: v[:1], "initial_state has a shape"),
    ("initial_state", lambda v: v.transpose(1, 2), "initial_state has a shape"),
    ("initial_state", torch.Tensor.float, "initial_state does not fit the type"),
    ("initial_state", with_value(math.nan), "initial_state holds 1 values"),
]
SSD: list[tuple[str, Spoil, str]] = [
    ("x", lambda v: v[:, :0], "x has a shape"),
    ("x", lambda v: v[:0], "x has a shape"),
    ("x", lambda v: v.flatten(2), "x has a shape"),
    ("x", lambda v: v[:, :, :-1], "dt has a shape"),
    ("x", torch.Tensor.long, "x has a type"),
    ("x", with_value(math.nan), "x holds 1 values that are not finite"),
    ("dt", cut, "dt has a shape"),
    ("dt", lambda v: v[:, 1:], "dt has a shape"),
    ("dt", lambda v: v[..., None], "dt has a shape"),
    ("dt", torch.Tensor.float, "dt does not fit the type"),
    ("dt", with_value(math.inf), "dt holds 1 values"),
    ("A", cut, "A has a shape"),
    ("A", lambda v: v[:, None], "A has a shape"),
    ("A", torch.Tensor.float, "A does not fit the type of x, float64"),
    ("A", torch.Tensor.neg, "A holds positive rates"),
    ("A", with_value(-math.inf), "A holds 1 values"),
    ("B", cut, "C has a shape"),
    ("B", lambda v: v[:, :, :1], "C has a shape"),
    ("B", lambda v: v[:1], "B has a shape"),
    ("B", lambda v: v[:, :, 0], "B has a shape"),
    ("B", torch.Tensor.float, "B does not fit the type"),
    ("C", cut, "C has a shape"),
    ("C", with_value(math.nan), "C holds 1 values"),
    ("D", cut, "D has a shape"),
    ("D", lambda v: v[:, None], "D has a shape"),
    ("D", lambda v: v[:, None].expand(4, 4), "D has a shape"),
    ("D", torch.Tensor.bfloat16, "D does not fit the type"),
    ("D", with_value(math.nan), "D holds 1 values"),
    ("z", cut, "z has a shape"),
    ("z", lambda v: v.flatten(2), "z has a shape"),
    ("z", with_value(math.nan), "z holds 1 values"),
    ("dt_bias", cut, "dt_bias has a shape"),
    ("dt_bias", torch.Tensor.float, "dt_bias does not fit the type"),
    ("dt_bias", with_value(math.nan), "dt_bias holds 1 values"),
    ("initial_state", cut, "initial_state has a shape"),
    ("initial_state", lambda v: v[:1], "initial_state has a shape"),
    ("initial_state", lambda v: v.transpose(1, 2), "initial_state has a shape"),
    ("initial_state", lambda v: v.flatten(1, 2), "initial_state has a shape"),
    ("initial_state", torch.Tensor.float, "initial_state does not fit the type"),
    ("initial_state", with_value(math.nan), "initial_state holds 1 values"),
]
CONV: list[tuple[str, Spoil, str]] = [
    ("x", lambda v: v[:, :0], "x has a shape"),
    ("x", lambda v: v[0], "x has a shape"),
    ("x", with_value(math.nan), "x holds 1 values"),
    ("x", torch.Tensor.float, "weight does not fit the type of x"),
    ("weight", lambda v: v[:-1], "weight has a shape"),
    ("weight", lambda v: v[:, None], "weight has a shape"),
    ("weight", lambda v: v[:, :0], "weight has a shape"),
    ("weight", lambda v: v[:, 1:], "initial_state of a convolution has a shape"),
    ("weight", with_value(math.nan), "weight holds 1 values"),
    ("bias", cut, "bias has a shape"),
    ("bias", torch.Tensor.float, "bias does not fit the type"),
    ("initial_state", lambda v: v[:, 1:], "initial_state of a convolution has a shape"),
    ("initial_state", lambda v: v[:1], "initial_state of a convolution has a shape"),
    ("initial_state", with_value(math.nan), "initial_state holds 1 values"),
]


BAD = {"scan": SCAN, "ssd": SSD, "conv": CONV}


@pytest.mark.parametrize(
    ("kernel", "name", "spoil", "message"),
    [(KERNELS[kernel], *case) for kernel, cases in BAD.items() for case in cases],
)
def test_bad_tensors_are_refused_by_name(
    kernel: Kernel, name: str, spoil: Spoil, message: str
) -> None:
    tensors = kernel.make(2, 9)
    with pytest.raises(InputError, match=f"^{message}"):
        kernel.run({**tensors, name: spoil(tensors[name])})


def test_groups_that_do_not_divide_the_heads_are_refused() -> None:
    tensors = KERNELS["ssd"].make(2, 9)
    maps = {name: tensors[name][:, :, [0, 1, 0]] for name in ("B", "C")}
    with pytest.raises(InputError, match=r"^B has a number of groups"):
        ssd(tensors | maps)


@pytest.mark.parametrize("limit", [(-0.1, 1.0), (0.2, 0.1), (math.nan, 1.0)])
def test_what_is_no_range_of_step_sizes_is_refused(limit: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"^dt_limit must be a range"):
        ssd(KERNELS["ssd"].make(2, 9), dt_limit=limit)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([9.0, 9.0], "lengths must hold one integer"),
        ([9], "lengths must hold one integer"),
        ([[9], [9]], "lengths must hold one integer"),
        ([9, 10], "lengths must lie within"),
        ([-1, 9], "lengths must lie within"),
    ],
)
def test_bad_lengths_are_refused(kernel: Kernel, lengths: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        kernel.run(kernel.make(2, 9), lengths=torch.tensor(lengths))


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
@pytest.mark.parametrize("keep", [[3, 3], [4, 3], [-1], [9], [0, 9]])
def test_bad_steps_to_keep_are_refused(scan: Kernel, keep: list[int]) -> None:
    with pytest.raises(InputError, match=r"^keep must hold increasing"):
        scan.run(scan.make(2, 9), keep=keep)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS)
def test_negative_steps_are_refused_and_zero_ones_are_not(scan: Kernel) -> None:
    tensors = scan.make(2, 9, positive=True)
    step = -tensors[scan.bias].expand_as(tensors[scan.step])
    scan.run({**tensors, scan.step: step}, softplus=False)
    with pytest.raises(InputError, match=rf"^{scan.step} holds negative step sizes"):
        scan.run({**tensors, scan.step: step - 1e-9}, softplus=False)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match="activation"):
        conv(conv_tensors(2, 9, 5, 4), activation="relu")


def test_a_width_of_vectors_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="width"), use_lanes(5):
        pass


BAD_STATES: list[tuple[str, Spoil, str]] = [
    ("conv", lambda v: v[:, 1:], r"state\.conv is a state of another"),
    ("conv", lambda v: v.transpose(1, 2), r"state\.conv is a state of another"),
    ("ssm", cut, r"state\.ssm is a state of another"),
    ("ssm", lambda v: v[:1], r"state\.ssm is a state of another"),
    ("ssm", lambda v: v.flatten(1), r"state\.ssm is a state of another"),
    ("ssm", lambda v: v.transpose(1, -1), r"state\.ssm is a state of another"),
    ("ssm", torch.Tensor.float, r"state\.ssm is a state of another"),
    ("ssm", with_value(math.nan), r"state\.ssm holds 1 values"),
    ("conv", with_value(math.inf), r"state\.conv holds 1 values"),
]
every_block = pytest.mark.parametrize("kind", BLOCKS)


@every_block
@pytest.mark.parametrize(("name", "spoil", "message"), BAD_STATES)
def test_a_layer_refuses_states_that_are_not_its_own(
    kind: Kind, name: str, spoil: Spoil, message: str
) -> None:
    layer = layer_of(kind, "cpu")
    state = vars(layer.initial_state(2))
    make: Any = mixer_of(layer).state_type
    with pytest.raises(InputError, match=f"^{message}"):
        layer(torch.ones(2, 9, 6).double(), make(**{**state, name: spoil(state[name])}))


@every_block
def test_a_layer_refuses_the_states_of_the_other_kind(kind: Kind) -> None:
    layer, other = (layer_of(k, "cpu") for k in (kind, *(k for k in BLOCKS if k is not kind)))
    with pytest.raises(InputError, match=r"^this is no state of the layer"):
        layer(torch.ones(2, 9, 6).double(), other.initial_state(2))


@every_block
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 9, 5).double(), "x has a shape"),
        (torch.ones(2, 0, 6).double(), "x has a shape"),
        (torch.ones(9, 6).double(), "x has a shape"),
        (torch.ones(2, 9, 6), "x has another type"),
        (torch.full((2, 9, 6), math.nan).double(), "x holds 108 values"),
    ],
)
def test_a_layer_refuses_inputs_that_do_not_fit(kind: Kind, x: torch.Tensor, message: str) -> None:
    layer = layer_of(kind, "cpu")
    with pytest.raises(InputError, match=f"^{message}"):
        layer(x)


@every_block
@pytest.mark.parametrize("lengths", [[10, 1], [-1, 1], [1]])
def test_a_layer_refuses_lengths_outside_the_sequence(kind: Kind, lengths: list[int]) -> None:
    layer = layer_of(kind, "cpu")
    with pytest.raises(InputError, match=r"^lengths must"):
        layer(torch.ones(2, 9, 6).double(), lengths=torch.tensor(lengths))


@every_block
@pytest.mark.parametrize("variant", [{}, {"dt_limit": (0.005, 0.05)}, {"rmsnorm": False}], ids=str)
def test_a_weight_that_is_not_a_number_is_refused(kind: Kind, variant: dict[str, Any]) -> None:
    """The kernels compare and cut to ranges; what training broke must still show."""
    sizes = variant if kind is Mamba2Block else {}
    x = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for name, _ in layer_of(kind, "cpu", **sizes).named_parameters():
        layer = layer_of(kind, "cpu", **sizes)
        with torch.no_grad():
            layer.get_parameter(name).view(-1)[1] = math.nan
        with pytest.raises(InputError, match=r"the layer's weight \w+ holds \d+ values"):
            layer(x)


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_forward_mode_is_refused_where_it_would_give_zeros(kernel: Kernel) -> None:
    for name, tensor in kernel.make(2, 5).items():
        if not tensor.is_floating_point():
            continue

        def run(v: torch.Tensor, name: str = name) -> torch.Tensor:
            return kernel.run({**kernel.make(2, 5), name: v})["y"]

        with pytest.raises(InputError, match=f"{name} carries a tangent"):
            torch.func.jvp(run, (tensor,), (torch.ones_like(tensor),))


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_layer_refuses_forward_mode_too(kind: Kind) -> None:
    layer, x = layer_of(kind, "cpu"), torch.ones(2, 5, 6, dtype=torch.float64)
    with (
        torch.autograd.forward_ad.dual_level(),
        pytest.raises(InputError, match="x carries a tangent"),
    ):
        layer(torch.autograd.forward_ad.make_dual(x, x))
