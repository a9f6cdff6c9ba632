"""The scan of S4D: its forms against the recurrence, the recurrence against SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finchaos.ssm.s4d import DISCRETISATIONS, s4d_kernel, s4d_step
from tests.finchaos.ssm.s4d_tensors import FORMS, Tensors, cast, deviation, make, normal, scan

LENGTHS = (1, 2, 3, 31, 64, 127, 2048)
# Largest deviation relative to the largest value: outputs and states, gradients.
TOLERANCES = {torch.float64: (1e-12, 1e-10), torch.float32: (1e-6, 5e-6)}


def values_and_gradients(x: Tensors, **options: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and the gradients of a loss that weighs every one of them differently."""
    leaves = {name: v.clone().requires_grad_() for name, v in x.items()}
    found = [v for v in scan(leaves, **options) if v is not None]
    loss: Any = 0.0
    for v in found:
        real = torch.view_as_real(v).flatten(-2) if v.is_complex() else v
        weights = torch.linspace(-1, 2, real.numel(), dtype=real.dtype).view(real.shape)
        loss = loss + (real * weights).sum()
    return found, list(torch.autograd.grad(loss, list(leaves.values())))


def assert_equals_the_reference(x: Tensors, dtype: torch.dtype, **options: Any) -> None:
    form = options.pop("form")
    expected = values_and_gradients(x, backend="reference", **options)
    found = values_and_gradients(cast(x, dtype), form=form, **options)
    for some, others, tolerance in zip(found, expected, TOLERANCES[dtype], strict=True):
        for a, b in zip(some, others, strict=True):
            assert bool(torch.isfinite(torch.view_as_real(a) if a.is_complex() else a).all())
            assert deviation(a, b) <= tolerance


# --- the definition against SciPy -----------------------------------------------------------------


