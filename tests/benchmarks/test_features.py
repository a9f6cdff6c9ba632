from __future__ import annotations

import numpy as np
import pytest

from benchmarks import features
from tests.benchmarks.small import ONCE


def test_every_indicator_agrees_with_every_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "ROWS", 5000)
    monkeypatch.setattr(features, "SEEN", (50, 100))
    monkeypatch.setattr(features, "CALLS", 3)
    batch, steps = features.run(ONCE).tables
    assert set(batch.column("peer")) == {"TA-Lib", "pandas-ta-classic", "pandas"}
    assert all(float(str(apart)) <= features.TOLERANCE for apart in batch.column("apart"))
    assert len(steps.rows) == len(features.SCHEMAS) + 1


def test_values_that_disagree_are_not_timed() -> None:
    ours = np.ones((1, 3000))
    with pytest.raises(RuntimeError, match="RSI: ours and other differ"):
        features.agree("RSI", {"ours": ours, "other": ours + 1e-6})
    with pytest.raises(RuntimeError, match="differ"):
        features.agree("RSI", {"ours": ours, "other": np.full((1, 3000), np.nan)})


def test_bars_are_possible() -> None:
    fields = features.bars(3000)
    assert (fields["low"] <= np.minimum(fields["open"], fields["close"])).all()
    assert (fields["high"] >= np.maximum(fields["open"], fields["close"])).all()
    assert fields["close"].max() / fields["close"].min() < 1e3
