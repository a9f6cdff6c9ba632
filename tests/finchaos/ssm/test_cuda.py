"""The backend ``cuda`` against the definition: by stand-ins, and on a GPU by the packages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from finchaos.core.errors import InputError, MissingDependencyError
from finchaos.ssm import (
    Mamba2Block,
    Mamba2Config,
    MambaBlock,
    MambaConfig,
    backends,
    causal_conv,
    choose_backend,
    cuda,
    selective_scan,
    ssd_scan,
)
from finchaos.ssm.cuda import packages
from tests.finchaos.ssm.cuda_stand_ins import Products, stand_ins

Tensors = dict[str, Tensor]
VALUES, GRADIENTS = 2e-5, 1e-4
"""Largest deviation from float64 relative to the largest value, float32."""


@pytest.fixture(params=["stand-ins", pytest.param("packages", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "packages":
        absence = cuda.absence()
        if absence is not None:
            pytest.skip(absence)
        yield "cuda"
    else:
        use_stand_ins(monkeypatch)
        yield "cpu"


def use_stand_ins(monkeypatch: pytest.MonkeyPatch, products: Products | None = None) -> None:
    found = stand_ins(products)
    monkeypatch.setattr(packages, "load", lambda: found)
    monkeypatch.setitem(backends.DEVICES, "cuda", "cpu")


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mamba_tensors(time: int, d: int = 6, n: int = 5, batch: int = 2) -> Tensors:
    return {
        "u": normal(batch, time, d, seed=1),
        "delta": normal(batch, time, d, seed=2) - 2.0,
        "A": -torch.exp(normal(d, n, seed=3)),
        "B": normal(batch, time, n, seed=4),
        "C": normal(batch, time, n, seed=5),
        "D": normal(d, seed=6),
        "z": normal(batch, time, d, seed=7),
        "delta_bias": normal(d, seed=8),
        "initial_state": normal(batch, d, n, seed=9),
    }


def mamba2_tensors(time: int, h: int = 4, p: int = 3, g: int = 2, n: int = 5) -> Tensors:
    return {
        "x": normal(2, time, h, p, seed=1),
        "dt": normal(2, time, h, seed=2) - 2.0,
        "A": -torch.exp(normal(h, seed=3)),
        "B": normal(2, time, g, n, seed=4),
        "C": normal(2, time, g, n, seed=5),
        "D": normal(h, seed=6),
        "z": normal(2, time, h, p, seed=7),
        "dt_bias": normal(h, seed=8),
        "initial_state": normal(2, h, p, n, seed=9),
    }


def conv_tensors(time: int, d: int = 16, width: int = 4) -> Tensors:
    return {
        "x": normal(3, time, d, seed=1),
        "weight": normal(d, width, seed=2),
        "bias": normal(d, seed=3),
        "initial_state": normal(3, width - 1, d, seed=4),
    }


Run = tuple[list[Tensor], Tensors]


def both(
    door: Callable[..., Any],
    tensors: Tensors,
    device: str,
    loss_of: slice = slice(None),
    **options: Any,
) -> tuple[Run, Run]:
    """Outputs and gradients by the packages in float32 and by the definition in float64."""
    found = run(
        door, {k: v.to(device) for k, v in tensors.items()}, loss_of, backend="cuda", **options
    )
    wide = {k: v.double() for k, v in tensors.items()}
    return found, run(door, wide, loss_of, backend="reference", **options)


def run(door: Callable[..., Any], tensors: Tensors, loss_of: slice, **options: Any) -> Run:
    tensors = {name: v.clone().requires_grad_() for name, v in tensors.items()}
    first = next(iter(tensors.values()))
    options = {k: v.to(first.device) if isinstance(v, Tensor) else v for k, v in options.items()}
    outputs = [out for out in door(**tensors, **options) if out is not None]
    # Every number of every output is weighed differently.
    loss = sum(
        (out.double() * torch.linspace(-1, 2, out.numel(), device=out.device).view(out.shape)).sum()
        for out in outputs[loss_of]
    )
    assert isinstance(loss, Tensor)
    loss.backward()
    gradients = {name: v.grad for name, v in tensors.items() if v.grad is not None}
    return [out.detach() for out in outputs], gradients


def assert_equal(
    found: Run, expected: Run, values: float = VALUES, gradients: float = GRADIENTS
) -> None:
    assert len(found[0]) == len(expected[0])
    for mine, theirs in zip(found[0], expected[0], strict=True):
        assert mine.shape == theirs.shape
        assert deviation(mine, theirs) <= values
    # A tensor without influence may have no gradient in one and one of zeros in the other.
    for name, theirs in expected[1].items():
        if name in found[1]:
            assert deviation(found[1][name], theirs) <= gradients, name
        else:
            assert not theirs.any(), name


def deviation(found: Tensor, expected: Tensor) -> float:
    difference = (found.double().cpu() - expected.double().cpu()).abs()
    return float(difference.max() / expected.abs().max().clamp(min=1e-6)) if found.numel() else 0.0


OPTIONS = list(product((False, True), (None, torch.tensor([4, 9])), (None, [0, 3, 8])))
LOSSES = [slice(0, 1), slice(1, 2), slice(None)]


@pytest.mark.parametrize(("stateful", "lengths", "keep"), OPTIONS)
@pytest.mark.parametrize("loss_of", LOSSES, ids=["y", "last", "all"])
def test_selective_scan(
    device: str, stateful: bool, lengths: Tensor | None, keep: list[int] | None, loss_of: slice
) -> None:
    tensors = mamba_tensors(9)
    if not stateful:
        del tensors["initial_state"]
    options: dict[str, Any] = {"lengths": lengths, "keep": keep, "delta_softplus": True}
    assert_equal(*both(selective_scan, tensors, device, loss_of, **options))


@pytest.mark.parametrize("names", [(), ("D",), ("z", "delta_bias"), ("initial_state",)])
@pytest.mark.parametrize("time", [1, 2, 40])
def test_selective_scan_of_some_tensors(device: str, names: tuple[str, ...], time: int) -> None:
    tensors = mamba_tensors(time)
    tensors["delta"] = tensors["delta"].abs()
    tensors["delta_bias"] = tensors["delta_bias"].abs()
    tensors = {k: v for k, v in tensors.items() if k in ("u", "delta", "A", "B", "C", *names)}
    assert_equal(*both(selective_scan, tensors, device))


def test_states_pass_in_and_out_of_the_selective_scan_exactly(device: str) -> None:
    tensors = mamba_tensors(3)
    scale = torch.logspace(-12, 12, 2 * 6 * 5).view(2, 6, 5)
    tensors["initial_state"] = tensors["initial_state"] * scale
    tensors["delta"] = torch.zeros_like(tensors["delta"])
    del tensors["delta_bias"]
    on_device = {k: v.to(device) for k, v in tensors.items()}
    out = selective_scan(**on_device, keep=[0, 2], backend="cuda")
    for state in (out.last_state, out.states[:, 0], out.states[:, 1]):
        assert torch.equal(state, on_device["initial_state"])


def test_a_state_of_zeros_is_no_state(device: str) -> None:
    tensors = {k: v.to(device) for k, v in mamba_tensors(7).items()}
    state = torch.zeros_like(tensors.pop("initial_state"))
    without = selective_scan(**tensors, delta_softplus=True, backend="cuda")
    with_zeros = selective_scan(**tensors, initial_state=state, delta_softplus=True, backend="cuda")
    assert torch.equal(without.y, with_zeros.y)
    assert torch.equal(without.last_state, with_zeros.last_state)


@pytest.mark.parametrize(("stateful", "lengths", "keep"), OPTIONS)
@pytest.mark.parametrize("loss_of", LOSSES, ids=["y", "last", "all"])
def test_ssd_scan(
    device: str, stateful: bool, lengths: Tensor | None, keep: list[int] | None, loss_of: slice
) -> None:
    tensors = mamba2_tensors(9)
    if not stateful:
        del tensors["initial_state"]
    options: dict[str, Any] = {"lengths": lengths, "keep": keep, "dt_softplus": True}
    assert_equal(*both(ssd_scan, tensors, device, loss_of, **options))


@pytest.mark.parametrize("names", [(), ("D",), ("z", "dt_bias"), ("initial_state",)])
@pytest.mark.parametrize("time", [1, 2, 100])
def test_ssd_scan_of_some_tensors(device: str, names: tuple[str, ...], time: int) -> None:
    tensors = mamba2_tensors(time)
    tensors["dt"], tensors["dt_bias"] = tensors["dt"].abs(), tensors["dt_bias"].abs()
    tensors = {k: v for k, v in tensors.items() if k in ("x", "dt", "A", "B", "C", *names)}
    if "D" in tensors:
        tensors["D"] = normal(4, 3, seed=6)
    assert_equal(*both(ssd_scan, tensors, device, dt_limit=(0.05, 1.5)))


def test_small_steps_of_mamba_2_are_not_rounded_by_the_kernels_softplus(device: str) -> None:
    tensors = mamba2_tensors(9)
    tensors["dt"] = tensors["dt"] - 10.0
    assert_equal(*both(ssd_scan, tensors, device, dt_softplus=True), values=5e-6)


def test_both_passes_of_mamba_2_ask_for_full_products(monkeypatch: pytest.MonkeyPatch) -> None:
    products = Products()
    use_stand_ins(monkeypatch, products)
    x = {name: v.requires_grad_() for name, v in mamba2_tensors(4).items()}
    y = ssd_scan(**x, dt_softplus=True, backend="cuda").y
    assert products.entered == 1
    y.sum().backward(retain_graph=True)
    assert products.entered == 2
    y.sum().backward()


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("d", [16, 8, 5, 1])
@pytest.mark.parametrize("time", [1, 2, 9])
@pytest.mark.parametrize("stateful", [False, True])
def test_causal_conv(device: str, width: int, d: int, time: int, stateful: bool) -> None:
    tensors = conv_tensors(time, d, width)
    if not stateful:
        del tensors["initial_state"]
    if d == 8:
        del tensors["bias"]
    lengths = torch.tensor([time, 0, time // 2])
    for options in ({}, {"activation": "silu"}, {"lengths": lengths}):
        assert_equal(*both(causal_conv, tensors, device, **options))


STRIDES: dict[str, Callable[[Tensor], Tensor]] = {
    "time last": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "part of wider rows": lambda x: torch.cat([x, x], 2)[..., x.shape[2] :],
    "part of odd rows": lambda x: torch.cat([x, x[..., :3]], 2)[..., : x.shape[2]],
    "one off": lambda x: torch.cat([x[..., :1], x], 2)[..., 1:],
    "every other step": lambda x: torch.stack([x, x], 2).flatten(1, 2)[:, ::2],
    "batch last": lambda x: x.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "the same step": lambda x: x[:, :1].expand_as(x),
    "the same sequence": lambda x: x[:1].expand_as(x),
    "the same channel": lambda x: x[..., :1].expand_as(x),
}


@pytest.mark.parametrize("laid_out", STRIDES.values(), ids=STRIDES.keys())
def test_layouts_in_memory_are_of_no_account(
    device: str, laid_out: Callable[[Tensor], Tensor]
) -> None:
    def conv(x: Tensor, **others: Any) -> Any:
        return causal_conv(laid_out(x), **others)

    def scan(u: Tensor, B: Tensor, delta: Tensor, **others: Any) -> Any:
        return selective_scan(laid_out(u), laid_out(delta), B=laid_out(B), **others)

    def ssd(x: Tensor, B: Tensor, **others: Any) -> Any:
        wide = laid_out(x.flatten(2)).unflatten(2, x.shape[2:])
        return ssd_scan(wide, B=laid_out(B.flatten(2)).unflatten(2, B.shape[2:]), **others)

    assert_equal(*both(conv, conv_tensors(9), device))
    assert_equal(*both(scan, mamba_tensors(9), device, delta_softplus=True))
    assert_equal(*both(ssd, mamba2_tensors(9), device, dt_softplus=True))


@pytest.mark.parametrize("inner", [torch.float32, torch.bfloat16])
def test_a_selective_scan_read_as_vectors_may_lie_anywhere(device: str, inner: torch.dtype) -> None:
    def odd(x: Tensor) -> Tensor:
        """The same numbers, time last, in rows of an odd length that start at an odd place."""
        rows = torch.zeros(1 + len(x) * x.shape[2] * 131, dtype=x.dtype, device=x.device)
        rows = rows[1:].view(len(x), x.shape[2], 131)[..., 2:130]
        return rows.copy_(x.detach().transpose(1, 2)).transpose(1, 2)

    def shifted(x: Tensor) -> Tensor:
        """Without gaps, from an odd place."""
        rows = torch.zeros(1 + x.numel(), dtype=x.dtype, device=x.device)[1:]
        rows = rows.view(len(x), x.shape[2], 128)
        return rows.copy_(x.detach().transpose(1, 2)).transpose(1, 2)

    tensors = {k: v.to(device) for k, v in mamba_tensors(128).items() if k != "initial_state"}
    moving = ("u", "delta", "B", "C", "z")
    tensors = {k: v.to(inner) if k in moving else v for k, v in tensors.items()}
    found = []
    for lay in (torch.clone, shifted, odd):
        laid = {k: (lay(v) if k in moving else v).requires_grad_() for k, v in tensors.items()}
        y = selective_scan(**laid, delta_softplus=True, backend="cuda").y
        grad = lay(normal(*y.shape, seed=5).to(device, inner))
        found.append([y.detach(), *torch.autograd.grad(y, list(laid.values()), grad)])
    # The kernels add up gradients in any order, before they round to the type.
    tolerance = GRADIENTS if inner == torch.float32 else 1e-2
    for other in found[1:]:
        for plain, laid_out in zip(found[0], other, strict=True):
            assert deviation(laid_out, plain) <= tolerance


@pytest.mark.parametrize("laid_out", STRIDES.values(), ids=STRIDES.keys())
def test_layouts_of_gradients_are_of_no_account(
    device: str, laid_out: Callable[[Tensor], Tensor]
) -> None:
    tensors = {k: v.to(device).requires_grad_() for k, v in conv_tensors(9).items()}
    grads = []
    for backend in ("cuda", "reference"):
        y, _ = causal_conv(**tensors, backend=backend)
        grad = laid_out(normal(*y.shape, seed=5).to(device))
        grads.append(torch.autograd.grad(y, list(tensors.values()), grad))
    for found, expected in zip(*grads, strict=True):
        assert deviation(found, expected) <= GRADIENTS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("stateful", [False, True])
def test_half_precision(device: str, dtype: torch.dtype, stateful: bool) -> None:
    moving = ("u", "delta", "x", "dt", "B", "C", "z")
    doors = (
        (selective_scan, mamba_tensors(40), {"delta_softplus": True}),
        (ssd_scan, mamba2_tensors(40), {"dt_softplus": True}),
        (causal_conv, conv_tensors(9), {"activation": "silu"}),
    )
    for door, tensors, options in doors:
        tensors = {k: v.to(device) for k, v in tensors.items()}
        tensors = {k: v.to(dtype) if k in moving else v for k, v in tensors.items()}
        if not stateful:
            del tensors["initial_state"]
        found = run(door, tensors, slice(None), **options, backend="cuda")
        expected = run(door, tensors, slice(None), **options, backend="reference")
        for mine, theirs in zip(found[0], expected[0], strict=True):
            assert mine.dtype == theirs.dtype
        assert_equal(found, expected, values=2e-2, gradients=4e-2)


@pytest.mark.parametrize("block", ["mamba", "mamba2"])
@pytest.mark.parametrize("stateful", [False, True])
def test_blocks(device: str, block: str, stateful: bool) -> None:
    def build(backend: str) -> torch.nn.Module:
        generator = torch.Generator().manual_seed(3)
        if block == "mamba":
            return MambaBlock(MambaConfig(16, 4, backend=backend), generator)
        return Mamba2Block(Mamba2Config(16, 4, headdim=8, backend=backend), generator)

    x = normal(2, 12, 16, seed=1)
    results = []
    for backend, kind, where in (
        ("cuda", torch.float32, device),
        ("reference", torch.float64, "cpu"),
    ):
        network = build(backend).to(where, kind)
        rows = x.to(where, kind).detach().requires_grad_()
        state = None
        if stateful:
            _, state = network(rows.flip(1))
        y, after = network(rows, state, torch.tensor([12, 7], device=where))
        (y.square().sum() + after.ssm.sum() + after.conv.square().sum()).backward()
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        results.append(([y.detach(), after.ssm.detach()], {"x": rows.grad, **gradients}))
    assert_equal(*results)


def test_what_the_kernels_cannot_do_is_refused_by_name_and_auto_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use_stand_ins(monkeypatch)
    monkeypatch.delitem(backends.DEVICES, "cpu")
    backends._notify.cache_clear()
    wide = {k: v.double() for k, v in mamba_tensors(3).items()}
    with pytest.raises(InputError, match="no kernels for float64"):
        selective_scan(**wide, delta_softplus=True, backend="cuda")
    with pytest.raises(InputError, match="at most 256 states, not 257"):
        selective_scan(**mamba_tensors(3, n=257), delta_softplus=True, backend="cuda")
    with pytest.raises(InputError, match="widths from 2 to 4, not 5"):
        causal_conv(**conv_tensors(3, width=5), backend="cuda")
    with pytest.raises(InputError, match="no kernels for float64"):
        ssd_scan(**{k: v.double() for k, v in mamba2_tensors(3).items()}, backend="cuda")
    with pytest.warns(backends.BackendNotice, match="widths from 2 to 4, not 5"):
        causal_conv(**conv_tensors(3, width=5))


def test_negative_steps_are_refused(device: str) -> None:
    tensors = {k: v.to(device) for k, v in mamba_tensors(3).items()}
    with pytest.raises(InputError, match="delta holds negative step sizes"):
        selective_scan(**tensors, backend="cuda")
    tensors = {k: v.to(device) for k, v in mamba2_tensors(3).items()}
    with pytest.raises(InputError, match="dt holds negative step sizes"):
        ssd_scan(**tensors, backend="cuda")


def test_tensors_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = stand_ins()
    monkeypatch.setattr(packages, "load", lambda: found)
    with pytest.raises(InputError, match="does not compute on the device"):
        selective_scan(**mamba_tensors(3), delta_softplus=True, backend="cuda")
    assert choose_backend("cuda").reason == "asked for by name"


def test_tensors_too_large_for_32_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from finchaos.ssm.cuda import ssd

    use_stand_ins(monkeypatch)
    monkeypatch.setattr(ssd, "MOST_NUMBERS", 2 * 9 * 4 * 3)
    with pytest.raises(InputError, match="x is larger than the kernels"):
        ssd_scan(**mamba2_tensors(9), dt_softplus=True, backend="cuda")


def test_half_of_an_installation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"mamba-ssm": "2.3.2.post1", "causal-conv1d": "1.7.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise packages.PackageNotFoundError(name)
        return versions[name]

    def absence() -> str:
        packages.load.cache_clear()
        found = cuda.absence()
        assert found is not None
        assert packages.GUIDE in found
        return found

    monkeypatch.setattr(packages, "version", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "sees no CUDA device" in absence()
    versions["causal-conv1d"] = "1.5.0"
    assert "causal-conv1d 1.5.0 is older than 1.6" in absence()
    del versions["mamba-ssm"]
    assert "mamba-ssm is not installed" in absence()
    with pytest.raises(MissingDependencyError, match="mamba-ssm is not installed"):
        packages.kernels()
    versions["mamba-ssm"], versions["causal-conv1d"] = "2.3.2", "1.7.0"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    def broken(name: str) -> Any:
        raise ImportError(
            "selective_scan_cuda.so: undefined symbol: _ZN3c104cuda9SetDeviceEab\nmore"
        )

    monkeypatch.setattr(packages, "import_module", broken)
    assert "do not work: selective_scan_cuda.so: undefined symbol" in absence()

    class WithoutKernels:
        selective_scan_cuda = None

    monkeypatch.setattr(packages, "import_module", lambda name: WithoutKernels)
    assert absence()
    packages.load.cache_clear()


def test_versions_are_those_of_the_extra() -> None:
    from importlib.metadata import requires

    wanted = [
        r.split(";")[0].strip()
        for r in requires("finchaos") or ()
        if "extra == 'cuda'" in r.replace('"', "'")
    ]
    oldest = {f"{name}>={'.'.join(map(str, v))}" for name, v in packages.OLDEST.items()}
    assert set(wanted) == oldest
