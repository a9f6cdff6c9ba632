"""The table of sizes: complete, and silent where a null is not true."""

from __future__ import annotations

from benchmarks.nulls import blind, knowing, process
from benchmarks.report import Report
from benchmarks.sizes import Sizes, run
from tests.benchmarks.small import ONCE

SMALL = Sizes(paths=2, bars=400, draws=100, nulls=("iid", "AR(1)"))
CHECKS = (
    "calibration", "data_snooping", "forecast_comparison", "luck", "residuals", "tail_risk",
)  # fmt: skip


def table() -> Report:
    return run(ONCE, SMALL)


def test_every_check_is_counted_with_exact_intervals() -> None:
    (found,) = table().tables
    assert sorted(set(found.column("check"))) == list(CHECKS)
    rates = [value for value in found.column("iid, %") if value is not None]
    assert all(0.0 <= value <= 100.0 for value in rates)  # type: ignore[operator]
    assert all(" to " in str(cell) for cell in found.column("iid, 95 % interval"))
    rows = {row[:3]: row for row in found.rows}
    assert rows["tail_risk", "independence_probability", "implied, 0.05"][5] is None
    assert rows["tail_risk", "independence_probability", "given, 0.05"][5] is not None
    assert rows["luck", "shift_probability", ""][5] is not None
    assert rows["residuals", "return_probability", "5"][5] is None


def test_markets_repeat_and_their_moments_are_what_they_say() -> None:
    for name in ("iid", "AR(1)", "GARCH"):
        path = process(name, 1, 4000)
        assert (path.returns == process(name, 1, 4000).returns).all()
        scores = (path.returns - path.mean) / path.volatility
        assert abs(scores.std() - 1.0) < 0.05
        assert abs((scores[1:] * scores[:-1]).mean()) < 0.05
        assert len(path.bars()) == 4001
    assert abs(blind(1, "a", 4000).fields["regime"].mean() - 0.5) < 0.15
    assert len(knowing(process("iid", 1, 50)).fields["forecast_mean"]) == 51
