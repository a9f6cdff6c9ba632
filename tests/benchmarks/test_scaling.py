from __future__ import annotations

import pytest

from benchmarks import scaling
from benchmarks.scaling import CURVES, Curve, slope
from tests.benchmarks.small import MAMBA, MAMBA2, ONCE


def test_times_slopes_and_figure() -> None:
    curves = (
        Curve(MAMBA, 1, (8, 16, 32), {"mambapy": 16}),
        Curve(MAMBA2, 1, (8, 16, 32), {"transformer": 32}),
    )
    report = scaling.run(ONCE, curves)
    first, second = report.tables
    assert first.column("side") == ["ours", "mambapy, parallel scan"]
    assert first.column("L32 ms")[1] is None
    assert second.column("L32 ms")[1] > 0
    assert "slope" in first.notes[0]
    assert report.figures is not None
    assert report.figures["svg"].startswith(b"<?xml")
    assert report.figures["png"].startswith(b"\x89PNG")


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_slope_of_a_power_is_its_exponent(power: float) -> None:
    assert slope({n: 3.0 * n**power for n in (128, 256, 512)}) == pytest.approx(power)


def test_lengths_double_from_128_to_32768() -> None:
    for curve in CURVES:
        assert curve.lengths[0] == 128
        assert curve.lengths[-1] == 32768
        assert all(b == 2 * a for a, b in zip(curve.lengths, curve.lengths[1:], strict=False))
