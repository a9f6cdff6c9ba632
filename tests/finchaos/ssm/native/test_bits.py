"""What must be equal to the last bit: any number of threads, the past, cuts, rows of a batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm import Mamba, MambaBlock
from finchaos.ssm.native import use_lanes
from tests.finchaos.ssm.native.layers import KINDS, Kind, inputs_of, layer_of, run_layer
from tests.finchaos.ssm.native.tensors import (
    LANES,
    MOVING,
    Run,
    Tensors,
    assert_same_bits,
    conv,
    conv_tensors,
    leaves,
    scan,
    scan_tensors,
    ssd,
    ssd_tensors,
    threads,
    with_gradients,
)

TIME = 70
SHARED = ("A", "D", "delta_bias", "dt_bias", "weight", "bias")
WIDE: dict[Kind, dict[str, Any]] = {
    kind: {"d_model": 17, "d_state": 5}
    if kind in (Mamba, MambaBlock)
    else {"d_model": 18, "d_state": 5, "headdim": 3, "ngroups": 3, "dt_limit": (0.002, 0.05)}
    for kind in KINDS
}


class Case(NamedTuple):
    """A function, its tensors for a batch and a time, and which state goes out and comes in."""

    run: Run
    make: Callable[[int, int], Tensors]
    states: dict[str, str]


def layer_case(kind: Kind) -> Case:
    """A layer as a function of named tensors, its weights among the results' gradients."""
    layer = layer_of(kind, "cpu", **WIDE[kind])

    def run(tensors: Tensors, **options: Any) -> Tensors:
        layer.to(tensors["x"].dtype).zero_grad()
        outputs = run_layer(layer, tensors, **options)
        tensors |= dict(layer.named_parameters())
        return outputs

    return Case(run, partial(inputs_of, layer), {"conv": "conv", "ssm": "ssm"})


STATE = {"last_state": "initial_state"}
CASES = {
    "scan": Case(scan, lambda batch, time: scan_tensors(batch, time, 37, 19), STATE),
    "ssd": Case(ssd, lambda batch, time: ssd_tensors(batch, time, 9, 7, 3, 19), STATE),
    "conv": Case(conv, lambda batch, time: conv_tensors(batch, time, 37, 4), STATE),
    **{kind.__name__: layer_case(kind) for kind in KINDS},
}

everything = pytest.mark.parametrize("name", CASES)
both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def moving(tensors: Tensors) -> list[str]:
    return [name for name in tensors if name in MOVING]


@everything
@both_types
@pytest.mark.parametrize("batch", [1, 2, 17])
def test_threads_and_repetition_leave_the_bits(name: str, dtype: torch.dtype, batch: int) -> None:
    run, make, _ = CASES[name]
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
    run, make, _ = CASES[name]
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


@given(st.sampled_from(list(CASES)), st.lists(st.integers(1, TIME - 1), max_size=4), st.data())
@settings(max_examples=100, deadline=None)
def test_a_sequence_cut_anywhere_and_continued_is_the_whole(
    name: str, cuts: list[int], data: st.DataObject
) -> None:
    run, make, states = CASES[name]
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
    run, make, _ = CASES[name]
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
@pytest.mark.parametrize("name", ["scan", "ssd"])
def test_what_is_kept_changes_nothing(name: str, dtype: torch.dtype) -> None:
    """Kept states cut the scan into pieces, with the same bits; the last one is the last state."""
    run, make, _ = CASES[name]
    tensors = make(2, TIME)
    plain = with_gradients(run, leaves(tensors, dtype))[0]
    kept = with_gradients(run, leaves(tensors, dtype), keep=list(range(TIME)))[0]
    assert torch.equal(kept["y"], plain["y"])
    assert torch.equal(kept["states"][:, -1], plain["last_state"])
    with torch.no_grad():
        assert_same_bits(run(leaves(tensors, dtype)), plain)
