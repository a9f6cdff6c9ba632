"""Memory of a layer: against analytic cases, and against what altering an input really does."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from finchaos.core.errors import InputError
from finchaos.ssm import Mamba2Block, Mamba2Config, MambaBlock, MambaConfig, selective_scan
from finchaos.ssm.introspection import (
    HALF,
    LagProfile,
    decay,
    influence_by_lag,
    memory_length,
    typical_step_size,
)

SHARES = (0.5, 0.9, 0.99)


def block(seed: int = 1) -> MambaBlock:
    config = MambaConfig(4, 3, backend="torch")
    return MambaBlock(config, torch.Generator().manual_seed(seed)).double()


def sequence(steps: int = 40, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, steps, 4, dtype=torch.float64, generator=generator)


def one_channel(dt: float, rate: float) -> object:
    """y[t] = sum over l of dt exp(-rate dt l) x[t - l]."""

    def scan(x: Tensor) -> Tensor:
        ones = torch.ones_like(x)
        A = torch.full((1, 1), -rate, dtype=x.dtype)
        return selective_scan(x, dt * ones, A, ones, ones).y

    return scan


@pytest.mark.parametrize(("dt", "rate"), [(0.1, 1.0), (0.02, 3.0), (1.5, 0.4)])
def test_one_channel_against_its_geometric_series(dt: float, rate: float) -> None:
    steps = 300
    x = torch.randn(2, steps, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    profile = influence_by_lag(one_channel(dt, rate), x)  # type: ignore[arg-type]
    factor = math.exp(-dt * rate)
    expected = dt * factor ** torch.arange(steps, dtype=torch.float64)
    torch.testing.assert_close(profile.influence, expected.expand(2, -1), rtol=1e-12, atol=0)
    for share in SHARES:
        # Up to lag l lies (1 - factor^(l+1)) / (1 - factor^steps) of the influence.
        left = 1.0 - share * (1.0 - factor**steps)
        lag = math.ceil(math.log(left) / math.log(factor) - 1.0 - 1e-9)
        assert profile.effective_memory(share).tolist() == [max(lag, 0)] * 2


def test_influence_is_what_altering_an_input_does() -> None:
    model, x = block(), sequence()
    profile = influence_by_lag(lambda x: model(x)[0], x, at=30)
    assert profile.influence.shape == (2, 31)
    step = 1e-6
    with torch.no_grad():
        for lag in (0, 1, 3, 4, 17, 30):
            columns = []
            for channel in range(4):
                up, down = x.clone(), x.clone()
                up[:, 30 - lag, channel] += step
                down[:, 30 - lag, channel] -= step
                columns.append((model(up)[0] - model(down)[0])[:, 30] / (2 * step))
            norm = torch.stack(columns, -1).square().sum((1, 2)).sqrt()
            torch.testing.assert_close(profile.influence[:, lag], norm, rtol=1e-6, atol=1e-9)


def test_memory_lengths_are_when_a_contribution_has_fallen() -> None:
    """With constant step sizes, the state after one input falls as the figures say."""
    model = block()
    with torch.no_grad():
        model.mixer.dt_proj.weight.zero_()
        trace = model.trace(sequence(1))
        length, half = memory_length(trace), memory_length(trace, HALF)
        kept = decay(trace)[0, 0]
    torch.testing.assert_close(kept**length, torch.full_like(length, math.exp(-1)))
    torch.testing.assert_close(kept**half, torch.full_like(length, 0.5))
    assert length.shape == (8, 3)


def test_heads_have_one_memory_each() -> None:
    config = Mamba2Config(4, d_state=5, headdim=2, backend="torch")
    model = Mamba2Block(config, torch.Generator().manual_seed(1)).double()
    trace = model.trace(sequence())
    expected = -1.0 / (trace.dt.flatten(0, 1).median(0).values * trace.A)
    torch.testing.assert_close(memory_length(trace), expected.detach())
    assert decay(trace).shape == (2, 40, 4)


def test_typical_step_sizes_leave_padding_out() -> None:
    model, x = block(), sequence()
    padded = model.trace(x, lengths=torch.tensor([40, 11]))
    pieces = [model.trace(x[:1]).dt[0], model.trace(x[1:, :11]).dt[0]]
    expected = torch.cat(pieces).median(0).values
    torch.testing.assert_close(typical_step_size(padded), expected.detach())
    assert bool((decay(padded)[1, 11:] == 1).all())
    with pytest.raises(InputError, match="padding alone"):
        typical_step_size(model.trace(x, lengths=torch.tensor([0, 0])))


def test_a_longer_clock_tick_shortens_both_memories() -> None:
    slow, fast = block(), block()
    with torch.no_grad():
        slow.mixer.dt_proj.bias.sub_(2.0)
        fast.mixer.dt_proj.bias.add_(2.0)
        for model in (slow, fast):
            model.mixer.D.zero_()
    x = sequence(300)
    assert bool((memory_length(fast.trace(x)) < memory_length(slow.trace(x))).all())
    reach = [
        influence_by_lag(lambda x, m=model.mixer: m(x)[0], x).effective_memory()  # type: ignore[misc]
        for model in (fast, slow)
    ]
    assert bool((reach[0] < reach[1]).all())


def test_what_reads_ahead_or_mixes_shapes_is_refused() -> None:
    x = sequence()
    with pytest.raises(InputError, match="step 10 depends on inputs after it"):
        influence_by_lag(lambda x: x + x.flip(1), x, at=10)
    with pytest.raises(InputError, match="another shape"):
        influence_by_lag(lambda x: x[:, -1], x)
    with pytest.raises(InputError, match="no such step"):
        influence_by_lag(lambda x: x, x, at=40)


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1, math.nan])
def test_fractions_are_checked(wrong: float) -> None:
    with pytest.raises(InputError, match="share must lie between 0 and 1"):
        LagProfile(torch.ones(1, 3)).effective_memory(wrong)
    with pytest.raises(InputError, match="remaining must lie between 0 and 1"):
        memory_length(block().trace(sequence()), wrong)


def test_without_influence_there_is_no_memory() -> None:
    with pytest.raises(InputError, match="depends on no input"):
        influence_by_lag(lambda x: 0.0 * x, sequence()).effective_memory()


def test_what_is_no_trace_is_refused() -> None:
    model = block()
    _, state = model(torch.ones(1, 3, 4).double())
    for wrong in (model, state, None, 3):
        for read in (memory_length, typical_step_size, decay):
            with pytest.raises(InputError, match=rf"read from a trace.*got {type(wrong).__name__}"):
                read(wrong)  # type: ignore[operator]
    with pytest.raises(InputError, match="remaining must lie between 0 and 1"):
        memory_length(model.trace(torch.ones(1, 3, 4).double()), "half")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (x, x), r"got tuple; of a layer take the first"),
        (torch.zeros_like, "does not depend on its input"),
        (lambda x: x.detach() * 2, "does not depend on its input"),
        (lambda x: x[0], "output of another shape"),
    ],
)
def test_a_function_without_influence_is_refused(function: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        influence_by_lag(function, torch.ones(1, 4, 2))


@pytest.mark.parametrize(
    "x", [torch.ones(4, 2), torch.ones(1, 4, 2).long(), torch.ones(1, 0, 2), [[1.0]]]
)
def test_influence_is_measured_in_sequences(x: Any) -> None:
    with pytest.raises(InputError, match=r"^x (must be sequences|is no tensor)"):
        influence_by_lag(lambda v: v, x)
