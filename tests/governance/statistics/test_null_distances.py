"""Null limits of distances: exact against a slow twin, and at their stated rate."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.null_distances import BlockPlan, independent_worth, null_distances
from governance.statistics.two_sample import DISTANCES, distances


def autoregressive(rng: np.random.Generator, n: int, coefficient: float) -> np.ndarray:
    noise = rng.normal(size=n + 400)
    return lfilter([1.0], [1.0, -coefficient], noise)[400:]


def circular(rng: np.random.Generator, n: int, size: int, block: int, draws: int) -> np.ndarray:
    starts = rng.integers(0, n, size=(draws, -(-size // block)))
    rows = [[(s + k) % n for s in row for k in range(block)][:size] for row in starts]
    return np.array(rows)


@pytest.mark.parametrize("decimals", [6, 0])
def test_counting_agrees_with_resampled_values(decimals: int) -> None:
    rng = random_stream(1, "test.null.twin")
    panel = np.round(rng.normal(size=(120, 3)), decimals)
    plan = BlockPlan(block=7, kept=1.0)
    found = null_distances(panel, 40, random_stream(5, "draws"), plan=plan, draws=25, bins=6)
    again = random_stream(5, "draws")
    first = circular(again, 120, 120, 7, 25)
    second = circular(again, 120, 40, 7, 25)
    for draw in range(25):
        for j in range(3):
            slow = distances(panel[first[draw], j], panel[second[draw], j], bins=6)
            assert {k: found[k][draw, j] for k in DISTANCES} == pytest.approx(slow, abs=1e-12)


def test_same_seed_same_draws_and_rescaling_changes_nothing() -> None:
    panel = autoregressive(random_stream(2, "test.null"), 400, 0.5)[:, None]
    one = null_distances(panel, 100, random_stream(3, "a"), draws=50)
    two = null_distances(np.exp(panel), 100, random_stream(3, "a"), draws=50)
    other = null_distances(panel, 100, random_stream(4, "a"), draws=50)
    for name in DISTANCES:
        np.testing.assert_array_equal(one[name], two[name])
        assert not np.array_equal(one[name], other[name])


def test_dependence_raises_the_limit() -> None:
    rng = random_stream(6, "test.null.dependence")
    independent, dependent = rng.normal(size=2000), autoregressive(rng, 2000, 0.97)
    limits = []
    for series in (independent, dependent):
        drawn = null_distances(series[:, None], 500, random_stream(7, "limit"))
        limits.append(np.quantile(drawn["psi"], 0.95))
    # Independent: (B - 1)(1/n + 1/m) times 1.88, the 95 % point of chi-square over its mean.
    assert limits[0] == pytest.approx(9 * (1 / 2000 + 1 / 500) * 1.88, rel=0.25)
    assert limits[1] > 10.0 * limits[0]


def alarm_shares(coefficient: float, samples: int, shift: float = 0.0) -> dict[str, float]:
    """Share of sample pairs beyond their 95 % limit, by distance, and beyond a PSI of 0.25."""
    rng = random_stream(8, f"test.null.rate.{coefficient}.{shift}")
    beyond: dict[str, list[bool]] = {name: [] for name in (*DISTANCES, "fixed")}
    for _ in range(samples):
        path = autoregressive(rng, 2500, coefficient)
        reference, current = path[:2000], path[2000:] + shift * path.std()
        found = distances(reference, current)
        drawn = null_distances(reference[:, None], 500, rng, draws=150)
        for name in DISTANCES:
            beyond[name].append(found[name] > np.quantile(drawn[name], 0.95))
        beyond["fixed"].append(found["psi"] > 0.25)
    return {name: float(np.mean(hits)) for name, hits in beyond.items()}


def test_alarms_come_at_the_stated_rate_under_autocorrelation() -> None:
    shares = alarm_shares(0.97, 150)
    # Stated 5 %; 150 samples leave a standard error of 1.8 points.
    for name in DISTANCES:
        assert 0.005 < shares[name] < 0.11, (name, shares)
    # The usual rule of thumb would cry wolf on nearly every second sample of the same law.
    assert shares["fixed"] > 0.3


def test_alarms_come_at_the_stated_rate_for_independent_values() -> None:
    shares = alarm_shares(0.0, 150)
    for name in DISTANCES:
        assert 0.005 < shares[name] < 0.11, (name, shares)


def test_a_real_shift_is_seen() -> None:
    shares = alarm_shares(0.5, 30, shift=0.6)
    assert min(shares[name] for name in DISTANCES) > 0.9


def test_plan_keeps_blocks_within_the_current_sample() -> None:
    path = autoregressive(random_stream(9, "test.plan"), 3000, 0.99)
    plan = BlockPlan.of(path[:, None], 40)
    assert plan.block == 40
    assert 0.0 < plan.kept < 0.6
    noise = random_stream(9, "test.plan.noise").normal(size=(3000, 1))
    assert BlockPlan.of(noise, 500).block <= 10
    assert BlockPlan.of(noise, 500).kept > 0.85


def test_what_blocks_lose_is_given_back() -> None:
    path = autoregressive(random_stream(10, "test.kept"), 2000, 0.95)[:, None]
    whole, shrunk = (
        null_distances(path, 400, random_stream(1, "a"), plan=BlockPlan(40, kept))
        for kept in (1.0, 0.5)
    )
    # Twice the variance of shares doubles the index, which is quadratic in them.
    ratio = np.mean(shrunk["psi"]) / np.mean(whole["psi"])
    assert ratio == pytest.approx(2.0, rel=0.2)


def test_volatility_clusters_cost_independent_values() -> None:
    rng = random_stream(11, "test.worth")
    clustered = rng.normal(size=4000) * np.exp(0.3 * autoregressive(rng, 4000, 0.97))
    assert independent_worth(rng.normal(size=4000)) > 2500.0
    assert independent_worth(clustered) < 1000.0


@pytest.mark.parametrize("bad", [np.arange(20.0), np.full((20, 1), np.nan), np.empty((0, 1))])
def test_refuses_what_is_no_panel(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="no panel"):
        null_distances(bad, 5, random_stream(1, "a"))


@pytest.mark.parametrize(("rows", "current", "draws"), [(49, 5, 10), (80, 0, 10), (80, 5, 0)])
def test_refuses_what_is_too_small(rows: int, current: int, draws: int) -> None:
    with pytest.raises(InputError, match="no null can be drawn"):
        null_distances(np.arange(float(rows))[:, None], current, random_stream(1, "a"), draws=draws)
