"""A fitted series: exact for ordinary lengths, the sketch's cells beyond, one law for both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from finchaos.core.errors import InputError
from governance.statistics import series_reference
from governance.statistics.null_distances import BlockPlan, null_distances
from governance.statistics.series_reference import MOST_EXACT_ROWS, SeriesReference
from governance.statistics.two_sample import DISTANCES, distances

LONG = MOST_EXACT_ROWS + 5_000


@pytest.mark.parametrize("decimals", [8, 0])
def test_ordinary_series_have_the_exact_distances(decimals):
    rng = np.random.default_rng(1)
    old, new = (np.round(rng.normal(size=n), decimals) for n in (3000, 400))
    fitted = SeriesReference(old, 10)
    assert fitted.sketch is None
    assert fitted.distances(new + 0.2) == distances(old, new + 0.2)
    assert fitted.stability_index(new + 0.2) == distances(old, new + 0.2)["psi"]


@pytest.mark.parametrize("decimals", [8, 1])
def test_long_series_agree_with_the_exact_ones(decimals):
    rng = np.random.default_rng(2)
    old = np.round(rng.standard_t(3, size=LONG), decimals)
    new = np.round(1.2 * rng.standard_t(3, size=8000) + 0.1, decimals)
    fitted = SeriesReference(old, 10)
    assert fitted.sketch is not None
    found, exact = fitted.distances(new), distances(old, new)
    for name in DISTANCES:
        assert found[name] == pytest.approx(exact[name], rel=0.03)
    assert found["ks"] <= ks_2samp(old, new, method="asymp").statistic + 1e-12
    p, q = fitted.shares(new)
    assert p.sum() == pytest.approx(1.0)
    assert found["psi"] == pytest.approx(((q - p) * np.log(q / p)).sum())


def test_cells_rise_with_the_values_and_hold_them_all():
    rng = np.random.default_rng(3)
    for n in (500, LONG):
        values = np.round(rng.standard_cauchy(n), 2)
        codes, cells = SeriesReference(values, 10).cells
        assert codes.shape == (n,)
        assert codes.min() >= 0
        assert codes.max() < cells
        assert (np.diff(codes[np.argsort(values, kind="stable")]) >= 0).all()


def test_the_null_of_cells_is_that_of_distinct_values(monkeypatch):
    values = np.random.default_rng(4).normal(size=(3000, 1))
    plan = BlockPlan(5, 0.9)
    exact = null_distances(values, 300, np.random.default_rng(5), plan=plan, draws=100)
    monkeypatch.setattr(series_reference, "MOST_EXACT_ROWS", 100)
    binned = null_distances(values, 300, np.random.default_rng(5), plan=plan, draws=100)
    for name in DISTANCES:
        # The same draws, cut by edges that differ by less than a cell.
        assert np.corrcoef(exact[name][:, 0], binned[name][:, 0])[0, 1] > 0.98
        assert binned[name].mean() == pytest.approx(exact[name].mean(), rel=0.03)
    assert (binned["ks"] <= exact["ks"] + 1e-12).all()


def test_no_series_is_refused():
    with pytest.raises(InputError, match="current is no sample"):
        SeriesReference(np.arange(50.0), 10).distances(np.array([np.nan]))
    with pytest.raises(InputError, match="reference"):
        SeriesReference(np.full(LONG, np.inf), 10).distances(np.arange(50.0))
