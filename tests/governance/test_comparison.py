"""Comparison of two Signals, on differences that are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finchaos.core.signals import Signals
from governance.comparison import compare, decisions_apart

ROWS = 30


def _signals(seed: int = 0) -> Signals:
    rng = np.random.default_rng(seed)
    return Signals(
        pd.date_range("2020-01-01", periods=ROWS, tz="UTC"),
        position=rng.random(ROWS),
        stress_probability=rng.random(ROWS),
        regime=rng.integers(0, 2, ROWS),
        tripped=rng.random(ROWS) < 0.2,
        latents=rng.random((ROWS, 2)),
    )


@given(
    rows=st.sets(st.integers(0, ROWS - 1)),
    name=st.sampled_from(["position", "stress_probability", "regime", "tripped", "latents"]),
)
def test_exactly_the_planted_rows_are_found(rows: set[int], name: str) -> None:
    signals = _signals()
    values = getattr(signals, name).copy()
    for row in rows:
        values[row] = ~values[row] if name == "tripped" else values[row] + 1
    difference = compare(signals, replace(signals, **{name: values}), ROWS)
    assert set(np.flatnonzero(difference.changed)) == rows
    assert difference.rows == len(rows)
    assert difference.first == (min(rows) if rows else None)
    assert difference.fields == ((name,) if rows else ())
    assert difference.largest[name] == pytest.approx(1.0 if rows else 0.0)


def test_nan_equals_nan_and_nothing_else() -> None:
    signals = _signals()
    broken = signals.position.copy()
    broken[3] = np.nan
    with_nan = replace(signals, position=broken)
    assert compare(with_nan, replace(signals, position=broken), ROWS).rows == 0
    difference = compare(signals, with_nan, ROWS)
    assert difference.first == 3
    assert difference.largest["position"] == np.inf


def test_one_unit_in_the_last_place_is_a_change() -> None:
    signals = _signals()
    moved = signals.position.copy()
    moved[7] = np.nextafter(moved[7], 2.0)
    assert compare(signals, replace(signals, position=moved), ROWS).first == 7
    assert compare(signals, replace(signals, position=moved), 7).rows == 0


def test_missing_rows_stamps_and_fields_count() -> None:
    signals = _signals()
    assert compare(signals, signals.rows(0, 20), ROWS).rows == 10
    assert compare(signals, signals.rows(0, 20), 20).rows == 0
    late = replace(signals, index=signals.index.shift(1, freq="D"))
    assert compare(signals, late, ROWS).fields == ("time",)
    without = compare(signals, replace(signals, latents=None), ROWS)
    assert (without.rows, without.fields) == (ROWS, ("latents",))
    narrow = replace(signals, latents=np.zeros((ROWS, 1)))
    assert compare(signals, narrow, ROWS).rows == ROWS


def test_decisions_are_apart_beyond_the_tolerance_or_in_another_regime() -> None:
    index = pd.date_range("2024-01-01", periods=6, tz="UTC")
    first = Signals(index, np.array([0.0, 1.0, 0.5, np.nan, np.nan, 0.2]), regime=np.zeros(6))
    second = replace(
        first,
        index=index.shift(-9, freq="D"),
        position=np.array([0.0, 1.0 + 1e-9, 0.6, np.nan, 0.0, 0.2]),
        regime=np.array([0, 0, 0, 0, 0, 1]),
    )
    apart, gaps = decisions_apart(first, second, tolerance=1e-6)
    assert apart.tolist() == [False, False, True, False, True, True]
    assert gaps.tolist() == pytest.approx([0.0, 1e-9, 0.1, 0.0, np.inf, 0.0])
    assert decisions_apart(first, replace(first, regime=None), tolerance=1e-6)[0].all()
