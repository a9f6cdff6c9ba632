from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from benchmarks import gpu, gpu_equality
from benchmarks.gpu_equality import Grid
from benchmarks.stacks import Case
from finchaos.ssm import Mamba, Mamba2, Mamba2Config, MambaConfig, backends, cuda
from finchaos.ssm.cuda import packages
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE
from tests.finchaos.ssm.cuda_stand_ins import stand_ins

SMALL = Grid(2, 16, 8, 4, (1, 9))


@pytest.fixture
def _on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the packages, which compute where there is no GPU."""
    found = stand_ins()
    monkeypatch.setattr(packages, "load", lambda: found)
    monkeypatch.setitem(backends.DEVICES, "cuda", "cpu")
    monkeypatch.setattr(gpu, "GPU", "cpu")


def test_without_a_gpu_it_is_said_that_nothing_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cuda, "absence", lambda: "mamba-ssm is not installed")
    for benchmark in (gpu.run, gpu.layers, gpu_equality.run):
        (table,) = benchmark(ONCE).tables
        assert table.rows == (("no GPU here: not measured",),)
        assert table.notes == ("mamba-ssm is not installed",)


@pytest.mark.usefixtures("_on_cpu")
def test_equality_is_reported() -> None:
    table = gpu_equality.equality(SMALL, "cpu")
    assert len(table.rows) == 6 * 3 + 2 * 2
    assert set(table.column("equal")) == {"yes"}


@pytest.mark.usefixtures("_on_cpu")
def test_times_are_reported() -> None:
    work = gpu.Work((Case(MAMBA, 2, 9, ()), Case(MAMBA2, 2, 9, ())))
    passes, steps = gpu.run(ONCE, work).tables
    assert len(passes.rows) == 4
    assert all(deviation < 1e-5 for deviation in passes.column("deviation"))
    assert all(value > 0 for value in passes.column("CPU / GPU"))
    assert len(steps.rows) == 2


@pytest.mark.usefixtures("_on_cpu")
def test_another_result_is_not_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    door, make, complete = gpu_equality.DOORS["causal_conv"]

    def altered(x, backend: str, **others):
        return door(1.001 * x if backend == "cuda" else x, backend=backend, **others)

    monkeypatch.setattr(gpu_equality, "causal_conv", altered)
    monkeypatch.setattr(gpu_equality, "DOORS", {"causal_conv": (altered, make, complete)})
    monkeypatch.setattr(gpu_equality, "LAYERS", {})
    table = gpu_equality.equality(SMALL, "cpu")
    assert table.column("equal")[0] == "NO"


class TheirMamba(Mamba):
    """A layer with the arguments and the face of theirs."""

    def __init__(self, d_model: int, d_state: int) -> None:
        super().__init__(MambaConfig(d_model, d_state, backend="reference"))

    def forward(self, x):
        return super().forward(x)[0]


class TheirMamba2(Mamba2):
    def __init__(self, d_model: int, d_state: int, headdim: int, chunk_size: int) -> None:
        assert chunk_size == 64
        super().__init__(Mamba2Config(d_model, d_state, headdim=headdim, backend="reference"))

    def forward(self, x):
        return super().forward(x)[0]


@pytest.mark.usefixtures("_on_cpu")
def test_their_layers_are_put_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    package = SimpleNamespace(Mamba=TheirMamba, Mamba2=TheirMamba2)
    monkeypatch.setitem(sys.modules, "mamba_ssm", package)
    report = gpu.layers(ONCE, gpu.Work((Case(MAMBA, 2, 9, ()), Case(MAMBA2, 2, 9, ()))))
    (table,) = report.tables
    assert table.column("pass") == 2 * ["forward", "forward, backward"]
    assert all(deviation < 1e-5 for deviation in table.column("output deviation"))
