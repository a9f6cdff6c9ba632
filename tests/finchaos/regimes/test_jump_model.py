"""Jump models against enumeration of every path, K-Means, and the package jumpmodels."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate.regime_switching import hardy, simulate
from finchaos.regimes.jump_model import JumpModel, JumpRule
from finchaos.regimes.kpis import auc


def model(centers: np.ndarray, penalty: float) -> JumpModel:
    return JumpModel(centers, penalty, 0.0, np.arange(1.0, len(centers) + 1.0))


def cost(rows: np.ndarray, centers: np.ndarray, path: tuple[int, ...], penalty: float) -> float:
    away = 0.5 * np.square(rows - centers[list(path)]).sum()
    return float(away + penalty * sum(a != b for a, b in pairwise(path)))


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 7),
    kinds=st.integers(2, 3),
    penalty=st.floats(0.0, 5.0),
)
@settings(max_examples=60)
def test_paths_and_filtered_costs_are_the_cheapest_of_all(
    seed: int, count: int, kinds: int, penalty: float
) -> None:
    rng = np.random.default_rng(seed)
    rows, centers = rng.standard_normal((count, 2)), rng.standard_normal((kinds, 2))
    fitted = model(centers, penalty)
    found = tuple(int(state) for state in fitted.states(rows))
    every = {
        path: cost(rows, centers, path, penalty) for path in product(range(kinds), repeat=count)
    }
    assert cost(rows, centers, found, penalty) == pytest.approx(min(every.values()))
    ending = [min(c for path, c in every.items() if path[-1] == k) for k in range(kinds)]
    expected = np.array(ending) - min(ending)
    # A path may always jump in at the end, so that no state is dearer than the penalty.
    assert np.allclose(fitted.filter(rows)[-1], expected)


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 59))
@settings(max_examples=30)
def test_the_filter_does_not_read_on(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    rows, fitted = rng.standard_normal((60, 2)), model(rng.standard_normal((2, 2)), 2.0)
    altered = rows.copy()
    altered[cut:] = rng.standard_normal((60 - cut, 2))
    assert np.array_equal(fitted.filter(altered)[:cut], fitted.filter(rows)[:cut])
    assert np.array_equal(fitted.stress(altered)[:cut], fitted.stress(rows)[:cut])


def market(seed: int = 1, count: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    paths = simulate(hardy(), 1, count, random_stream(seed, "jump"))
    returns = np.diff(np.log(paths.close[0]), prepend=np.log(paths.close[0, 0]))
    size = np.log(np.abs(returns) + 1e-4)
    smooth = np.array([np.convolve(size, np.full(n, 1.0 / n))[:count] for n in (5, 20)]).T
    rows = (smooth[20:] - smooth[20:].mean(axis=0)) / smooth[20:].std(axis=0)
    return rows, returns[20:], paths.regime[0, 20:] > 0


def test_a_fit_finds_the_regimes_and_orders_them() -> None:
    rows, returns, truth = market()
    fitted = JumpModel.fit(rows, returns, JumpRule(2, 10.0), seed=1)
    assert fitted.volatility[1] > 1.5 * fitted.volatility[0]
    assert auc(fitted.stress(rows), truth) > 0.9
    assert ((fitted.stress(rows) >= 0.0) & (fitted.stress(rows) <= 1.0)).all()
    again = JumpModel.fit(rows, returns, JumpRule(2, 10.0), seed=1)
    assert np.array_equal(again.centers, fitted.centers)
    held = 0.5 * np.square(rows - fitted.centers[fitted.states(rows)]).sum()
    jumps = np.count_nonzero(np.diff(fitted.states(rows)))
    assert fitted.cost == pytest.approx(held + 10.0 * jumps)


def test_changes_are_fewer_the_dearer_they_are() -> None:
    rows, returns, _ = market()
    changes = [
        np.count_nonzero(np.diff(JumpModel.fit(rows, returns, JumpRule(2, p), seed=1).states(rows)))
        for p in (0.0, 1.0, 10.0, 100.0)
    ]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 3 * changes[2] > 0


def test_without_a_penalty_it_is_k_means() -> None:
    from sklearn.cluster import KMeans

    rows, returns, _ = market()
    fitted = JumpModel.fit(rows, returns, JumpRule(3, 0.0, starts=30), seed=1)
    peer = KMeans(3, n_init=30, random_state=1).fit(rows)
    assert 0.999 * 0.5 * peer.inertia_ < fitted.cost <= 0.5 * peer.inertia_ * (1.0 + 1e-9)
    with pytest.raises(InputError, match="no measure of stress"):
        fitted.stress(rows)


@pytest.mark.parametrize("penalty", [2.0, 20.0])
def test_the_package_jumpmodels_finds_nothing_cheaper(penalty: float) -> None:
    jump = pytest.importorskip("jumpmodels.jump")
    import pandas as pd

    rows, returns, _ = market(count=1200)
    fitted = JumpModel.fit(rows, returns, JumpRule(2, penalty), seed=1)
    peer = jump.JumpModel(2, penalty, n_init=10, random_state=1)
    peer.fit(pd.DataFrame(rows), pd.Series(returns), sort_by="vol")
    assert fitted.cost <= peer.val_ * (1.0 + 1e-9)
    same = model(np.asarray(peer.centers_), penalty)
    assert np.array_equal(same.filter(rows).argmin(axis=1), peer.predict_online(pd.DataFrame(rows)))


@pytest.mark.parametrize(
    ("rows", "returns", "said"),
    [
        (np.zeros((100, 2)), np.zeros(100), "do not vary"),
        (np.full((100, 2), np.nan), np.zeros(100), "finite rows"),
        (np.zeros((5, 2)), np.zeros(5), "cannot be fitted"),
        (np.random.default_rng(1).standard_normal((100, 2)), np.zeros(99), "cannot be fitted"),
    ],
)
def test_what_cannot_be_fitted_is_refused(rows: np.ndarray, returns: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        JumpModel.fit(rows, returns, JumpRule(), seed=1)


def test_a_penalty_that_leaves_one_state_is_refused() -> None:
    rows, returns, _ = market(count=600)
    with pytest.raises(DataError, match="left without a row"):
        JumpModel.fit(rows, returns, JumpRule(2, 1e9), seed=1)


@pytest.mark.parametrize("wrong", [{"states": 1}, {"penalty": -1.0}, {"starts": 0}])
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="impossible jump model"):
        JumpRule(**wrong)  # type: ignore[arg-type]
