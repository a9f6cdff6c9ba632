"""The scan of Mamba-2: each backend against the definition, the definition against matrices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.ssm.ssd import ssd_step
from tests.finchaos.ssm.ssd_tensors import FAST, MOVING, Tensors, make, scan

# Largest deviation relative to the largest value: outputs and states, gradients.
TOLERANCES = {torch.float64: (1e-10, 1e-10), torch.float32: (3e-6, 3e-5)}


def values_and_gradients(
    x: Tensors, backend: str, dtype: torch.dtype, **options: Any
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Outputs and the gradients of a loss that weighs every one of them differently."""
    leaves = {name: v.to(dtype).requires_grad_() for name, v in x.items()}
    found = [v for v in scan(leaves, backend, **options) if v is not None]
    loss = torch.zeros((), dtype=dtype)
    for v in found:
        loss = loss + (v * torch.linspace(-1, 2, v.numel(), dtype=dtype).reshape(v.shape)).sum()
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    return [v.detach() for v in found], list(gradients)


def deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative to the largest value, or to the smallest normal number of float32."""
    found, expected = found.detach().double(), expected.detach().double()
    if not expected.numel():
        return 0.0
    size = max(float(expected.abs().max()), 1.2e-38)
    return float((found - expected).abs().max()) / size


def assert_equal_to_reference(x: Tensors, backend: str, dtype: torch.dtype, **options: Any) -> None:
    expected = values_and_gradients(x, "reference", torch.float64, **options)
    found = values_and_gradients(x, backend, dtype, **options)
    for some, others, tolerance in zip(found, expected, TOLERANCES[dtype], strict=True):
        for a, b in zip(some, others, strict=True):
            assert a.dtype == dtype
            assert bool(torch.isfinite(a).all())
            assert deviation(a, b) <= tolerance


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("time", [1, 2, 3, 31, 32, 33, 77, 200])
@pytest.mark.parametrize("backend", FAST)
def test_backends_equal_the_reference(backend: str, time: int, dtype: torch.dtype) -> None:
    assert_equal_to_reference(make(time=time, seed=time), backend, dtype)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(
    "sizes",
    [(1, 50, 1, 1, 1, 1), (3, 40, 6, 16, 1, 64), (1, 65, 4, 32, 4, 16), (2, 35, 2, 5, 1, 7)],
)
@pytest.mark.parametrize("backend", FAST)
def test_backends_equal_the_reference_at_other_sizes(
    backend: str, sizes: tuple[int, ...], dtype: torch.dtype
) -> None:
    assert_equal_to_reference(make(*sizes), backend, dtype)


@pytest.mark.parametrize("absent", [("z",), ("D",), ("initial_state",), ("dt_bias",), MOVING[4:]])
@pytest.mark.parametrize("backend", FAST)
def test_optional_tensors(backend: str, absent: tuple[str, ...]) -> None:
    x = {name: v for name, v in make().items() if name not in absent}
    assert_equal_to_reference(x, backend, torch.float64)


@pytest.mark.parametrize("backend", FAST)
def test_skip_of_each_channel_and_limited_steps(backend: str) -> None:
    x = make(skip=(4, 3))
    assert_equal_to_reference(x, backend, torch.float64, dt_limit=(0.05, 0.3))
    wide = scan(x, backend).y
    assert not torch.allclose(scan(x, backend, dt_limit=(0.05, 0.3)).y, wide)


@pytest.mark.parametrize("backend", FAST)
def test_gradients_agree_with_finite_differences(backend: str) -> None:
    x = {name: v.requires_grad_() for name, v in make(1, 35, 2, 2, 1, 2).items()}

    def run(*values: torch.Tensor) -> list[torch.Tensor]:
        out = scan(dict(zip(x, values, strict=True)), backend, keep=[0, 20, 34])
        return [v for v in out if v is not None]

    assert torch.autograd.gradcheck(run, tuple(x.values()), fast_mode=True)


def test_reference_equals_the_semiseparable_matrix() -> None:
    """The sequence form as one matrix for each head, written in NumPy without any recurrence."""
    x = make(1, 9, 4, 3, 2, 5)
    found = scan(x, "reference").y[0].numpy()
    v = {
        name: tensor.numpy()[0] if name in MOVING else tensor.numpy() for name, tensor in x.items()
    }
    delta = np.logaddexp(0.0, v["dt"] + v["dt_bias"])
    for h in range(4):
        B, C = v["B"][:, h // 2], v["C"][:, h // 2]
        total = np.cumsum(delta[:, h]) * v["A"][h]
        matrix = np.tril(np.exp(total[:, None] - total[None, :])) * (C @ B.T) * delta[:, h]
        started = np.exp(total)[:, None] * (C @ v["initial_state"][0, h].T)
        y = matrix @ v["x"][:, h] + started + v["D"][h] * v["x"][:, h]
        gate = v["z"][:, h] / (1.0 + np.exp(-v["z"][:, h]))
        np.testing.assert_allclose(found[:, h], y * gate, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("backend", FAST)
@given(cut=st.integers(1, 76), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_split_equals_one_pass_gradients_included(backend: str, cut: int, seed: int) -> None:
    x = {name: v.requires_grad_() for name, v in make(time=77, seed=seed).items()}
    shared = {name: x[name] for name in ("A", "D", "dt_bias")}
    weight = torch.linspace(-1, 1, 77, dtype=torch.float64)[:, None, None]

    def gradients(y: torch.Tensor, last: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad((y * weight).sum() + last.square().sum(), list(x.values()))

    whole = scan(x, backend)
    expected = gradients(whole.y, whole.last_state)
    state, pieces = x["initial_state"], []
    for rows in (slice(0, cut), slice(cut, None)):
        part = {name: x[name][:, rows] for name in MOVING} | shared
        out = scan({**part, "initial_state": state}, backend)
        state = out.last_state
        pieces.append(out.y)
    assert deviation(torch.cat(pieces, 1), whole.y) < 1e-12
    assert deviation(state, whole.last_state) < 1e-12
    for a, b in zip(gradients(torch.cat(pieces, 1), state), expected, strict=True):
        assert deviation(a, b) < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("backend", FAST)
def test_steps_equal_the_scan(backend: str, dtype: torch.dtype, tolerance: float) -> None:
    x = {name: v.to(dtype) for name, v in make(time=70).items()}
    out = scan(x, backend, keep=range(70))
    assert out.states is not None
    shared = {name: x[name] for name in ("A", "D", "dt_bias")}
    state = x["initial_state"]
    for t in range(70):
        now = {name: x[name][:, t] for name in MOVING}
        y, state = ssd_step(**now, **shared, state=state, dt_softplus=True)
        assert deviation(y, out.y[:, t]) <= tolerance
        assert deviation(state, out.states[:, t]) <= tolerance


@pytest.mark.parametrize("backend", FAST)
def test_kept_states_leave_the_outputs_bit_equal_and_carry_gradients(backend: str) -> None:
    x = make(time=70)
    plain, kept = scan(x, backend), scan(x, backend, keep=torch.tensor([0, 31, 32, 69]))
    assert kept.states is not None
    assert kept.states.shape == (2, 4, 4, 3, 5)
    assert torch.equal(plain.y, kept.y)
    assert torch.equal(plain.last_state, kept.last_state)
    assert plain.states is None
    assert deviation(kept.states[:, -1], kept.last_state) < 1e-14
    for steps in ([5], [0, 31, 32, 69], []):
        assert_equal_to_reference(x, backend, torch.float64, keep=steps)


@pytest.mark.parametrize("backend", FAST)
def test_each_length_equals_the_sequence_cut_there(backend: str) -> None:
    lengths = [0, 1, 32, 50, 70]
    x = make(batch=5, time=70)
    padded = scan(x, backend, lengths=torch.tensor(lengths), keep=[10, 69])
    assert padded.states is not None
    for row, length in enumerate(lengths):
        assert not padded.y[row, length:].any()
        alone = {
            name: v if name in ("A", "D", "dt_bias") else v[row : row + 1] for name, v in x.items()
        }
        assert deviation(padded.states[row, 1], padded.last_state[row]) < 1e-14
        if length == 0:
            assert torch.equal(padded.last_state[row], x["initial_state"][row])
            continue
        cut = scan({n: v[:, :length] if n in MOVING else v for n, v in alone.items()}, backend)
        assert deviation(padded.y[row, :length], cut.y[0]) < 1e-12
        assert deviation(padded.last_state[row], cut.last_state[0]) < 1e-12


@pytest.mark.parametrize("backend", FAST)
def test_padding_has_neither_influence_nor_gradient(backend: str) -> None:
    x = make(time=40)
    lengths = torch.tensor([7, 33])
    assert_equal_to_reference(x, backend, torch.float64, lengths=lengths)
    values, gradients = values_and_gradients(x, backend, torch.float64, lengths=lengths)
    other = {name: v.clone() for name, v in x.items()}
    for name in MOVING:
        other[name][0, 7:] = 9.0
    for a, b in zip(
        values, values_and_gradients(other, backend, torch.float64, lengths=lengths)[0], strict=True
    ):
        assert torch.equal(a, b)
    for name, gradient in zip(x, gradients, strict=True):
        assert name not in MOVING or not gradient[0, 7:].any()


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("name", MOVING)
def test_the_future_leaves_the_past_bit_equal(backend: str, name: str) -> None:
    x = {key: v.float() for key, v in make(time=70).items()}
    before = scan(x, backend).y
    changed = torch.cat([x[name][:, :40], 9.0 * x[name][:, 40:] + 1.0], 1)
    after = scan({**x, name: changed}, backend).y
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rate", [1e-3, 16.0, 200.0])
@pytest.mark.parametrize("step", [(1e-6,), (1e-3,), (1.0,), (40.0,), (1e-6, 1e-3, 1.0, 40.0)])
@pytest.mark.parametrize("backend", FAST)
def test_extreme_steps_and_rates(
    backend: str, step: tuple[float, ...], rate: float, dtype: torch.dtype
) -> None:
    """Also steps of very different size side by side, as where a calendar has gaps."""
    x = make(time=80)
    choice = torch.randint(len(step), (2, 80, 4), generator=torch.Generator().manual_seed(1))
    x["dt"] = torch.tensor(step)[choice].double()
    x["A"] = torch.full((4,), -rate).double()
    del x["dt_bias"]
    assert_equal_to_reference(x, backend, dtype, dt_softplus=False)


@pytest.mark.parametrize("raw", [-14.0, -7.0, 1.0, 40.0])
@pytest.mark.parametrize("backend", FAST)
def test_extreme_steps_before_softplus(backend: str, raw: float) -> None:
    x = make(time=40) | {"dt": torch.full((2, 40, 4), raw, dtype=torch.float64)}
    assert_equal_to_reference(x, backend, torch.float32)


@pytest.mark.parametrize("backend", FAST)
def test_zeros_give_zeros(backend: str) -> None:
    x = make() | {"x": torch.zeros(2, 37, 4, 3).double()}
    del x["initial_state"]
    out = scan(x, backend)
    assert not out.y.any()
    assert not out.last_state.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", FAST)
def test_low_precision_rounds_only_inputs_and_outputs(backend: str, dtype: torch.dtype) -> None:
    x = {name: v.to(dtype) if name in MOVING else v.float() for name, v in make(time=70).items()}
    out = scan(x, backend, keep=[3])
    assert out.states is not None
    assert out.y.dtype == dtype
    assert out.last_state.dtype == out.states.dtype == torch.float32
    exact = scan({name: v.double() for name, v in x.items()}, "reference")
    assert deviation(out.y, exact.y) <= torch.finfo(dtype).eps
    assert deviation(out.last_state, exact.last_state) <= 3e-6


@pytest.mark.parametrize("backend", FAST)
def test_autocast_does_not_reach_the_recurrence(backend: str) -> None:
    x = {name: v.float().requires_grad_() for name, v in make(time=70).items()}
    plain = scan(x, backend)
    expected = torch.autograd.grad(plain.y.sum(), list(x.values()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = scan(x, backend)
        found = torch.autograd.grad(mixed.y.sum(), list(x.values()))
    assert torch.equal(plain.y, mixed.y)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", FAST)
def test_any_strides_give_the_same_numbers(backend: str) -> None:
    x = make(time=40)

    def strided(v: torch.Tensor) -> torch.Tensor:
        return torch.stack([v, 7.0 * v], -1)[..., 0]

    def transposed(v: torch.Tensor) -> torch.Tensor:
        return v.transpose(0, -1).contiguous().transpose(0, -1)

    for change in (strided, transposed):
        other = {name: change(v) for name, v in x.items()}
        assert deviation(scan(other, backend).y, scan(x, backend).y) < 1e-14
    expanded = {name: v[:, :1].expand_as(v) if name in MOVING else v for name, v in x.items()}
    expanded["initial_state"] = x["initial_state"][:1].expand(2, -1, -1, -1)
    dense = {name: v.contiguous() for name, v in expanded.items()}
    for a, b in zip(
        itertools.chain(*values_and_gradients(expanded, backend, torch.float64)),
        itertools.chain(*values_and_gradients(dense, backend, torch.float64)),
        strict=True,
    ):
        assert deviation(a, b) < 1e-14


@pytest.mark.parametrize("backend", FAST)
def test_inputs_are_left_unchanged(backend: str) -> None:
    x = make()
    before = {name: v.clone() for name, v in x.items()}
    scan(x, backend, lengths=torch.tensor([4, 37]), keep=[2])
    assert all(torch.equal(v, before[name]) for name, v in x.items())


@pytest.mark.parametrize("backend", FAST)
def test_memory_for_the_gradient_grows_with_the_inputs_only(backend: str) -> None:
    """Kept beyond the tensors of the caller: no state for every step, nothing quadratic."""

    def kept(time: int) -> int:
        x = {name: v.requires_grad_() for name, v in make(1, time, 2, 8, 1, 16).items()}
        storages: dict[int, int] = {}

        def note(v: torch.Tensor) -> torch.Tensor:
            storages[v.untyped_storage().data_ptr()] = v.untyped_storage().nbytes()
            return v

        with torch.autograd.graph.saved_tensors_hooks(note, lambda v: v):
            scan(x, backend)
        return sum(storages.values())

    short, long = kept(1024), kept(2048)
    states = 1024 * 2 * 8 * 16 * 8
    assert long - short < 0.6 * states
    assert long < 2.05 * short
