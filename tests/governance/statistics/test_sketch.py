"""The sketch against definitions one value at a time, and against scipy within its stated error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from scipy.stats import ks_2samp

from finchaos.core.errors import InputError, IntegrityError
from governance.statistics.sketch import ReferenceSketch, cell_of
from governance.statistics.two_sample import distances


def columns(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Normal, heavy-tailed, log-normal, two-valued, rounded and constant columns."""
    normal = rng.normal(size=rows)
    return np.stack(
        [
            normal,
            rng.standard_t(2, rows) * 1e-4,
            np.exp(3 * rng.normal(size=rows)),
            (normal > 0.3).astype(float),
            np.round(normal, 1),
            np.full(rows, 2.5),
        ],
        axis=1,
    )


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(4)
    reference, current = columns(rng, 5000), columns(rng, 1200)
    current[:, 0] = 1.3 * current[:, 0] + 0.2
    current[:, 1] *= 2.0
    return reference, current


def slow_shares(sketch: ReferenceSketch, j: int, values: np.ndarray) -> np.ndarray:
    """Shares by bin, one value and one bin at a time."""
    ends = sketch.last_cells[j]
    bins: list[tuple[int, int]] = []
    start = 0
    for end in sorted(set(ends.tolist())):
        if (ends == end).sum() > 1 and end > start:
            bins.append((start, end - 1))
            start = end
        bins.append((start, end))
        start = end + 1
    if start <= sketch.cells + 1:
        bins.append((start, sketch.cells + 1))
    cells = [int(cell_of(np.array([x]), sketch.low[j], sketch.scale[j], sketch.cells)[0])
             for x in values]  # fmt: skip
    held = np.array([sum(a <= c <= b for c in cells) for a, b in bins]) + 0.5
    return held / held.sum()


def test_divergences_equal_their_definitions(samples):
    reference, current = samples
    sketch = ReferenceSketch.fit(reference)
    found = sketch.distances(sketch.count(current))
    for j in range(reference.shape[1]):
        p, q = (slow_shares(sketch, j, sample[:, j]) for sample in (reference, current))
        middle = 0.5 * (p + q)
        forward, back = scipy_entropy(p, q), scipy_entropy(q, p)
        assert found.kl_reference_to_current[j] == pytest.approx(forward, abs=1e-12)
        assert found.kl_current_to_reference[j] == pytest.approx(back, abs=1e-12)
        assert found.psi[j] == pytest.approx(forward + back, abs=1e-12)
        shannon = 0.5 * (scipy_entropy(p, middle) + scipy_entropy(q, middle))
        assert found.jensen_shannon[j] == pytest.approx(shannon, abs=1e-12)


def test_kolmogorov_smirnov_is_scipys_within_the_stated_error(samples):
    reference, current = samples
    for cells in (64, 2048):
        sketch = ReferenceSketch.fit(reference, cells=cells)
        found = sketch.distances(sketch.count(current))
        for j in range(reference.shape[1]):
            exact = ks_2samp(reference[:, j], current[:, j], method="asymp").statistic
            assert found.ks[j] <= exact + 1e-12
            assert exact <= found.ks[j] + found.ks_error[j]
    assert found.ks_error[0] < 0.002


def test_fine_cells_give_the_index_of_the_exact_quantiles(samples):
    reference, current = samples
    sketch = ReferenceSketch.fit(reference, cells=100_000)
    found = sketch.distances(sketch.count(current))
    for j in (0, 3, 4):
        exact = distances(reference[:, j], current[:, j])
        assert found.psi[j] == pytest.approx(exact["psi"], abs=2e-3)


def test_batches_add_up_and_the_reference_is_zero_from_itself(samples):
    reference, current = samples
    sketch = ReferenceSketch.fit(reference)
    parts = [sketch.count(part) for part in np.array_split(current, 7)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert np.array_equal(total.cells, sketch.count(current).cells)
    same = sketch.distances(sketch.count(reference))
    assert same.psi.max() == 0.0
    assert same.ks.max() == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=64, allow_nan=True), min_size=1, max_size=30), st.integers(2, 40))
