"""The S4D layer: upstream's weights, steps and continued passes, what is computed once."""

from __future__ import annotations

import copy
import dataclasses
import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finchaos.ssm.s4d import DISCRETISATIONS, INITIALISATIONS, S4D, S4DConfig, S4DState
from tests.finchaos.ssm.s4d_tensors import FORMS, deviation, normal

VARIANTS = [{"form": form, "discretisation": name} for form in FORMS for name in DISCRETISATIONS]


def layer(dtype: torch.dtype = torch.float64, seed: int = 1, **options: Any) -> S4D:
    config = S4DConfig(**{"d_model": 6, "d_state": 8, **options})
    return S4D(config, torch.Generator().manual_seed(seed)).to(dtype)


class Plain(nn.Module):
    """The published layer, ``b h t``: one exponential for each lag, and one convolution."""

    def __init__(self, h: int, n: int) -> None:
        super().__init__()
        self.D = nn.Parameter(torch.randn(h))
        self.kernel = nn.Module()
        self.kernel.C = nn.Parameter(torch.randn(h, n, 2))
        self.kernel.log_dt = nn.Parameter(torch.rand(h) * 4 - 6)
        self.kernel.log_A_real = nn.Parameter(torch.randn(h, n) * 0.3 - 0.7)
        self.kernel.A_imag = nn.Parameter(torch.rand(h, n) * 10)
        self.output_linear = nn.Sequential(nn.Conv1d(h, 2 * h, 1), nn.GLU(dim=-2))

    def forward(self, u: Tensor) -> Tensor:
        t, k = u.shape[-1], self.kernel
        rates = torch.complex(-torch.exp(k.log_A_real), k.A_imag)
        z = rates * torch.exp(k.log_dt).unsqueeze(-1)
        weights = torch.view_as_complex(k.C) * (torch.exp(z) - 1) / rates
        lags = torch.arange(t)
        K = 2 * (weights.unsqueeze(-1) * torch.exp(z.unsqueeze(-1) * lags)).sum(1).real
        Toeplitz = torch.where(
            lags >= lags.unsqueeze(-1), K[:, (lags - lags.unsqueeze(-1)).abs()], 0
        )
        y = (u.unsqueeze(-2) @ Toeplitz).squeeze(-2) + u * self.D.unsqueeze(-1)
        return self.output_linear(nn.functional.gelu(y))


