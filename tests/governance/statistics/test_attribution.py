"""Summaries of attributions: shares, lags, agreement and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.attribution import (
    Attributions,
    WindowBootstrap,
    drawn_agreements,
    drawn_shares,
    importance_agreement,
    rank_correlation,
    shares,
    spread,
    window_agreement,
)


def random_attributions(n: int = 30, length: int = 12, features: int = 4) -> Attributions:
    rng = random_stream(1, "test.attribution")
    values = rng.normal(size=(n, length, features))
    outputs = rng.random(n)
    return Attributions(values, outputs, outputs - values.sum(axis=(1, 2)))


def test_complete_attributions_leave_no_residual() -> None:
    found = random_attributions()
    np.testing.assert_allclose(found.residuals, 0.0, atol=1e-12)
    short = Attributions(found.values, found.outputs + 0.25, found.baseline_outputs)
    np.testing.assert_allclose(short.residuals, -0.25)


def test_lag_zero_is_the_newest_bar_and_buckets_cover_the_window() -> None:
    values = np.zeros((2, 12, 1))
    values[:, -1], values[:, -2], values[:, 0] = 1.0, -2.0, 4.0
    found = Attributions(values, np.zeros(2), np.zeros(2))
    names, table = found.by_lag()
    assert names == ("0", "1", "2-4", "5-9", "10-11")
    assert table[0].tolist() == [1.0, 2.0, 0.0, 0.0, 4.0]
    random = random_attributions()
    assert random.by_lag()[1].sum() == pytest.approx(random.by_feature.sum())
    assert Attributions(values[:, :1], np.zeros(2), np.zeros(2)).by_lag()[0] == ("0",)


def test_shares_add_up_and_nothing_has_none() -> None:
    found = shares(random_attributions().by_feature)
    assert found is not None
    assert found.sum() == pytest.approx(1.0)
    assert shares(np.zeros((5, 3))) is None


def test_rank_correlation_agrees_with_scipy() -> None:
    rng = random_stream(2, "test.ranks")
    for _ in range(20):
        a, b = rng.integers(0, 6, size=(2, 15)).astype(float)
        assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(np.ones(5), np.arange(5.0)) is None
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None


def test_agreement_ignores_sign_within_windows() -> None:
    found = random_attributions()
    flipped = Attributions(-found.values, found.outputs, found.baseline_outputs)
    np.testing.assert_allclose(window_agreement(found, flipped), 1.0)
    nothing = Attributions(0.0 * found.values, found.outputs, found.outputs)
    assert np.isnan(window_agreement(found, nothing)).all()


def test_drawn_statistics_of_the_sample_itself_are_the_statistics() -> None:
    found = random_attributions()
    other = np.abs(random_stream(3, "test.other").normal(size=found.by_feature.shape))
    np.testing.assert_allclose(drawn_shares(found.by_feature[None])[0], shares(found.by_feature))
    both = np.concatenate([found.by_feature, other], axis=1)
    assert drawn_agreements(both[None])[0, 0] == pytest.approx(
        importance_agreement(found.by_feature, other)
    )


def test_interval_of_independent_windows_is_that_of_the_normal() -> None:
    values = random_stream(4, "test.interval").normal(size=(400, 1))
    bootstrap = WindowBootstrap.of(values[:, 0], draws=4000, level=0.95)
    (interval,) = bootstrap.intervals(
        values, lambda tables: tables.mean(axis=1), random_stream(5, "draws")
    )
    assert interval is not None
    assert interval.high - interval.low == pytest.approx(2 * 1.96 / 20.0, rel=0.15)


def test_spread_reaches_both_ends() -> None:
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 10).tolist() == [0, 1, 2]


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="do not fit"):
        Attributions(np.zeros((3, 2, 1)), np.zeros(3), np.zeros(2))
