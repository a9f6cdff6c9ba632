"""The fast scan against the definition, in values and gradients; steps against the scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.ssm import selective_scan, selective_step

Tensors = dict[str, torch.Tensor]


def make(batch: int, time: int, d: int, n: int, seed: int = 0, grad: bool = False) -> Tensors:
    g = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=g)

    tensors = {
        "u": normal(batch, time, d),
        "delta": normal(batch, time, d) - 2.0,
        "A": -torch.exp(normal(d, n)),
        "B": normal(batch, time, n),
        "C": normal(batch, time, n),
        "D": normal(d),
        "z": normal(batch, time, d),
        "delta_bias": normal(d),
        "initial_state": normal(batch, d, n),
    }
    return {name: x.requires_grad_(grad) for name, x in tensors.items()}


def scan(x: Tensors, backend: str) -> tuple[torch.Tensor, torch.Tensor]:
    y, last, _ = selective_scan(**x, delta_softplus=True, backend=backend)
    return y, last


@pytest.mark.parametrize("time", [1, 2, 31, 32, 33, 77])
@pytest.mark.parametrize("batch", [1, 3])
def test_torch_backend_equals_reference_in_values_and_gradients(batch: int, time: int) -> None:
    results = {}
    for backend in ("reference", "torch"):
        x = make(batch, time, 5, 4, seed=time, grad=True)
        y, last = scan(x, backend)
        # A loss that weighs every output and every state differently, the last state included.
        loss = (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape).double()).sum()
        loss = loss + (last * torch.linspace(0, 2, last.numel()).reshape(last.shape)).sum()
        loss.backward()
        results[backend] = [y.detach(), last.detach(), *(v.grad for v in x.values())]
    for expected, found in zip(*results.values(), strict=True):
        assert found is not None
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_gradients_agree_with_finite_differences() -> None:
    x = make(2, 35, 2, 3, grad=True)

    def run(*values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return scan(dict(zip(x, values, strict=True)), "torch")

    assert torch.autograd.gradcheck(run, tuple(x.values()))


def test_reference_equals_a_loop_in_numpy() -> None:
    x = make(1, 6, 2, 3)
    y, last = scan(x, "reference")
    v = {name: value.numpy() for name, value in x.items()}
    h = v["initial_state"][0].copy()
    for t in range(6):
        for d in range(2):
            delta = np.log1p(np.exp(v["delta"][0, t, d] + v["delta_bias"][d]))
            for n in range(3):
                h[d, n] *= np.exp(delta * v["A"][d, n])
                h[d, n] += delta * v["B"][0, t, n] * v["u"][0, t, d]
            out = h[d] @ v["C"][0, t] + v["D"][d] * v["u"][0, t, d]
            gate = v["z"][0, t, d]
            assert float(y[0, t, d]) == pytest.approx(out * gate / (1 + np.exp(-gate)), rel=1e-12)
    np.testing.assert_allclose(last[0].numpy(), h, rtol=1e-12)


@given(st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_steps_and_any_split_equal_one_pass(cut: int, seed: int) -> None:
    x = make(2, 41, 3, 2, seed=seed)
    whole, last = scan(x, "torch")
    shared = {name: x[name] for name in ("A", "D", "delta_bias")}
    moving = {name: x[name] for name in ("u", "delta", "B", "C", "z")}
    state, pieces = x["initial_state"], []
    for rows in (slice(0, cut), slice(cut, None)):
        part = {name: value[:, rows] for name, value in moving.items()} | shared
        y, state = scan({**part, "initial_state": state}, "torch")
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, last, rtol=1e-12, atol=1e-12)
    state = x["initial_state"]
    for t in range(41):
        now = {name: value[:, t] for name, value in moving.items()} | shared
        y, state = selective_step(**now, state=state, delta_softplus=True)
        torch.testing.assert_close(y, whole[:, t], rtol=1e-10, atol=1e-10)


def test_the_future_leaves_the_past_bit_equal() -> None:
    x = make(1, 70, 3, 2)
    before, _ = scan(x, "torch")
    after, _ = scan({**x, "u": torch.cat([x["u"][:, :40], 9 * x["u"][:, 40:]], 1)}, "torch")
    assert torch.equal(before[:, :40], after[:, :40])
    assert not torch.equal(before[:, 40:], after[:, 40:])


@pytest.mark.parametrize("shift", [-14.0, -7.0, 1.0, 40.0])
@pytest.mark.parametrize("rate", [1e-3, 16.0, 200.0])
def test_extreme_steps_and_rates_stay_finite(shift: float, rate: float) -> None:
    x = make(1, 64, 2, 2, grad=True)
    x["A"] = torch.full((2, 2), -rate, dtype=torch.float64, requires_grad=True)
    x["delta"] = torch.full((1, 64, 2), shift, dtype=torch.float64, requires_grad=True)
    y, last = scan(x, "torch")
    (y.sum() + last.sum()).backward()
    assert all(bool(torch.isfinite(v.grad).all()) for v in x.values() if v.grad is not None)
    torch.testing.assert_close(y, scan(x, "reference")[0], rtol=1e-10, atol=1e-10)


def test_without_skip_gate_or_state_zero_input_gives_zero() -> None:
    x = make(1, 5, 3, 2)
    y, last, _ = selective_scan(0 * x["u"], x["delta"].abs(), x["A"], x["B"], x["C"])
    assert not y.any()
    assert not last.any()


def test_negative_steps_and_unfitting_shapes_are_refused() -> None:
    x = make(1, 4, 3, 2)
    with pytest.raises(InputError, match="negative"):
        selective_scan(x["u"], -x["delta"].abs(), x["A"], x["B"], x["C"])
    with pytest.raises(InputError, match="B has a shape"):
        selective_scan(x["u"], x["delta"].abs(), x["A"], x["B"][:, :3], x["C"])