@pytest.mark.parametrize("form", FORMS)
def test_published_weights_load_and_give_the_published_numbers(form: str) -> None:
    torch.manual_seed(3)
    plain = Plain(6, 4).double()
    model = layer(form=form)
    model.load_state_dict(plain.state_dict(), strict=True)
    plain.load_state_dict(model.state_dict(), strict=True)
    x = normal(2, 90, 6).requires_grad_()
    expected, (y, _) = plain(x.transpose(1, 2)).transpose(1, 2), model(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-11)
    names = [name for name, _ in plain.named_parameters()]
    ours = dict(model.named_parameters())
    weights = normal(2, 90, 6, seed=4)
    found = torch.autograd.grad((y * weights).sum(), [x, *(ours[name] for name in names)])
    wanted = torch.autograd.grad((expected * weights).sum(), [x, *plain.parameters()])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_names_and_shapes() -> None:
    shapes = {name: tuple(v.shape) for name, v in layer().state_dict().items()}
    assert shapes == {
        "D": (6,),
        "kernel.C": (6, 4, 2),
        "kernel.log_dt": (6,),
        "kernel.log_A_real": (6, 4),
        "kernel.A_imag": (6, 4),
        "output_linear.0.weight": (12, 6, 1),
        "output_linear.0.bias": (12,),
    }


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("mode", [True, False])
def test_steps_and_a_continued_pass_equal_one_pass(variant: dict[str, str], mode: bool) -> None:
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        model = layer(dtype, **variant).train(mode)
        x = normal(2, 150, 6, dtype=dtype)
        with torch.no_grad():
            whole, last = model(x)
            state, rows = model.initial_state(2), []
            for t in range(150):
                y, state = model.step(x[:, t], state)
                rows.append(y)
            torch.testing.assert_close(torch.stack(rows, 1), whole, rtol=0, atol=tolerance)
            torch.testing.assert_close(state.ssm, last.ssm, rtol=0, atol=tolerance)
            for cut in (1, 2, 64, 101):
                first, state = model(x[:, :cut])
                rest, state = model(x[:, cut:], state)
                joined = torch.cat([first, rest], 1)
                torch.testing.assert_close(joined, whole, rtol=0, atol=tolerance)
                torch.testing.assert_close(state.ssm, last.ssm, rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_run_through_a_carried_state(form: str) -> None:
    model, x = layer(form=form), normal(2, 40, 6).requires_grad_()
    leaves, weights = [x, *model.parameters()], normal(2, 40, 6, seed=3)

    def gradients(y: Tensor, state: S4DState) -> tuple[Tensor, ...]:
        return torch.autograd.grad((y * weights).sum() + state.ssm.abs().sum(), leaves)

    expected = gradients(*model(x))
    first, state = model(x[:, :23])
    rest, state = model(x[:, 23:], state)
    for a, b in zip(gradients(torch.cat([first, rest], 1), state), expected, strict=True):
        assert deviation(a, b) < 1e-10


@pytest.mark.parametrize("mode", [True, False])
def test_states_on_the_way_are_those_of_steps(mode: bool) -> None:
    model, x = layer().train(mode), normal(2, 30, 6)
    with torch.no_grad():
        out = model.scan(x, keep=[4, 29])
        _, state = model(x[:, :5])
    assert out.states is not None
    torch.testing.assert_close(out.states[:, 0], state.ssm, rtol=0, atol=1e-12)
    torch.testing.assert_close(out.states[:, 1], out.last_state, rtol=0, atol=1e-12)


def test_lengths_equal_the_sequences_on_their_own() -> None:
    model, x = layer(), normal(3, 30, 6)
    y, state = model(x, lengths=torch.tensor([30, 11, 0]))
    for row, length in ((0, 30), (1, 11)):
        alone, last = model(x[row : row + 1, :length])
        torch.testing.assert_close(y[row, :length], alone[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(state.ssm[row], last.ssm[0], rtol=0, atol=1e-12)
        assert not y[row, length:].any()
    assert not y[2].any()
    assert not state.ssm[2].any()


def test_the_future_leaves_the_past_as_it_is_bit_for_bit() -> None:
    model, x = layer(torch.float32).eval(), normal(2, 90, 6, dtype=torch.float32)
    other = x.clone()
    other[:, 50:] = 1e4
    with torch.no_grad():
        assert torch.equal(model(x)[0][:, :50], model(other)[0][:, :50])


def test_the_reference_backend_gives_the_same_layer() -> None:
    x = normal(2, 40, 6)
    y, state = layer()(x)
    slow, last = layer(backend="reference")(x)
    torch.testing.assert_close(slow, y, rtol=0, atol=1e-12)
    torch.testing.assert_close(last.ssm, state.ssm, rtol=0, atol=1e-12)


# --- what is computed once ------------------------------------------------------------------------


def optimiser_step(model: S4D) -> S4D:
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(normal(2, 40, 6))[0].square().sum().backward()
    optimiser.step()
    return model.eval()


def write_through_data(model: S4D) -> S4D:
    model.kernel.C.data.mul_(2.0)
    return model


def skip_through_data(model: S4D) -> S4D:
    model.D.data.add_(1.0)
    return model


def load(model: S4D) -> S4D:
    model.load_state_dict(layer(seed=9).state_dict())
    return model


def assign(model: S4D) -> S4D:
    model.load_state_dict(layer(seed=9).state_dict(), assign=True)
    return model


def replace(model: S4D) -> S4D:
    model.kernel.log_dt = nn.Parameter(model.kernel.log_dt + 0.5)
    return model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "change", [optimiser_step, write_through_data, skip_through_data, load, assign, replace]
)
def test_filters_of_an_evaluated_layer_follow_its_weights(change: Any, form: str) -> None:
    model, x = layer(form=form).eval(), normal(2, 40, 6)
    with torch.no_grad():
        before, state = model(x)
        stepped, _ = model.step(x[:, 0], state)
    model = change(model)
    fresh = layer(form=form)
    fresh.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert torch.equal(model(x)[0], fresh(x)[0])
        assert torch.equal(model.step(x[:, 0], state)[0], fresh.step(x[:, 0], state)[0])
        assert not torch.equal(model(x)[0], before)
        assert not torch.equal(model.step(x[:, 0], state)[0], stepped)


@pytest.mark.parametrize("form", FORMS)
def test_an_evaluated_layer_at_other_lengths_types_and_gradients(form: str) -> None:
    model, fresh = layer(form=form).eval(), layer(form=form)
    for t in (40, 70, 3, 40, 1):
        x = normal(2, t, 6)
        with torch.no_grad():
            assert torch.equal(model(x)[0], fresh(x)[0])
    assert model(x)[0].requires_grad
    (grad,) = torch.autograd.grad(model(x)[0].sum(), model.kernel.C)
    assert bool(grad.any())
    model, fresh = model.float(), fresh.float()
    x = normal(2, 40, 6, dtype=torch.float32)
    with torch.inference_mode():
        assert torch.equal(model(x)[0], fresh(x)[0])
    # What inference mode left behind serves a layer whose weights are frozen.
    model.requires_grad_(False)
    leaf = x.clone().requires_grad_()
    (frozen,) = torch.autograd.grad(model(leaf)[0].sum(), leaf)
    (expected,) = torch.autograd.grad(fresh(leaf)[0].sum(), leaf)
    assert torch.equal(frozen, expected)
    assert "_computed" not in "".join(model.state_dict())
    again = copy.deepcopy(model)
    assert torch.equal(again(x)[0], model(x)[0])


# --- weights, types, states -----------------------------------------------------------------------


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_initial_weights(init: str) -> None:
    config = S4DConfig(2000, 8, dt_min=0.01, dt_max=1.0, init=init)
    model = S4D(config, torch.Generator().manual_seed(5)).requires_grad_(False)
    kernel = model.kernel
    expected = {
        "lin": ([-0.5] * 4, [0.0, math.pi, 2 * math.pi, 3 * math.pi]),
        "inv": ([-0.5] * 4, [8 / math.pi * (8 / (2 * k + 1) - 1) for k in range(4)]),
        "real": ([-1.0, -2.0, -3.0, -4.0], [0.0] * 4),
    }[init]
    for found, wanted in zip((-torch.exp(kernel.log_A_real), kernel.A_imag), expected, strict=True):
        torch.testing.assert_close(found, torch.tensor(wanted).expand(2000, 4))
    assert float(kernel.log_dt.min()) >= math.log(0.01) - 1e-6
    assert float(kernel.log_dt.max()) <= 1e-6
    assert float(kernel.log_dt.mean()) == pytest.approx(math.log(0.1), abs=0.1)
    assert float(kernel.C.square().sum(-1).mean()) == pytest.approx(1.0, abs=0.05)
    assert float(model.D.std()) == pytest.approx(1.0, abs=0.05)
    again = S4D(config, torch.Generator().manual_seed(5))
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    kept = [name for name, p in model.named_parameters() if getattr(p, "_no_weight_decay", False)]
    assert kept == ["kernel.log_dt", "kernel.log_A_real", "kernel.A_imag"]


@pytest.mark.parametrize("form", FORMS)
def test_low_precision_keeps_filters_and_states_in_float32(form: str) -> None:
    exact, x = layer(torch.float32, form=form), normal(2, 200, 6, dtype=torch.float32)
    expected, last = exact(x)
    low = layer(torch.bfloat16, form=form)
    y, state = low(x.bfloat16())
    assert (y.dtype, state.ssm.dtype) == (torch.bfloat16, torch.complex64)
    assert low.initial_state(2).ssm.dtype == torch.complex64
    with torch.autocast("cpu", torch.bfloat16):
        mixed, state = exact(x)
        stepped, _ = exact.step(x[:, 0], exact.initial_state(2))
        half, _ = exact(x.bfloat16())
        gradients = torch.autograd.grad(mixed.float().square().sum(), list(exact.parameters()))
    assert torch.equal(state.ssm, last.ssm)
    assert deviation(mixed.float(), expected) < 0.02
    assert deviation(half.float(), expected) < 0.02
    assert deviation(stepped.float(), expected[:, 0]) < 0.02
    wanted = torch.autograd.grad(expected.square().sum(), list(exact.parameters()))
    for a, b in zip(gradients, wanted, strict=True):
        assert deviation(a, b) < 0.03


def test_a_saved_state_continues() -> None:
    model, x = layer().eval().requires_grad_(False), normal(2, 20, 6)
    _, state = model(x)
    saved = io.BytesIO()
    torch.save(dataclasses.asdict(state), saved)
    saved.seek(0)
    loaded = S4DState(**torch.load(saved, weights_only=True))
    assert torch.equal(model.step(x[:, 0], loaded)[0], model.step(x[:, 0], state)[0])


def test_an_exported_program_gives_the_same_numbers() -> None:
    model = layer(torch.float32).eval().requires_grad_(False)

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model

        def forward(self, x: Tensor, ssm: Tensor) -> tuple[Tensor, Tensor]:
            y, state = self.layer.step(x, S4DState(ssm))
            return y, state.ssm

    x, state = normal(2, 6, dtype=torch.float32), model(normal(2, 9, 6, dtype=torch.float32))[1]
    program = torch.export.export(Step(), (x, state.ssm)).module()
    y, last = model.step(x, state)
    found = program(x, state.ssm)
    torch.testing.assert_close(found[0], y, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[1], last.ssm, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_hundred_thousand_steps_stay_bounded_and_equal_one_pass() -> None:
    model = layer(torch.float32).eval()
    x = normal(1, 100_000, 6, dtype=torch.float32)
    with torch.no_grad():
        whole, last = model(x)
        state = model.initial_state(1)
        # What a state can become: the sum of |drive decay^k| over k, and its largest input.
        modes = model.kernel.modes("zoh")
        bound = modes.drive.abs() / (1 - modes.decay.abs()) * x.abs().max()
        for t in range(100_000):
            y, state = model.step(x[:, t], state)
            if t % 1000 == 0:
                assert bool((state.ssm.abs() <= bound).all())
                assert deviation(y, whole[:, t]) <= 1e-5
    assert deviation(state.ssm, last.ssm) <= 1e-5
