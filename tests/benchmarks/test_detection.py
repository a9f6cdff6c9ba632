"""The exact filters against independent oracles, and the benchmark of detection at a small size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad
from scipy.stats import norm

from benchmarks import detection
from benchmarks import detection_peers as peers
from benchmarks.exact_filter import hamilton, heston_stress, log_range_density
from benchmarks.report import Options
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.heston import CALM, HestonConfig, simulate
from finchaos.regimes.kpis import auc


@pytest.mark.parametrize(("end", "variance"), [(0.0, 1.0), (0.7, 0.5), (-1.2, 1.3)])
def test_the_density_of_the_range_integrates_to_that_of_the_end(
    end: float, variance: float
) -> None:
    top, bottom = max(end, 0.0), min(end, 0.0)
    found, _ = dblquad(
        lambda low, high: np.exp(log_range_density(high, low, end, variance)),
        top, top + 8.0, lambda _: bottom - 8.0, lambda _: bottom, epsabs=1e-6,
    )  # fmt: skip
    assert found == pytest.approx(norm.pdf(end, scale=variance**0.5), rel=1e-5)


def test_the_density_of_the_maximum_is_the_known_one() -> None:
    high, end, variance = 1.1, 0.3, 0.9
    lows = np.linspace(-8.0, 0.0, 40_001)
    values = [np.exp(log_range_density(high, low, end, variance)) for low in lows]
    away = 2.0 * high - end
    # Reflection: P(max > m, end in dx) = n(2m - x) dx.
    known = away / variance * norm.pdf(away, scale=variance**0.5) * 2.0
    assert np.trapezoid(values, lows) == pytest.approx(known, rel=1e-5)


def test_without_noise_of_the_variance_the_particles_are_hamiltons_filter() -> None:
    market = detection.CHAIN.market
    paths = simulate(market, 2, 1500, random_stream(1, "chain"))
    particles = heston_stress(paths, market, with_range=False, seed=1, particles=50)
    returns = np.log(paths.close / paths.open)
    deviation = np.array([np.sqrt(r.theta / 252.0) for r in market.regimes])
    mean = np.array([(r.drift - 0.5 * r.theta) / 252.0 for r in market.regimes])
    density = norm.logpdf(returns[..., None], mean, deviation)
    exact = 1.0 - hamilton(density, market.transition, market.stationary)[..., 0]
    # The first eighth of a spell's first bar still has the variance before, for the particles too.
    assert np.abs(particles - exact).mean() < 0.003
    truth = paths.regime > 0
    assert auc(particles.ravel(), truth.ravel()) == pytest.approx(
        auc(exact.ravel(), truth.ravel()), abs=1e-3
    )


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 59))
@settings(max_examples=20)
def test_hamiltons_filter_is_bayes_rule_over_all_histories(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(2), 2)
    density = rng.standard_normal((1, 60, 2))
    whole = hamilton(density, transition, np.array([0.3, 0.7]))
    altered = density.copy()
    altered[:, cut:] = rng.standard_normal((1, 60 - cut, 2))
    assert np.array_equal(
        hamilton(altered, transition, np.array([0.3, 0.7]))[:, :cut], whole[:, :cut]
    )
    # Three bars by enumeration of all eight histories.
    weights = {}
    for history in np.ndindex(2, 2, 2):
        prior = np.array([0.3, 0.7])[history[0]] * transition[history[0], history[1]]
        prior *= transition[history[1], history[2]]
        weights[history] = prior * np.exp(sum(density[0, t, k] for t, k in enumerate(history)))
    stressed = sum(weight for history, weight in weights.items() if history[2] == 1)
    assert whole[0, 2, 1] == pytest.approx(stressed / sum(weights.values()))


def small(with_range: bool) -> tuple[peers.Setting, np.ndarray, object]:
    market = HestonConfig(regimes=(replace(CALM, mean_stay_bars=80.0), HestonConfig().regimes[1]))
    paths = simulate(market, 1, 900, random_stream(3, "peers"))
    return peers.Setting(market, 600, with_range, seed=1), paths.regime > 0, paths


SCORERS = {"volatility": peers.volatility, "garch": peers.garch, "boosting": peers.boosting}
for package, make in (("hmmlearn", peers.hidden_markov), ("jumpmodels", peers.jump_model)):
    if detection.find_spec(package):
        SCORERS[package] = make


@pytest.mark.parametrize("with_range", [True, False])
@pytest.mark.parametrize("name", SCORERS)
def test_no_peer_reads_the_future(
    name: str, with_range: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "TEACHING_PATHS", 2)
    setting, truth, paths = small(with_range)
    whole = SCORERS[name](setting)(paths)
    moved = paths.close.copy()
    moved[:, 800:] *= 0.7
    kept = {key: getattr(paths, key).copy() for key in ("open", "high", "low")}
    for key in kept:
        kept[key][:, 800:] *= 0.7
    altered = SCORERS[name](setting)(replace(paths, close=moved, **kept))
    assert np.array_equal(altered[:, :800], whole[:, :800])
    assert auc(whole[0], truth[0]) > 0.5


def test_a_table_of_all_methods_and_a_word_on_who_is_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detection, "find_spec", lambda _: None)
    monkeypatch.setattr(detection, "TRAIN", 800)
    monkeypatch.setattr(detection, "TEST", 800)
    monkeypatch.setattr(detection, "KNOWN", slice(250, 800))
    monkeypatch.setattr(detection, "UNSEEN", slice(800, None))
    monkeypatch.setattr(detection, "SEEDS", 2)
    monkeypatch.setattr(peers, "TEACHING_PATHS", 2)
    setting = replace(detection.OHLC, steps=4, width=8)
    monkeypatch.setattr(detection, "OHLC", setting)
    (table,) = detection.ohlc(Options(backend="torch")).tables
    methods = table.column("method")
    assert methods[-2:] == [detection.OURS, "exact filter that knows the parameters"]
    areas = dict(zip(methods, table.column("AUC"), strict=True))
    assert areas[methods[-1]] == max(areas.values())
    assert sum("is not installed" in note for note in table.notes) == 2
