"""Centres that drift: the plain loop, exponentially weighted means of pandas, the fitted start."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score

from finchaos.core.errors import CheckpointError, DataError, InputError
from finchaos.regimes.clustering import COVARIANCE_FLOOR, ClusterRule, RegimeClusters
from finchaos.regimes.online import Form, OnlineRegimes, OnlineRule

FORMS: tuple[Form, ...] = ("kmeans", "diagonal", "full")


def sample(rows: int = 400, seed: int = 0, apart: float = 6.0) -> tuple[np.ndarray, np.ndarray]:
    """Latents in three dimensions, all of which are kept by the whitening, and their regimes."""
    rng = np.random.default_rng(seed)
    regime = (rng.random(rows) < 0.3).astype(int)
    latents = rng.normal(size=(rows, 3)) @ [[1.0, 0.4, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.2]]
    latents[:, 0] += apart * regime
    return latents, regime


def fitted(form: Form = "full", apart: float = 6.0, temperature: float = 1.0) -> RegimeClusters:
    latents, regime = sample(apart=apart)
    returns = 0.01 * (1 + 2 * regime) * np.random.default_rng(9).normal(size=len(regime))
    method = "kmeans" if form == "kmeans" else "gmm"
    rule = ClusterRule(method, temperature=temperature)
    found = RegimeClusters.fit(latents, returns, rule, seed=1)
    assert found.mean.shape == (2, 3)
    return found


def states(live: OnlineRegimes) -> list[np.ndarray]:
    return [live.to_arrays()[name] for name in ("weight", "mean_now", "covariance", "bars")]


def plain(clusters: RegimeClusters, rule: OnlineRule, latents: np.ndarray) -> np.ndarray:
    """The same in a slow loop over regimes, densities by scipy."""
    count, width = clusters.mean.shape
    eye = np.eye(width)
    mean = clusters.mean.copy()
    spread = np.array([np.linalg.inv(root @ root.T) for root in clusters.precision_root])
    if rule.form == "diagonal":
        spread = spread * eye
    raw = spread - COVARIANCE_FLOOR * eye
    weight = np.exp(clusters.log_weight) / np.abs(np.linalg.det(clusters.precision_root))
    weight = weight / weight.sum()
    out = []
    for row in (latents - clusters.center) @ clusters.whitening:
        scores = np.array(
            [
                np.log(weight[k])
                + multivariate_normal(mean[k], raw[k] + COVARIANCE_FLOOR * eye).logpdf(row)
                for k in range(count)
            ]
        )
        tempered = scores / clusters.temperature
        out.append(np.exp(tempered - logsumexp(tempered)))
        share = np.exp(scores - logsumexp(scores))
        if rule.form == "kmeans":
            share = (np.arange(count) == scores.argmax()).astype(float)
        weight = weight + (1 - 0.5 ** (1 / rule.weight_half_life_bars)) * (
            rule.least_weight + (1 - count * rule.least_weight) * share - weight
        )
        for k in range(count):
            rate = 1 - 0.5 ** (share[k] / rule.half_life_bars)
            away = row - mean[k]
            mean[k] = mean[k] + rate * away
            if rule.form != "kmeans":
                grown = (1 - rate) * (raw[k] + rate * np.outer(away, away))
                raw[k] = grown * eye if rule.form == "diagonal" else grown
    return np.array(out)


@pytest.mark.parametrize("form", FORMS)
def test_it_equals_the_plain_loop(form: Form) -> None:
    clusters = fitted(form, apart=3.0, temperature=2.0)
    weights = np.inf if form == "kmeans" else 80.0
    rule = OnlineRule(form, half_life_bars=30.0, weight_half_life_bars=weights)
    latents, _ = sample(300, seed=5, apart=3.0)
    found = OnlineRegimes(clusters, rule).follow(latents)
    np.testing.assert_allclose(found, plain(clusters, rule, latents), atol=1e-10)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("form", ["kmeans", "full"])
def test_the_first_bar_is_judged_by_the_fit(form: Form) -> None:
    clusters = fitted(form, temperature=3.0)
    latents, _ = sample(20, seed=6)
    for row in latents:
        first = OnlineRegimes(clusters, OnlineRule(form)).step(row)
        np.testing.assert_allclose(first, clusters.probabilities(row[None])[0], atol=1e-9)
    live = OnlineRegimes(clusters, OnlineRule(form))
    np.testing.assert_allclose(
        live.clusters().probabilities(latents), clusters.probabilities(latents), atol=1e-9
    )


def test_a_k_means_centre_is_the_exponentially_weighted_mean_of_its_rows() -> None:
    clusters = fitted("kmeans")
    latents, regime = sample(500, seed=7)
    live = OnlineRegimes(clusters, OnlineRule("kmeans", half_life_bars=25.0))
    labels = live.follow(latents).argmax(axis=1)
    assert (labels == regime).mean() > 0.98
    whitened = (latents - clusters.center) @ clusters.whitening
    for k in (0, 1):
        own = np.vstack([clusters.mean[k], whitened[labels == k]])
        expected = pd.DataFrame(own).ewm(halflife=25.0, adjust=False).mean().to_numpy()[-1]
        np.testing.assert_allclose(live.clusters().mean[k], expected, atol=1e-12)
    np.testing.assert_allclose(
        live.drift(), np.linalg.norm(live.clusters().mean - clusters.mean, axis=1)
    )


def test_a_row_half_a_life_back_counts_half() -> None:
    assert (1 - OnlineRule(half_life_bars=20.0).rate) ** 20 == pytest.approx(0.5)


@given(
    st.sampled_from(FORMS),
    st.lists(st.integers(0, 60), max_size=4),
    st.integers(0, 10),
)
@settings(max_examples=25, deadline=None)
def test_steps_leave_the_bits_of_the_batch_however_it_is_cut(
    form: Form, cuts: list[int], seed: int
) -> None:
    clusters, rule = FITTED[form], OnlineRule(form, half_life_bars=10.0)
    latents, _ = sample(60, seed=seed)
    whole = OnlineRegimes(clusters, rule)
    expected = whole.follow(latents)
    single = OnlineRegimes(clusters, rule)
    assert np.array_equal(np.array([single.step(row) for row in latents]), expected)
    parts = OnlineRegimes(clusters, rule)
    got = [parts.follow(part) for part in np.split(latents, sorted(cuts))]
    assert np.array_equal(np.concatenate(got), expected)
    for one, two, three in zip(states(whole), states(single), states(parts), strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)


FITTED = {form: fitted(form) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_the_future_cannot_change_the_past(form: Form) -> None:
    latents, _ = sample(200, seed=3)
    other = latents.copy()
    other[120:] += 2.0
    rule = OnlineRule(form, half_life_bars=20.0)
    one, two = (OnlineRegimes(FITTED[form], rule).follow(rows) for rows in (latents, other))
    assert np.array_equal(one[:120], two[:120])
    # Row 120 is judged before it moves anything.
    assert not np.array_equal(one[120:], two[120:])


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_state_goes_on_bit_for_bit(form: Form) -> None:
    latents, _ = sample(200, seed=4)
    live = OnlineRegimes(FITTED[form], OnlineRule(form, half_life_bars=15.0, reach=9.0))
    live.follow(latents[:80])
    again = OnlineRegimes.from_arrays(live.to_arrays())
    assert again.rule == live.rule
    assert again.bars == 80
    assert np.array_equal(again.follow(latents[80:]), live.follow(latents[80:]))


@pytest.mark.parametrize("form", FORMS)
def test_it_follows_a_drift_that_leaves_the_fit_behind(form: Form) -> None:
    rows = 4000
    latents, regime = sample(rows, seed=8)
    latents[:, 0] += np.linspace(0.0, 9.0, rows)
    live = OnlineRegimes(FITTED[form], OnlineRule(form, half_life_bars=60.0))
    labels = live.follow(latents).argmax(axis=1)
    frozen = FITTED[form].probabilities(latents).argmax(axis=1)
    late = slice(rows // 2, None)
    assert adjusted_rand_score(regime[late], labels[late]) > 0.9
    assert (labels[late] == regime[late]).mean() > 0.97
    assert (frozen[late] == regime[late]).mean() < 0.7


def test_a_regime_not_seen_stays_where_it_was() -> None:
    latents, regime = sample(2000, seed=2)
    live = OnlineRegimes(FITTED["full"], OnlineRule(half_life_bars=20.0))
    live.follow(latents[regime == 0])
    assert live.drift()[1] < 0.05
    assert int(live.step(latents[regime == 1][0]).argmax()) == 1


def test_a_share_falls_no_lower_than_its_least_and_all_sum_to_one() -> None:
    latents, regime = sample(2000, seed=2)
    rule = OnlineRule(half_life_bars=200.0, weight_half_life_bars=10.0, least_weight=0.02)
    live = OnlineRegimes(FITTED["full"], rule)
    live.follow(latents[regime == 0])
    weight = live.to_arrays()["weight"]
    assert weight.sum() == pytest.approx(1.0)
    assert weight[1] == pytest.approx(0.02, abs=1e-3)
    three = RegimeClusters.from_arrays(
        {
            **FITTED["full"].to_arrays(),
            "log_weight": np.zeros(3),
            "mean": 4.0 * np.eye(3),
            "precision_root": np.repeat(np.eye(3)[None], 3, axis=0),
            "volatility": np.arange(3.0),
        }
    )
    with pytest.raises(InputError, match="number of regimes"):
        OnlineRegimes(three, OnlineRule(least_weight=0.4))


def test_rows_out_of_reach_move_nothing() -> None:
    live = OnlineRegimes(FITTED["full"], OnlineRule(half_life_bars=5.0, reach=10.0))
    before = states(live)
    live.step(np.array([400.0, -300.0, 0.0]))
    for one, two in zip(before[:3], states(live)[:3], strict=True):
        assert np.array_equal(one, two)
    assert live.bars == 1


def merging() -> np.ndarray:
    """Stressed rows that walk slowly to where the calm ones are, and stay there."""
    latents, regime = sample(3000, seed=1)
    latents[:, 0] -= 6.0 * regime * np.minimum(np.arange(3000) / 1500, 1.0)
    return latents


def walking() -> np.ndarray:
    """Rows that go from one centre to the other, and never back."""
    clusters = FITTED["kmeans"]
    ends = clusters.center + clusters.mean @ np.linalg.pinv(clusters.whitening)
    part = np.linspace(0.0, 1.0, 2000)[:, None]
    return (1.0 - part) * ends[1] + part * ends[0]


@pytest.mark.parametrize(
    ("form", "rows"), [("kmeans", walking), ("diagonal", merging), ("full", merging)]
)
def test_regimes_that_become_one_are_refused_and_the_state_before_is_kept(form, rows) -> None:
    rule = OnlineRule(form, half_life_bars=20.0)
    latents = rows()
    live = OnlineRegimes(FITTED[form], rule)
    with pytest.raises(DataError, match="drifted into one") as caught:
        live.follow(latents)
    row = int(str(caught.value).split("row ")[1].split(";")[0])
    assert live.bars == row > 100
    fresh = OnlineRegimes(FITTED[form], rule)
    fresh.follow(latents[:row])
    with pytest.raises(DataError, match="drifted into one"):
        fresh.step(latents[row])
    for one, two in zip(states(live), states(fresh), strict=True):
        assert np.array_equal(one, two)


def test_a_feed_that_stands_still_leaves_finite_regimes() -> None:
    for form in FORMS:
        live = OnlineRegimes(FITTED[form], OnlineRule(form, half_life_bars=5.0))
        found = live.follow(np.repeat(sample(1)[0], 3000, axis=0))
        assert np.isfinite(found).all()
        assert np.isfinite(live.clusters().precision_root).all()


def test_bad_input_is_refused() -> None:
    live = OnlineRegimes(FITTED["full"], OnlineRule())
    before = states(live)
    rows = sample(5)[0]
    rows[3, 1] = np.nan
    with pytest.raises(DataError, match="row 3"):
        live.follow(rows)
    with pytest.raises(InputError, match="do not fit"):
        live.step(np.ones(4))
    for one, two in zip(before, states(live), strict=True):
        assert np.array_equal(one, two)
    for wrong in (
        {"form": "hard"},
        {"half_life_bars": 0.0},
        {"half_life_bars": np.inf},
        {"weight_half_life_bars": -1.0},
        {"form": "kmeans", "weight_half_life_bars": 9.0},
        {"reach": 0.0},
        {"least_weight": 0.0},
        {"least_weight": 0.5},
        {"least_separation": 1.0},
    ):
        with pytest.raises(InputError, match="impossible rule"):
            OnlineRule(**wrong)  # type: ignore[arg-type]


def test_regimes_that_are_one_from_the_start_are_refused() -> None:
    clusters = FITTED["full"]
    twins = RegimeClusters.from_arrays(
        {
            **clusters.to_arrays(),
            "mean": clusters.mean[[0, 0]],
            "precision_root": clusters.precision_root[[0, 0]],
        }
    )
    with pytest.raises(DataError, match="one to begin with"):
        OnlineRegimes(twins, OnlineRule())


def test_damaged_arrays_are_refused() -> None:
    arrays = OnlineRegimes(FITTED["full"], OnlineRule()).to_arrays()
    for damaged in (
        {name: value for name, value in arrays.items() if name != "weight"},
        {name: value for name, value in arrays.items() if name != "origin.mean"},
        {**arrays, "mean_now": arrays["mean_now"][:1]},
        {**arrays, "covariance": arrays["covariance"] * np.nan},
        {**arrays, "weight": np.array([1.0, 0.0])},
        {**arrays, "form": np.array([7])},
        {**arrays, "rule": -arrays["rule"]},
        {**arrays, "rule": arrays["rule"][:1] * np.nan},
    ):
        with pytest.raises(CheckpointError):
            OnlineRegimes.from_arrays(damaged)
