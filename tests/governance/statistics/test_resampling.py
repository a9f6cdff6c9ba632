"""Block bootstrap against arch, against theory and against its stated coverage."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from governance.statistics.performance import sharpe
from governance.statistics.resampling import (
    Bootstrap,
    Scheme,
    block_length,
    percentile_interval,
    resampled_rows,
)


def autoregressive(seed: int, n: int, weight: float, mean: float = 0.0) -> np.ndarray:
    noise = random_stream(seed, "test.ar").standard_normal(n + 200)
    path = np.zeros(n + 200)
    for row in range(1, len(path)):
        path[row] = weight * path[row - 1] + noise[row]
    return path[200:] + mean


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_rows_come_in_wrapping_blocks(scheme: Scheme) -> None:
    n, block = 97, 10
    rows = resampled_rows(random_stream(1, "rows"), n, block, 400, scheme)
    assert rows.shape == (400, n)
    assert rows.min() == 0
    assert rows.max() == n - 1
    continues = (rows[:, 1:] - rows[:, :-1]) % n == 1
    if scheme == "circular":
        inside = np.arange(1, n) % block != 0
        assert continues[:, inside].all()
        assert continues[:, ~inside].mean() < 0.03
    else:
        # A block goes on with probability 1 - 1/block, or starts anew at the next row by chance.
        assert continues.mean() == pytest.approx(1 - 1 / block + 1 / block / n, abs=0.005)
    # Every row is as likely as any other at every place.
    assert np.bincount(rows.ravel(), minlength=n).std() / 400 < 0.35


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_a_block_of_one_is_the_ordinary_bootstrap(scheme: Scheme) -> None:
    values = random_stream(2, "iid").standard_normal(300)
    boot = Bootstrap(block=1, draws=4000, scheme=scheme)
    means = boot.distribution(
        {"mean": lambda c: c["x"].mean(axis=-1)}, {"x": values}, random_stream(2, "draw")
    )["mean"]
    assert means.std() == pytest.approx(values.std() / np.sqrt(300), rel=0.05)
    assert means.mean() == pytest.approx(values.mean(), abs=0.005)


@pytest.mark.parametrize("scheme", ["stationary", "circular"])
def test_sharpe_interval_equals_arch(scheme: Scheme) -> None:
    from arch.bootstrap import CircularBlockBootstrap, StationaryBootstrap

    returns = 0.0004 + 0.01 * autoregressive(3, 1200, 0.3)
    statistic = partial(sharpe, bars_per_year=252)
    own = Bootstrap(15, 3000, 0.95, scheme).intervals(
        {"sharpe": lambda c: statistic(c["net"])}, {"net": returns}, random_stream(3, "own")
    )["sharpe"]
    kind = {"stationary": StationaryBootstrap, "circular": CircularBlockBootstrap}[scheme]
    other = kind(15, returns, seed=np.random.default_rng(5)).conf_int(
        lambda x: np.atleast_1d(statistic(x)), reps=3000, method="percentile", size=0.95
    )
    assert own is not None
    # Two independent runs of 3000 draws; the Monte Carlo error of a limit is about 0.02.
    assert [own.low, own.high] == pytest.approx(other[:, 0].tolist(), abs=0.08)
    assert scheme in own.method
    assert "15" in own.method


def test_pairs_stay_together() -> None:
    first = random_stream(4, "pair").standard_normal(200)
    columns = {"a": first, "b": first + 1.0}
    found = Bootstrap(7, 500).distribution(
        {"gap": lambda c: (c["b"] - c["a"]).mean(axis=-1)}, columns, random_stream(4, "draw")
    )["gap"]
    assert found == pytest.approx(np.ones(500))


def test_same_stream_same_numbers_whatever_the_other_statistics() -> None:
    values = random_stream(5, "x").standard_normal(500)
    boot = Bootstrap(9, 300)
    mean = {"mean": lambda c: c["x"].mean(axis=-1)}
    both = {**mean, "top": lambda c: c["x"].max(axis=-1)}
    one = boot.intervals(mean, {"x": values}, random_stream(1, "a"))
    two = boot.intervals(both, {"x": values}, random_stream(1, "a"))
    three = boot.intervals(mean, {"x": values}, random_stream(2, "a"))
    assert one["mean"] == two["mean"]
    assert one["mean"] != three["mean"]


def test_block_length_follows_the_memory_of_levels_and_squares() -> None:
    independent = random_stream(6, "iid").standard_normal(2000)
    persistent = autoregressive(6, 2000, 0.9)
    assert block_length(independent) <= 5
    assert block_length(persistent) > 20
    assert block_length(independent, persistent) == block_length(persistent)
    clustered = independent * np.exp(0.5 * persistent)
    assert block_length(clustered) > block_length(independent)


def test_block_length_of_the_sp500_is_the_published_one() -> None:
    datasets = pytest.importorskip("skfolio.datasets")
    closes = datasets.load_sp500_index()["SP500"]
    returns = closes.pct_change().loc["2000-01-03":"2022-12-28"].to_numpy()
    assert block_length(returns) == 134


def test_constant_and_short_series() -> None:
    assert block_length(np.zeros(100)) == 1
    assert block_length(np.array([1.0, 2.0, 1.0])) == 1
    with pytest.raises(InputError):
        block_length(np.empty(0))
    boot = Bootstrap(5, 200)
    found = boot.intervals(
        {"mean": lambda c: c["x"].mean(axis=-1)}, {"x": np.ones(50)}, random_stream(1, "c")
    )
    assert found["mean"] is None


def test_interval_is_withheld_where_the_statistic_is_often_undefined() -> None:
    values = np.linspace(0, 1, 1000)
    assert percentile_interval(values, 0.9, "m") is not None
    values[:11] = np.nan
    assert percentile_interval(values, 0.9, "m") is None
    assert percentile_interval(np.full(5, np.inf), 0.9, "m") is None


@pytest.mark.parametrize(("n", "block", "draws"), [(0, 1, 1), (5, 6, 1), (5, 0, 1), (5, 1, 0)])
def test_impossible_resampling_is_refused(n: int, block: int, draws: int) -> None:
    with pytest.raises(InputError):
        resampled_rows(random_stream(1, "bad"), n, block, draws)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match="one length"):
        Bootstrap(1).distribution({}, {"a": np.ones(3), "b": np.ones(4)}, random_stream(1, "x"))


def test_interval_covers_the_true_sharpe_ratio_at_its_level() -> None:
    """Autocorrelated returns of known Sharpe ratio: about 95 of 100 intervals hold it."""
    weight, mean, n, runs = 0.3, 0.06, 700, 150
    true = mean * np.sqrt(1 - weight**2) * np.sqrt(252)
    held = narrow = 0
    for seed in range(runs):
        path = autoregressive(1000 + seed, n, weight, mean)
        statistics = {"sharpe": lambda c: sharpe(c["net"], 252)}
        rng = random_stream(seed, "coverage")
        interval = Bootstrap(block_length(path), 250).intervals(statistics, {"net": path}, rng)
        found = interval["sharpe"]
        assert found is not None
        held += found.low <= true <= found.high
        # Ignoring the dependence must cost coverage, or this test could not see a fault.
        alone = Bootstrap(1, 250).intervals(statistics, {"net": path}, rng)["sharpe"]
        assert alone is not None
        narrow += alone.low <= true <= alone.high
    # 0.95 less the known shortfall of percentile intervals, with three binomial errors.
    assert held / runs > 0.86
    assert narrow < held
    assert narrow / runs < 0.90