def by_scipy(x: Tensors, method: str, row: int, channel: int) -> np.ndarray:
    """One channel of one sequence as a real system of twice the size, stepped by SciPy."""
    v = {name: tensor.numpy() for name, tensor in x.items()}
    real, imag = (np.diag(v["A"][channel, :, part]) for part in (0, 1))
    rates = np.block([[real, -imag], [imag, real]])
    n = len(real)
    drive = np.concatenate([np.ones(n), np.zeros(n)])[:, None]
    read = 2 * np.concatenate([v["C"][channel, :, 0], -v["C"][channel, :, 1]])[None]
    system = (rates, drive, read, np.zeros((1, 1)))
    step = float(v["dt"][channel])
    # Only the state equation of SciPy: its bilinear form also moves the readout.
    decay, drive, *_ = scipy.signal.cont2discrete(system, step, method=method)
    skip = read @ drive + v["D"][channel]
    state = v["initial_state"][row, channel]
    start = np.concatenate([state.real, state.imag])
    discrete = scipy.signal.dlti(decay, drive, read @ decay, skip, dt=step)
    _, y, _ = scipy.signal.dlsim(discrete, v["u"][row, :, channel], x0=start)
    return y[:, 0]


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
def test_reference_equals_scipy(discretisation: str) -> None:
    x = make(t=60)
    y = scan(x, backend="reference", discretisation=discretisation).y.numpy()
    for row, channel in ((0, 0), (1, 1), (1, 2)):
        expected = by_scipy(x, discretisation, row, channel)
        np.testing.assert_allclose(y[row, :, channel], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
def test_kernel_equals_the_impulse_response_of_scipy(discretisation: str) -> None:
    x = make(t=200, h=2)
    x["u"] = torch.zeros_like(x["u"])
    x["u"][:, 0] = 1.0
    x["D"], x["initial_state"] = torch.zeros_like(x["D"]), torch.zeros_like(x["initial_state"])
    K = s4d_kernel(x["dt"], x["A"], x["C"], 200, discretisation=discretisation)
    for channel in range(2):
        expected = by_scipy(x, discretisation, 0, channel)
        np.testing.assert_allclose(K[channel].numpy(), expected, rtol=1e-10, atol=1e-11)


# --- forms against the definition -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("t", LENGTHS)
@pytest.mark.parametrize("form", FORMS)
def test_forms_equal_the_reference(
    form: str, t: int, discretisation: str, dtype: torch.dtype
) -> None:
    assert_equals_the_reference(make(t=t, seed=t), dtype, form=form, discretisation=discretisation)


@pytest.mark.parametrize("sizes", [(1, 50, 1, 1), (3, 33, 16, 32), (1, 100, 2, 7)])
@pytest.mark.parametrize("form", FORMS)
def test_forms_equal_the_reference_at_other_sizes(form: str, sizes: tuple[int, ...]) -> None:
    for dtype in TOLERANCES:
        assert_equals_the_reference(make(*sizes), dtype, form=form)


@pytest.mark.parametrize("absent", [("D",), ("initial_state",), ("D", "initial_state")])
@pytest.mark.parametrize("form", FORMS)
def test_optional_tensors(form: str, absent: tuple[str, ...]) -> None:
    x = {name: v for name, v in make().items() if name not in absent}
    assert_equals_the_reference(x, torch.float64, form=form)


@pytest.mark.parametrize("form", FORMS)
def test_kept_states_and_lengths_equal_the_reference(form: str) -> None:
    x = make(b=4, t=70)
    lengths = torch.tensor([70, 0, 33, 1])
    for options in ({"keep": [0, 3, 63, 64, 69]}, {"lengths": lengths}):
        assert_equals_the_reference(x, torch.float64, form=form, **options)
    both = {"keep": range(70), "lengths": lengths}
    assert_equals_the_reference(x, torch.float32, form=form, **both)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_finite_differences(form: str) -> None:
    x = make(1, 11, 2, 2)
    leaves = [v.requires_grad_() for v in x.values()]

    for discretisation in DISCRETISATIONS:

        def run(*values: Tensor, discretisation: str = discretisation) -> list[Tensor]:
            named = dict(zip(x, values, strict=True))
            out = scan(named, keep=[0, 7, 10], discretisation=discretisation, form=form)
            return [v for v in out if v is not None]

        assert torch.autograd.gradcheck(run, leaves)


def test_chunked_form_and_kernel_can_be_differentiated_twice() -> None:
    x = make(1, 9, 1, 2)
    leaves = [v.requires_grad_() for v in x.values()]

    def run(*values: Tensor) -> Tensor:
        return scan(dict(zip(x, values, strict=True)), form="chunked").y

    assert torch.autograd.gradgradcheck(run, leaves)

    def kernel(dt: Tensor, A: Tensor, C: Tensor) -> Tensor:
        return s4d_kernel(dt, A, C, 9)

    assert torch.autograd.gradgradcheck(kernel, leaves[1:4])


@pytest.mark.parametrize("steps", [1, 2, 5, 127, 128, 2048])
def test_kernel_in_float32_against_one_exponential_for_each_lag(steps: int) -> None:
    """The definition of the kernel with numpy, in float64, from parameters rounded to float32."""
    x = make(h=16, n=32)
    dt, A, C = (x[name].float() for name in ("dt", "A", "C"))
    step, rates = dt.double().numpy()[:, None], torch.view_as_complex(A.double()).numpy()
    weights = torch.view_as_complex(C.double()).numpy() * np.expm1(step * rates) / rates
    powers = np.exp((step * rates)[..., None] * np.arange(steps))
    expected = 2 * np.einsum("hn,hnl->hl", weights, powers).real
    found = s4d_kernel(dt, A, C, steps)
    assert found.dtype == torch.float32
    assert deviation(found, torch.from_numpy(expected)) <= 1e-6


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("form", FORMS)
def test_steps_equal_the_scan(form: str, discretisation: str) -> None:
    options = {"discretisation": discretisation}
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        x = cast(make(t=70), dtype)
        out = scan(x, keep=range(70), form=form, **options)
        filters = {name: x[name] for name in ("dt", "A", "C", "D")}
        state, outputs, states = x["initial_state"], [], []
        for t in range(70):
            y, state = s4d_step(x["u"][:, t], **filters, state=state, **options)
            outputs.append(y)
            states.append(state)
        assert out.states is not None
        assert deviation(torch.stack(outputs, 1), out.y) <= tolerance
        assert deviation(torch.stack(states, 1), out.states) <= tolerance


@pytest.mark.parametrize("form", FORMS)
@given(cut=st.integers(1, 76), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_split_equals_one_pass_gradients_included(form: str, cut: int, seed: int) -> None:
    x = {name: v.requires_grad_() for name, v in make(t=77, seed=seed).items()}
    weight = torch.linspace(-1, 1, 77, dtype=torch.float64).unsqueeze(-1)

    def gradients(y: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        loss = (y * weight).sum() + last.abs().square().sum()
        return torch.autograd.grad(loss, list(x.values()))

    whole = scan(x, form=form)
    first = scan({**x, "u": x["u"][:, :cut]}, form=form)
    rest = scan({**x, "u": x["u"][:, cut:], "initial_state": first.last_state}, form=form)
    y = torch.cat([first.y, rest.y], 1)
    assert deviation(y, whole.y) < 1e-12
    assert deviation(rest.last_state, whole.last_state) < 1e-12
    expected = gradients(whole.y, whole.last_state)
    for a, b in zip(gradients(y, rest.last_state), expected, strict=True):
        assert deviation(a, b) < 1e-10


def test_padding_is_never_read() -> None:
    x, lengths = make(b=3, t=30), torch.tensor([30, 12, 0])
    padding = torch.arange(30).unsqueeze(0) >= lengths.unsqueeze(-1)
    other = {**x, "u": x["u"].masked_fill(padding.unsqueeze(-1), 1e6)}
    for options in ({"backend": "reference"}, {"form": "chunked"}, {"form": "fft"}):
        some, others = (scan(v, lengths=lengths, **options) for v in (x, other))
        assert torch.equal(some.y, others.y)
        assert torch.equal(some.last_state, others.last_state)
        assert not some.y[padding].any()
        assert torch.equal(some.last_state[2], x["initial_state"][2])


# --- what the future can touch --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("options", [{"backend": "reference"}, {"form": "chunked"}])
def test_the_future_leaves_the_past_as_it_is_bit_for_bit(
    options: dict[str, str], dtype: torch.dtype
) -> None:
    x = cast(make(t=150), dtype)
    for cut in (1, 63, 64, 101):
        future = x["u"].clone()
        future[:, cut:] = 1e6 * normal(2, 150 - cut, 3, seed=9).to(dtype)
        some, others = scan(x, **options), scan({**x, "u": future}, **options)
        assert torch.equal(some.y[:, :cut], others.y[:, :cut])
        assert not torch.equal(some.y[:, cut:], others.y[:, cut:])


def test_by_fft_the_future_touches_the_past_by_rounding_only() -> None:
    x = make(t=150)
    future = x["u"].clone()
    future[:, 101:] = 1e6
    some, others = scan(x, form="fft").y, scan({**x, "u": future}, form="fft").y
    assert float((some - others)[:, :101].abs().max()) <= 1e-13 * float(others.abs().max())


# --- types, extremes, memory ----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("form", FORMS)
def test_low_precision_costs_the_rounding_of_inputs_and_outputs(
    form: str, dtype: torch.dtype
) -> None:
    x = cast(make(), torch.float32)
    x["u"] = x["u"].to(dtype)
    out = scan(x, form=form)
    assert out.y.dtype == dtype
    assert out.last_state.dtype == torch.complex64
    exact = scan({**x, "u": x["u"].float()}, backend="reference").y
    assert deviation(out.y.float(), exact) <= torch.finfo(dtype).eps
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scan(x, form=form).y, out.y)


@pytest.mark.parametrize("discretisation", DISCRETISATIONS)
@pytest.mark.parametrize("form", FORMS)
def test_extreme_steps_and_rates_agree_with_the_reference(form: str, discretisation: str) -> None:
    dt = torch.tensor([0.0, 1e-12, 1e-6, 1e-3, 1.0, 2.0, 40.0, 1e6], dtype=torch.float64)
    real = torch.tensor([0.0, -1e-12, -1e-3, -1.0, -200.0], dtype=torch.float64)
    imag = torch.tensor([0.0, 1e-12, 1e3, 0.0, 1.0], dtype=torch.float64)
    x = make(2, 100, len(dt), len(real))
    x["dt"], x["A"] = dt, torch.stack([real, imag], -1).expand(len(dt), -1, -1)
    expected = values_and_gradients(x, backend="reference", discretisation=discretisation)
    for dtype, (tolerance, looser) in TOLERANCES.items():
        found = values_and_gradients(cast(x, dtype), form=form, discretisation=discretisation)
        for some, others, limit in zip(found, expected, (tolerance, 4 * looser), strict=True):
            for a, b in zip(some, others, strict=True):
                assert bool(torch.isfinite(torch.view_as_real(a) if a.is_complex() else a).all())
                assert deviation(a, b) <= limit


def test_the_gradient_of_a_tiny_step_is_not_lost_in_cancellation() -> None:
    """One step from rest: y = 2 C dt (1 + dt A / 2 + ...), so that dy / dA = C dt^2."""
    dt = torch.tensor([1e-9], dtype=torch.float64)
    A = torch.tensor([[[-0.7, 0.0]]], dtype=torch.float64, requires_grad=True)
    C = torch.tensor([[[1.5, 0.0]]], dtype=torch.float64)
    (grad,) = torch.autograd.grad(s4d_kernel(dt, A, C, 1).sum(), A)
    assert float(grad[0, 0, 0]) == pytest.approx(1.5e-18, rel=1e-8, abs=0.0)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.0099, 0.0101, 0.5])
