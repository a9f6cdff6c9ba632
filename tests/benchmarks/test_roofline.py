from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import roofline
from benchmarks.counts import FORMULAS, Part, parts, whole
from benchmarks.peers import MAMBA2_64, MAMBA2_128, MAMBA_64, MAMBA_128, OurStack, Shape
from benchmarks.processor_peak import multiply_adds
from benchmarks.roofline import Machine, Probes
from benchmarks.stacks import Case
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE

SHAPES = (MAMBA_64, MAMBA_128, MAMBA2_64, MAMBA2_128)
PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.addmm)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_counted_as_torch_counts_them(shape: Shape) -> None:
    one = Shape(shape.family, shape.d_model, shape.d_state, layers=1, headdim=shape.headdim)
    x = torch.randn(2, 5, shape.d_model, requires_grad=True)
    # Step by step, so that the projections are the only products.
    network = OurStack(one, "reference")
    with FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    by_operation = counter.get_flop_counts()["Global"]
    counted = sum(n for op, n in by_operation.items() if op in PRODUCTS)
    projections = (part for part in parts(shape) if part.name.endswith("_proj"))
    assert counted == 10 * sum(part.operations(backward=True) for part in projections)


def test_scans_are_counted_as_the_formulas_say() -> None:
    scans = {
        shape: next(part for part in parts(shape) if part.name == "scan")
        for shape in (MAMBA_64, MAMBA2_64)
    }
    mamba, mamba2 = scans[MAMBA_64], scans[MAMBA2_64]
    assert (mamba.forward, mamba.backward) == ((7 * 16 + 12) * 128, (21 * 16 + 20) * 128)
    assert mamba2.forward == (4 * 64 + 3) * 128 + 7 * 4
    assert mamba2.backward == (12 * 64 + 5) * 128 + 10 * 4
    assert FORMULAS.keys() == {shape.family for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_layer_does_the_work_of_its_parts_with_less_traffic(shape: Shape) -> None:
    layer = whole(shape)
    for backward in (False, True):
        assert layer.operations(backward) == sum(p.operations(backward) for p in parts(shape))
        assert layer.bytes(backward) < sum(p.bytes(backward) for p in parts(shape))


def test_the_bound_is_the_slower_of_arithmetic_and_traffic() -> None:
    machine = Machine(peak=100.0, bandwidth=10.0)
    assert machine.bound(Part("heavy", 500, 500, 1, 1)) == 10.0
    assert machine.bound(Part("heavy", 500, 500, 1, 1), backward=False) == 5.0
    assert machine.bound(Part("light", 1, 1, 25, 25)) == 20.0


def test_counts_machine_and_fraction() -> None:
    cases = (Case(MAMBA, 2, 8, ()), Case(MAMBA2, 2, 8, ()))
    reached, machine, *counts = roofline.run(ONCE, cases, Probes(32, 1024, 16)).tables
    assert reached.column("pass") == ["forward+backward", "forward"] * 2
    assert all(0 < fraction < 1 for fraction in reached.column("fraction of roofline"))
    probes = machine.column("probe")
    assert probes[0] == "product 32 cubed"
    assert {"copy", "multiply-adds from registers"} <= set(probes)
    for table, shape in zip(counts, (MAMBA, MAMBA2), strict=True):
        assert table.column("part") == [*(part.name for part in parts(shape)), "whole layer"]


def test_without_a_compiler_the_product_is_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert multiply_adds(1e3) is None
    report = roofline.run(ONCE, (Case(MAMBA, 1, 2, ()),), Probes(32, 1024, 16))
    assert report.tables[1].column("fraction of peak")[0] == 1.0
    assert "Without a compiler" in report.tables[1].notes[1]


def test_the_probe_of_the_registers_counts_what_it_does() -> None:
    found = multiply_adds(1e4)
    assert found is not None
    job, operations = found
    assert operations == pytest.approx(1e4, rel=0.1)
    # Every sum tends to term / (1 - factor) = 2 within a few rounds; there are operations / rounds
    # lanes of them, so that their total is a whole number of twos.
    assert job() % 24 == pytest.approx(0.0, abs=1e-3)
