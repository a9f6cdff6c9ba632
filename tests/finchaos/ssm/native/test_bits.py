"""What must be equal to the last bit: any number of threads, the past, cuts, rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import Mamba, MambaBlock, MambaConfig, MambaState
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.tensors import (
    LANES,
    MOVING,
    Tensors,
    assert_same_bits,
    conv,
    conv_tensors,
    leaves,
    normal,
    scan,
    scan_tensors,
    threads,
    with_gradients,
)

Run = Callable[..., Tensors]
TIME = 70
SHARED = ("A", "D", "delta_bias", "weight", "bias")


def layer_run(kind: type[Mamba] | type[MambaBlock]) -> Run:
    """A layer as a function of named tensors, its weights among the results' gradients."""
    config = MambaConfig(d_model=17, d_state=5, backend="cpu")
    layer = kind(config, torch.Generator().manual_seed(1))

    def run(tensors: Tensors, **options: Any) -> Tensors:
        layer.to(tensors["x"].dtype).zero_grad()
        y, state = layer(tensors["x"], MambaState(tensors["conv"], tensors["ssm"]), **options)
        tensors |= dict(layer.named_parameters())
        return {"y": y, "conv": state.conv, "ssm": state.ssm}

    return run


def layer_tensors(batch: int, time: int) -> Tensors:
    g = torch.Generator().manual_seed(2)
    shapes = {"x": (batch, time, 17), "conv": (batch, 3, 34), "ssm": (batch, 34, 5)}
    return {name: normal(g, *shape) for name, shape in shapes.items()}


RUNS: dict[str, tuple[Run, Callable[[int, int], Tensors], dict[str, str]]] = {
    "scan": (
        scan,
        lambda batch, time: scan_tensors(batch, time, 37, 19),
        {"last_state": "initial_state"},
    ),
    "conv": (
        conv,
        lambda batch, time: conv_tensors(batch, time, 37, 4),
        {"last_state": "initial_state"},
    ),
    "mixer": (layer_run(Mamba), layer_tensors, {"conv": "conv", "ssm": "ssm"}),
    "block": (layer_run(MambaBlock), layer_tensors, {"conv": "conv", "ssm": "ssm"}),
}
"""A function, its tensors for a batch and a time, and which state goes out and comes in."""

everything = pytest.mark.parametrize("name", RUNS)
both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def moving(tensors: Tensors) -> list[str]:
    return [name for name in tensors if name in (*MOVING, "x")]


@everything
@both_types
@pytest.mark.parametrize("batch", [1, 2, 17])
def test_threads_and_repetition_leave_the_bits(name: str, dtype: torch.dtype, batch: int) -> None:
    run, make, _ = RUNS[name]
    found = []
    for count in (1, 2, 2, 5):
        with threads(count):
            outputs, gradients = with_gradients(run, leaves(make(batch, TIME), dtype))
            found.append(outputs | {key: v.clone() for key, v in gradients.items()})
    for other in found[1:]:
        assert_same_bits(other, found[0])


@everything
@both_types
@pytest.mark.parametrize("lanes", LANES)
def test_the_future_leaves_the_past(name: str, dtype: torch.dtype, lanes: int) -> None:
    run, make, _ = RUNS[name]
    tensors = {key: v.to(dtype) for key, v in make(2, TIME).items()}
    with use_lanes(lanes), torch.no_grad():
        before = run({**tensors})["y"]
        for cut in (1, 31, 32, 33, TIME - 1):
            later = {key: tensors[key].clone() for key in moving(tensors)}
            for v in later.values():
                v[:, cut:] = 3.0 - 2.0 * v[:, cut:]
            after = run({**tensors, **later})["y"]
            assert torch.equal(after[:, :cut], before[:, :cut])
            assert not torch.equal(after[:, cut:], before[:, cut:])


@given(st.sampled_from(list(RUNS)), st.lists(st.integers(1, TIME - 1), max_size=4), st.data())
@settings(max_examples=60, deadline=None)
def test_a_sequence_cut_anywhere_and_continued_is_the_whole(
    name: str, cuts: list[int], data: st.DataObject
) -> None:
    run, make, states = RUNS[name]
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    tensors = {key: v.to(dtype) for key, v in make(2, TIME).items()}
    edges = sorted({0, *cuts, TIME})
    with use_lanes(data.draw(st.sampled_from(LANES))), torch.no_grad():
        whole = run({**tensors})
        rows = []
        for start, end in pairwise(edges):
            piece = {key: tensors[key][:, start:end] for key in moving(tensors)}
            part = run({**tensors, **piece})
            rows.append(part.pop("y"))
            tensors |= {into: part[out] for out, into in states.items()}
    assert_same_bits({"y": torch.cat(rows, 1), **part}, whole)


@everything
@both_types
@pytest.mark.parametrize("lanes", LANES)
def test_a_row_does_not_see_the_other_rows(name: str, dtype: torch.dtype, lanes: int) -> None:
    run, make, _ = RUNS[name]
    tensors = {key: v.to(dtype) for key, v in make(19, 45).items()}
    lengths = torch.tensor([45 - 2 * i for i in range(19)])
    with use_lanes(lanes):
        outputs, gradients = with_gradients(run, leaves(tensors, dtype), lengths=lengths)
        for i in (0, 7, 18):
            alone = {
                k: v if k in SHARED else v[i : i + 1, : lengths[i]] for k, v in tensors.items()
            }
            for key in set(tensors) - {*SHARED, *moving(tensors)}:
                alone[key] = tensors[key][i : i + 1]
            with torch.no_grad():
                single = run(leaves(alone, dtype))
            y = outputs["y"][i : i + 1]
            assert torch.equal(y[:, : lengths[i]], single["y"])
            assert not y[:, lengths[i] :].any()
            assert_same_bits(
                {key: outputs[key][i : i + 1] for key in outputs if key != "y"},
                {key: single[key] for key in outputs if key != "y"},
            )
    for key in moving(tensors):
        for i, length in enumerate(lengths.tolist()):
            assert not gradients[f"grad of {key}"][i, length:].any()


@both_types
def test_what_is_kept_changes_nothing(dtype: torch.dtype) -> None:
    """Kept states cut the scan into pieces, with the same bits; the last one is the last state."""
    tensors = scan_tensors(2, TIME, 37, 19)
    plain = with_gradients(scan, leaves(tensors, dtype))[0]
    kept = with_gradients(scan, leaves(tensors, dtype), keep=list(range(TIME)))[0]
    assert torch.equal(kept["y"], plain["y"])
    assert torch.equal(kept["states"][:, -1], plain["last_state"])
    with torch.no_grad():
        assert_same_bits(scan(leaves(tensors, dtype)), plain)