def test_every_value_is_counted_once_where_the_definition_says(values, cells):
    reference = np.array([0.0, 0.5, 1.0, 1.0, 3.0, -2.0])[:, None]
    sketch = ReferenceSketch.fit(reference, cells=cells, bins=2)
    batch = np.array(values)
    counts = sketch.count(batch[:, None])
    numbers = batch[~np.isnan(batch)]
    expected = np.bincount(
        cell_of(numbers, sketch.low[0], sketch.scale[0], cells), minlength=cells + 2
    )
    assert np.array_equal(counts.cells[0], expected)
    assert counts.missing[0] == np.isnan(batch).sum()
    assert counts.below[0] == (numbers < -2.0).sum()
    assert counts.above[0] == (numbers > 3.0).sum()


def test_what_is_missing_or_beyond_the_reference_is_said():
    rng = np.random.default_rng(0)
    reference = rng.uniform(size=(1000, 2))
    sketch = ReferenceSketch.fit(reference)
    batch = np.array([[np.nan, 0.5], [2.0, 0.5], [-1.0, 0.5], [0.5, 0.5]])
    found = sketch.distances(sketch.count(batch))
    assert found.missing.tolist() == [0.25, 0.0]
    assert found.beyond_range.tolist() == [pytest.approx(2 / 3), 0.0]
    nothing = sketch.distances(sketch.count(np.full((3, 2), np.nan)))
    assert np.isnan(nothing.psi).all()
    assert np.isnan(nothing.ks).all()
    assert (nothing.missing == 1.0).all()


def test_a_bin_that_new_data_leave_empty_is_no_infinity():
    rng = np.random.default_rng(1)
    sketch = ReferenceSketch.fit(rng.normal(size=(500, 1)))
    found = sketch.distances(sketch.count(np.full((10, 1), 9.0)))
    assert np.isfinite([found.psi[0], found.kl_reference_to_current[0]]).all()
    assert found.ks[0] == pytest.approx(1.0)


def test_single_precision_is_counted_as_it_is():
    rng = np.random.default_rng(2)
    reference = rng.normal(size=(3000, 3)).astype(np.float32)
    sketch = ReferenceSketch.fit(reference)
    double = sketch.count(reference.astype(np.float64))
    assert np.array_equal(sketch.counts.cells, double.cells)


def test_it_is_written_and_read_back(samples):
    reference, current = samples
    sketch = ReferenceSketch.fit(reference, cells=128)
    back = ReferenceSketch.from_json(sketch.to_json())
    assert back.digest == sketch.digest
    first, second = (one.distances(one.count(current)) for one in (sketch, back))
    assert np.array_equal(first.psi, second.psi)
    assert np.array_equal(first.ks, second.ks)
    for broken in (b"{}", b"no", sketch.to_json().replace(b'"low":[', b'"low":[0,')):
        with pytest.raises(IntegrityError, match="not a sketch"):
            ReferenceSketch.from_json(broken)


@pytest.mark.parametrize(
    "reference",
    [np.ones(4), np.ones((0, 2)), np.full((3, 1), np.nan), np.array([[1.0], [np.inf]])],
)
def test_an_impossible_reference_is_refused(reference):
    with pytest.raises(InputError):
        ReferenceSketch.fit(reference)


def test_impossible_settings_and_batches_are_refused():
    table = np.arange(20.0)[:, None]
    with pytest.raises(InputError, match="2 <= bins <= cells"):
        ReferenceSketch.fit(table, cells=5, bins=10)
    with pytest.raises(InputError, match="1 columns"):
        ReferenceSketch.fit(table).count(np.ones((3, 2)))
    with pytest.raises(InputError, match="cannot be added"):
        ReferenceSketch.fit(table).counts + ReferenceSketch.fit(table, cells=10).counts
