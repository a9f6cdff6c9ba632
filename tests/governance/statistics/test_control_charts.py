"""Run lengths against published tables, an integral equation and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from finchaos.core.errors import InputError
from governance.statistics.control_charts import (
    Cusum,
    Ewma,
    normal_limit,
    one_sided_cusum_run_length,
)


@pytest.mark.parametrize(
    ("limit", "shift", "published"),
    # Montgomery, Introduction to Statistical Quality Control, table 9.3 (k = 0.5, two-sided).
    [
        (4.0, 0.0, 168.0),
        (4.0, 0.5, 26.6),
        (4.0, 1.0, 8.38),
        (4.0, 2.0, 3.34),
        (5.0, 0.0, 465.0),
        (5.0, 0.5, 38.0),
        (5.0, 1.0, 10.4),
        (5.0, 2.0, 4.01),
    ],
)
def test_cusum_run_lengths_are_the_published_ones(limit, shift, published):
    assert Cusum(0.5).run_length(limit, shift) == pytest.approx(published, rel=3e-3)


@pytest.mark.parametrize(
    ("weight", "limit", "shift", "published"),
    # Lucas & Saccucci (1990), table 3.
    [
        (0.05, 2.615, 0.0, 500.0),
        (0.1, 2.814, 0.0, 500.0),
        (0.1, 2.814, 0.5, 31.3),
        (0.1, 2.814, 1.0, 10.3),
        (0.1, 2.814, 2.0, 4.36),
        (0.25, 2.998, 0.0, 500.0),
        (0.5, 3.071, 0.0, 500.0),
    ],
)
def test_ewma_run_lengths_are_the_published_ones(weight, limit, shift, published):
    assert Ewma(weight).run_length(limit, shift) == pytest.approx(published, rel=3e-3)


def cusum_by_integral_equation(k: float, limit: float, shift: float) -> float:
    """Page's equation, L(s) = 1 + L(0) P(z <= k - s) + integral of L(y) f(y + k - s), by
    Gauss-Legendre nodes."""
    node, weight = np.polynomial.legendre.leggauss(80)
    y = np.concatenate([[0.0], 0.5 * limit * (node + 1.0)])
    w = np.concatenate([[0.0], 0.5 * limit * weight])
    ahead = y[None, :] + k - y[:, None] - shift
    moves = w[None, :] * np.exp(-0.5 * ahead**2) / np.sqrt(2.0 * np.pi)
    moves[:, 0] += ndtr(k - y - shift)
    return float(np.linalg.solve(np.eye(len(y)) - moves, np.ones(len(y)))[0])


@pytest.mark.parametrize(
    ("k", "limit", "shift"), [(0.5, 5.0, 0.0), (0.25, 8.0, 0.5), (1.0, 2.5, 0)]
)
def test_the_chain_solves_the_integral_equation(k, limit, shift):
    expected = cusum_by_integral_equation(k, limit, shift)
    assert one_sided_cusum_run_length(k, limit, shift) == pytest.approx(expected, rel=2e-6)


def test_a_weight_of_one_is_a_shewhart_chart():
    assert Ewma(1.0).run_length(3.0) == pytest.approx(1.0 / (2.0 * ndtr(-3.0)), rel=1e-9)


@pytest.mark.parametrize("chart", [Cusum(0.5), Cusum(0.25), Ewma(0.1), Ewma(0.3)])
def test_simulated_runs_have_the_promised_length(chart):
    limit = normal_limit(chart, 200.0)
    assert chart.run_length(limit) == pytest.approx(200.0, rel=1e-6)
    values = np.random.default_rng(3).normal(size=(1000, 1000))
    lengths = []
    for one in values:  # runs that end within 5 run lengths: all but one in a hundred and fifty
        beyond = np.flatnonzero(chart.path(one).max(axis=0) > limit)
        lengths.append(beyond[0] + 1 if len(beyond) else 1000 + 200)
    # 1000 runs: a standard error of 3 %.
    assert np.mean(lengths) == pytest.approx(200.0, rel=0.1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=60))
def test_paths_are_mirrored_and_know_no_future(values):
    series = np.array(values)
    for chart in (Cusum(0.5), Ewma(0.2)):
        path = chart.path(series)
        assert path.shape == (2, len(series))
        assert chart.highest(series[None]) == pytest.approx([path.max()])
        mirrored = chart.path(-series)
        assert np.allclose(mirrored, path[::-1], atol=1e-12)
        # The future changes nothing before it.
        altered = series.copy()
        altered[len(series) // 2 :] = 9.0
        half = len(series) // 2
        assert np.array_equal(chart.path(altered)[:, :half], path[:, :half])


def test_paths_equal_their_recursions():
    z = np.random.default_rng(1).normal(size=50)
    up = down = mean = 0.0
    for t, value in enumerate(z):
        up, down = max(0.0, up + value - 0.5), max(0.0, down - value - 0.5)
        mean = 0.9 * mean + 0.1 * value
        assert Cusum(0.5).path(z)[:, t] == pytest.approx([up, down], abs=1e-12)
        assert Ewma(0.1).path(z)[0, t] == pytest.approx(mean / np.sqrt(0.1 / 1.9), abs=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Cusum(-0.1),
        lambda: Ewma(0.0),
        lambda: Ewma(1.5),
        lambda: Cusum().run_length(0.0),
        lambda: normal_limit(Cusum(), 1.0),
        lambda: Cusum().path(np.array([np.nan])),
    ],
)
def test_impossible_charts_are_refused(wrong):
    with pytest.raises(InputError):
        wrong()
