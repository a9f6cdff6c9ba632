"""What layers and scans refuse, in words that name the tensor, what was wanted and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from finchaos.core.errors import InputError
from finchaos.ssm import (
    S4D,
    Mamba,
    Mamba2,
    Mamba2Block,
    Mamba2Config,
    MambaBlock,
    MambaConfig,
    S4DConfig,
    causal_conv,
    s4d_scan,
    selective_scan,
    ssd_scan,
)

MAMBA, MAMBA2, S4D_SIZES = MambaConfig(6, 3), Mamba2Config(6, 3, headdim=4), S4DConfig(6, 4)
LAYERS: dict[str, Callable[[], Any]] = {
    "Mamba": lambda: Mamba(MAMBA),
    "MambaBlock": lambda: MambaBlock(MAMBA),
    "MambaBlock by parts": lambda: MambaBlock(replace(MAMBA, backend="torch")),
    "Mamba2": lambda: Mamba2(MAMBA2),
    "Mamba2Block": lambda: Mamba2Block(MAMBA2),
    "Mamba2Block by parts": lambda: Mamba2Block(replace(MAMBA2, backend="torch")),
    "S4D": lambda: S4D(S4D_SIZES),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def scan_inputs(**changed: Any) -> dict[str, Any]:
    moving = {"u": (2, 5, 3), "delta": (2, 5, 3), "B": (2, 5, 4), "C": (2, 5, 4)}
    return {n: torch.ones(s) for n, s in moving.items()} | {"A": -torch.ones(3, 4)} | changed


def ssd_inputs(**changed: Any) -> dict[str, Any]:
    moving = {"x": (2, 5, 4, 3), "dt": (2, 5, 4), "B": (2, 5, 2, 6), "C": (2, 5, 2, 6)}
    return {n: torch.ones(s) for n, s in moving.items()} | {"A": -torch.ones(4)} | changed


@every_layer
@pytest.mark.parametrize(
    ("spoil", "got"), [(lambda x: x.numpy(), r"numpy\.ndarray"), (lambda x: x.tolist(), "list")]
)
def test_a_layer_wants_a_tensor(name: str, spoil: Callable[[Any], Any], got: str) -> None:
    layer, x = LAYERS[name](), torch.ones(2, 5, 6)
    message = rf"^x is no tensor; expected torch\.Tensor; got {got}; pass torch\.as_tensor\(x\)"
    with pytest.raises(InputError, match=message):
        layer(spoil(x))
    with pytest.raises(InputError, match=message):
        layer.step(spoil(x[:, 0]), layer.initial_state(2))


@every_layer
@pytest.mark.parametrize("state", [(1, 2), "state", torch.ones(2, 3)])
def test_a_layer_wants_a_state_of_its_kind(name: str, state: Any) -> None:
    layer, x = LAYERS[name](), torch.ones(2, 5, 6)
    with pytest.raises(InputError, match=rf"^this is no state .*State; got {type(state).__name__}"):
        layer(x, state)
    with pytest.raises(InputError, match=r"^this is no state .*initial_state\(batch\)"):
        layer.step(x[:, 0], state)
    with pytest.raises(InputError, match=r"^this is no state of the layer.*got NoneType"):
        layer.step(x[:, 0], None)


@every_layer
def test_every_layer_has_the_same_words_for_a_foreign_state(name: str) -> None:
    layer, x = LAYERS[name](), torch.ones(2, 5, 6)
    own = layer.initial_state(2)
    kind = type(own)
    double = kind(**{part: value.to(value.dtype.to_complex()) for part, value in vars(own).items()})
    if name == "S4D":
        double = kind(own.ssm.to(torch.complex128))
    message = (
        r"^state\.(conv|ssm) is a state of another configuration, batch or type; expected shape"
    )
    for foreign in (layer.initial_state(3), double):
        with pytest.raises(InputError, match=message):
            layer(x, foreign)
        with pytest.raises(InputError, match=message):
            layer.step(x[:, 0], foreign)
    if name != "S4D":
        with pytest.raises(InputError, match=message):
            layer.trace(x, state=layer.initial_state(1))


def test_a_state_of_the_other_kind_is_named() -> None:
    x = torch.ones(2, 5, 6)
    of_2 = Mamba2(MAMBA2).initial_state(2)
    with pytest.raises(InputError, match="expected MambaState; got Mamba2State"):
        Mamba(MAMBA)(x, of_2)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected S4DState; got Mamba2State"):
        S4D(S4D_SIZES)(x, of_2)  # type: ignore[arg-type]


@every_layer
def test_a_step_names_the_place_in_its_input(name: str) -> None:
    layer, row = LAYERS[name](), torch.ones(2, 6)
    row[1, 3] = math.nan
    with pytest.raises(InputError, match=r"^x holds 1 values .* nan at \(1, 3\)"):
        layer.step(row, layer.initial_state(2))


@every_layer
def test_an_axis_is_missing(name: str) -> None:
    with pytest.raises(InputError, match=r"got \(5, 6\); add the axis of the batch"):
        LAYERS[name]()(torch.ones(5, 6))


@pytest.mark.parametrize("size", [0, -1, 8.5, 8.0, "8", None, True])
@pytest.mark.parametrize(
    ("config", "field"),
    [
        (MAMBA, "d_model"),
        (MAMBA, "expand"),
        (MAMBA2, "d_model"),
        (MAMBA2, "headdim"),
        (MAMBA2, "chunk_size"),
        (S4D_SIZES, "d_model"),
        (S4D_SIZES, "d_state"),
    ],
)
def test_sizes_are_whole_numbers(config: Any, field: str, size: Any) -> None:
    with pytest.raises(InputError, match=rf"whole numbers; expected {field} an integer from 1"):
        replace(config, **{field: size})


@every_layer
@pytest.mark.parametrize("batch", [0, -1, 1.5, "2"])
def test_a_batch_is_a_whole_number(name: str, batch: Any) -> None:
    with pytest.raises(InputError, match="batch an integer from 1"):
        LAYERS[name]().initial_state(batch)


@pytest.mark.parametrize("limit", [None, 3.0, (0.1,), ("a", "b"), (0.2, 0.1), (0.0, math.nan)])
def test_a_limit_of_steps_is_a_range(limit: Any) -> None:
    with pytest.raises(InputError, match=r"^dt_limit must be a range"):
        replace(MAMBA2, dt_limit=limit)
    with pytest.raises(InputError, match=r"^dt_limit must be a range"):
        ssd_scan(**ssd_inputs(), dt_limit=limit)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"u": np.zeros((2, 5, 3), np.float32)}, r"^u is no tensor; .* got numpy\.ndarray; pass"),
        ({"u": [[[1.0]]]}, r"^u is no tensor; expected torch\.Tensor; got list"),
        ({"D": 1.0}, r"^D is no tensor; .* got float"),
        ({"lengths": [5, 3]}, r"^lengths is no tensor; .* torch\.as_tensor\(lengths\)"),
        ({"keep": 3}, r"^keep must .* a sequence of integers from 0 to 4; got 3"),
        ({"keep": [1.5]}, r"^keep must .* integers"),
        ({"keep": torch.tensor([1.5])}, r"^keep must .* integers"),
        ({"u": torch.ones(5, 3)}, r"^u has .* expected \(b, t, d\), 3 axes; got \(5, 3\)$"),
        (
            {"u": torch.ones(2, 5, 7), "delta": torch.ones(2, 5, 7)},
            r"^A has a shape that does not fit u; expected \(d, n\) with d = 7 as in u; got",
        ),
        (
            {"u": torch.ones(2, 3, 5), "delta": torch.ones(2, 3, 5)},
            r"^A has .* perhaps the axes of u are exchanged: its t is 3",
        ),
        ({"B": torch.ones(2, 4, 5)}, r"^B has .* fit u and A; .* b = 2, t = 5 as in u, n = 4 as"),
        ({"B": torch.ones(2, 4, 5)}, r"the axes of B look exchanged$"),
        ({"A": -torch.ones(3, 4).double()}, r"got float64; convert A$"),
    ],
)
def test_a_scan_says_what_does_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        selective_scan(**scan_inputs(**changed))


def test_the_remark_on_lower_precision_comes_only_there() -> None:
    low = {name: v.bfloat16() for name, v in scan_inputs().items()}
    with pytest.raises(InputError, match="convert A; parameters and states stay in float32"):
        selective_scan(**low)


def test_other_doors_want_tensors_too() -> None:
    with pytest.raises(InputError, match=r"^x is no tensor"):
        ssd_scan(**ssd_inputs(x=np.ones((2, 5, 4, 3))))
    with pytest.raises(InputError, match=r"^initial_state is no tensor"):
        ssd_scan(**ssd_inputs(), initial_state=0.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^weight is no tensor"):
        causal_conv(torch.ones(2, 5, 3), np.ones((3, 4)))  # type: ignore[arg-type]
    pairs = -torch.ones(3, 4, 2)
    with pytest.raises(InputError, match=r"^dt is no tensor"):
        s4d_scan(torch.ones(2, 5, 3), [1.0], pairs, pairs)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"^initial_state is no tensor"):
        s4d_scan(torch.ones(2, 5, 3), torch.ones(3), pairs, pairs, initial_state=[0])  # type: ignore[arg-type]


def test_a_row_of_length_nothing_is_all_padding() -> None:
    out = selective_scan(**scan_inputs(), lengths=torch.tensor([0, 5]))
    assert not out.y[0].any()
    assert not out.last_state[0].any()
    assert out.y[1].all()
