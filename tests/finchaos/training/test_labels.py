"""Labels: what they are, and what they may not read."""

from __future__ import annotations

import numpy as np

from finchaos.markets.simulate.heston import HestonConfig, HestonRegime, simulate
from finchaos.training.labels import bar_variance, forward_log_variance, standardise


def test_forward_variance_equals_a_loop() -> None:
    variance = np.random.default_rng(1).exponential(size=(2, 30))
    labels = forward_log_variance(variance, (1, 4))
    for path in range(2):
        for t in range(30):
            for column, k in enumerate((1, 4)):
                ahead = variance[path, t + 1 : t + 1 + k]
                if len(ahead) < k:
                    assert np.isnan(labels[path, t, column])
                else:
                    assert np.isclose(labels[path, t, column], np.log(ahead.mean()))


def test_a_horizon_longer_than_the_window_labels_nothing() -> None:
    assert np.isnan(forward_log_variance(np.ones(5), (9,))).all()


def test_bar_variance_is_unbiased_on_a_plain_diffusion() -> None:
    market = HestonConfig((HestonRegime(1.0, 0.04, 0.0, 0.0, 0.0, 10.0),), substeps=64)
    paths = simulate(market, 200, 50, np.random.default_rng(2))
    arrays = {name: getattr(paths, name) for name in ("open", "high", "low", "close")}
    daily = 0.04 / 252
    assert abs(bar_variance(arrays).mean() / daily - 1.0) < 0.03


def test_a_gap_counts_as_variance() -> None:
    flat = dict.fromkeys(("open", "high", "low", "close"), np.array([1.0, 1.1, 1.1]))
    np.testing.assert_allclose(bar_variance(flat), [0.0, np.log(1.1) ** 2, 0.0], atol=1e-15)


def test_standardised_labels_keep_their_holes() -> None:
    labels = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, np.nan], [np.nan, 5.0]])
    scaled = standardise(labels)
    np.testing.assert_allclose(scaled[:3, 0] * 1.4826, [-1.0, 0.0, 1.0])
    np.testing.assert_array_equal(np.isnan(scaled), np.isnan(labels))
    assert not scaled[[0, 1, 3], 1].any()
