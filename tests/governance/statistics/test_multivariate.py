"""Energy distance against its definition, and its test under dependent nulls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import energy_distance as scipy_energy_distance

from finchaos.core.errors import InputError
from governance.statistics.multivariate import energy_distance, energy_test


def test_one_series_has_the_energy_distance_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 1)), rng.normal(size=(40, 1)) + 0.5
    expected = scipy_energy_distance(x[:, 0], y[:, 0]) ** 2
    assert energy_distance(x, y) == pytest.approx(expected, abs=1e-12)


def test_the_definition_pair_by_pair():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(9, 3))

    def mean(a, b):
        return np.mean([np.linalg.norm(p - q) for p in a for q in b])

    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    assert energy_distance(x, y) == pytest.approx(expected, abs=1e-12)


def autoregression(seed: int, rows: int, columns: int, phi: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return lfilter([1.0], [1.0, -phi], rng.normal(size=(rows + 200, columns)), axis=0)[200:]


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_its_size_holds_where_rows_follow_each_other(phi):
    rejected = 0
    for seed in range(40):
        panel = autoregression(seed, 550, 3, phi)
        found = energy_test(panel[:400], panel[400:], np.random.default_rng(seed), draws=99)
        rejected += found.p_value <= 0.1
    assert rejected <= 10  # expected 4; more in less than one of five hundred


def test_a_change_of_dependence_alone_is_found():
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=(1000, 2)), rng.normal(size=(250, 2))
    new[:, 1] = 0.9 * new[:, 0] + np.sqrt(1 - 0.81) * new[:, 1]
    found = energy_test(old, new, rng, draws=199)
    assert found.p_value <= 0.01
    assert found.statistic > found.limit


def test_units_change_nothing_and_the_seed_everything_there_is():
    panel = autoregression(5, 400, 3, 0.5)
    scaled = np.exp(panel * [1.0, 0.1, 3.0])
    first, second = (
        energy_test(table[:300], table[300:], np.random.default_rng(1), draws=99)
        for table in (panel, scaled)
    )
    assert first.statistic == pytest.approx(second.statistic, abs=1e-9)
    assert first == energy_test(panel[:300], panel[300:], np.random.default_rng(1), draws=99)


@pytest.mark.parametrize(
    ("old", "new"),
    [(np.ones((50, 2)), np.ones((50, 3))), (np.ones((50, 2)), np.full((50, 2), np.nan)),
     (np.ones((5, 2)), np.ones((50, 2)))],
)  # fmt: skip
def test_panels_that_do_not_fit_are_refused(old, new):
    with pytest.raises(InputError, match="cannot be compared"):
        energy_test(old, new, np.random.default_rng(0))
