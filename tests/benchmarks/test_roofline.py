from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import roofline
from benchmarks.peers import MAMBA_64, MAMBA_128, OurStack, Shape
from benchmarks.roofline import Machine, Part, Probes, parts
from benchmarks.stacks import Case
from tests.benchmarks.small import MAMBA, ONCE


@pytest.mark.parametrize("shape", [MAMBA_64, MAMBA_128])
def test_products_are_counted_as_torch_counts_them(shape: Shape) -> None:
    one = Shape("mamba", shape.d_model, shape.d_state, layers=1)
    x = torch.randn(2, 5, shape.d_model, requires_grad=True)
    network = OurStack(one, "torch")
    with FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    by_operation = counter.get_flop_counts()["Global"]
    counted = sum(
        n for op, n in by_operation.items() if op in (torch.ops.aten.mm, torch.ops.aten.addmm)
    )
    projections = sum(part.operations for part in parts(shape) if part.name.endswith("_proj"))
    assert counted == 10 * projections


def test_the_bound_is_the_slower_of_arithmetic_and_traffic() -> None:
    machine = Machine(peak=100.0, bandwidth=10.0)
    assert machine.bound(Part("heavy", 500, 500, 1, 1)) == 10.0
    assert machine.bound(Part("light", 1, 1, 25, 25)) == 20.0


def test_counts_machine_and_fraction() -> None:
    case = Case(MAMBA, 2, 8, ())
    reached, machine, counts = roofline.run(ONCE, (case,), Probes(32, 1024, 16)).tables
    assert 0 < reached.column("fraction of bound")[0] < 1
    assert machine.column("probe")[:2] == ["copy", "product 32 cubed"]
    assert len(machine.rows) == 2 + 3 * 4
    assert counts.column("part") == [part.name for part in parts(MAMBA)]
