"""Nothing that the eye would miss is left out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reports.downsample import extremes


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=400),
    st.integers(1, 40),
)
def test_ends_extremes_and_gaps_survive(raw: list[float], buckets: int) -> None:
    values = np.array(raw)
    kept = extremes(values, buckets)
    assert np.array_equal(kept, np.unique(kept))
    assert {0, len(values) - 1} <= set(kept.tolist())
    assert len(kept) <= 3 * buckets + 2
    assert np.isnan(values[kept]).any() == np.isnan(values).any()
    if not np.isnan(values).all():
        assert np.nanmin(values[kept]) == np.nanmin(values)
        assert np.nanmax(values[kept]) == np.nanmax(values)