def test_the_drive_of_a_held_input_is_exact_on_both_sides_of_its_series(size: float) -> None:
    rate = -0.8 + 0.6j
    A = torch.view_as_real(torch.tensor([[rate]], dtype=torch.complex128))
    C = torch.tensor([[[0.5, 0.0]]], dtype=torch.float64)
    K = s4d_kernel(torch.tensor([size], dtype=torch.float64), A, C, 1)
    assert float(K) == pytest.approx((np.expm1(size * rate) / rate).real, rel=4e-15, abs=0.0)


@pytest.mark.parametrize("form", FORMS)
def test_long_sequences_stay_accurate_and_their_gradients_finite(form: str) -> None:
    x = make(1, 16384, 2, 8)
    found, gradients = values_and_gradients(cast(x, torch.float32), form=form)
    exact = scan(x, form=form)
    assert deviation(found[0], exact.y) <= 1e-6
    assert deviation(found[1], exact.last_state) <= 1e-6
    for g in gradients:
        assert bool(torch.isfinite(torch.view_as_real(g) if g.is_complex() else g).all())


@pytest.mark.parametrize("form", FORMS)
def test_strides_do_not_matter(form: str) -> None:
    x = make(t=40)
    x["C"] = x["C"][:1].expand(3, -1, -1)
    x["dt"] = x["dt"][:1].expand(3)
    x["initial_state"] = x["initial_state"][:1].expand(2, -1, -1)
    dense = {name: v.contiguous() for name, v in x.items()}
    x["u"] = x["u"].transpose(1, 2).contiguous().transpose(1, 2)
    x["initial_state"] = x["initial_state"].conj().resolve_conj().conj()
    assert torch.equal(scan(x, form=form).y, scan(dense, form=form).y)
    constant = {**x, "u": torch.ones(1, 1, 1, dtype=torch.float64).expand(2, 40, 3)}
    dense = {**constant, "u": torch.ones(2, 40, 3, dtype=torch.float64)}
    assert torch.equal(scan(constant, form=form).y, scan(dense, form=form).y)
