"""Sums by blocks against the series written out, against arch, and against the law of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import DataError, InputError
from governance.statistics.prefix_bootstrap import SumBootstrap, sharpe_interval
from governance.statistics.resampling import Bootstrap


@given(st.integers(1, 60), st.floats(1.0, 80.0), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_sums_are_those_of_the_series_written_out(n: int, block: float, seed: int) -> None:
    values = np.random.default_rng(seed).standard_normal(n)
    bootstrap = SumBootstrap(block, draws=7)
    found = bootstrap.sums({"x": values, "xx": values**2}, np.random.default_rng(seed))
    starts, lengths = bootstrap.blocks(n, 7, bootstrap._most_blocks(n), np.random.default_rng(seed))
    assert (lengths.sum(axis=1) == n).all()
    for draw in range(7):
        rows = np.concatenate(
            [(s + np.arange(k)) % n for s, k in zip(starts[draw], lengths[draw], strict=True)]
        )
        assert found["x"][draw] == pytest.approx(values[rows].sum(), abs=1e-10)
        assert found["xx"][draw] == pytest.approx((values[rows] ** 2).sum(), abs=1e-10)


def test_draws_are_extended_until_every_one_is_full() -> None:
    bootstrap = SumBootstrap(2.0, draws=50)
    _, lengths = bootstrap.blocks(400, 50, 3, np.random.default_rng(1))
    assert (lengths.sum(axis=1) == 400).all()
    assert lengths.shape[1] > 3


def test_blocks_have_the_length_that_was_asked_for() -> None:
    _, lengths = SumBootstrap(20.0).blocks(100_000, 20, 6000, np.random.default_rng(2))
    whole = lengths[lengths > 0]
    assert whole.mean() == pytest.approx(20.0, rel=0.02)
    assert (whole == 1).mean() == pytest.approx(0.05, rel=0.1)


def test_limits_agree_with_arch_and_with_the_gathering_bootstrap() -> None:
    rng = np.random.default_rng(3)
    returns = 0.01 * rng.standard_t(5, 800) + 0.0005

    def ratio(values: np.ndarray) -> np.ndarray:
        return values.mean(axis=-1) / values.std(axis=-1, ddof=1) * np.sqrt(252.0)

    ours = sharpe_interval(
        returns, SumBootstrap(15, 20_000), np.random.default_rng(4), bars_per_year=252.0
    )
    gathered = Bootstrap(15, 5_000).intervals(
        {"r": lambda drawn: ratio(drawn["r"])}, {"r": returns}, np.random.default_rng(4)
    )["r"]
    theirs = StationaryBootstrap(15, returns, seed=5).conf_int(
        ratio, reps=5_000, method="percentile"
    )
    assert ours is not None
    assert gathered is not None
    # Monte Carlo error of a limit from five thousand draws is about 0.02.
    for low, high in ((gathered.low, gathered.high), (theirs[0, 0], theirs[1, 0])):
        assert (ours.low, ours.high) == (
            pytest.approx(low, abs=0.06),
            pytest.approx(high, abs=0.06),
        )


def test_a_far_mean_does_not_cancel() -> None:
    returns = 1e6 + np.random.default_rng(6).standard_normal(500)
    far = sharpe_interval(returns, SumBootstrap(5), np.random.default_rng(7), bars_per_year=1.0)
    assert far is not None
    assert far.low == pytest.approx(1e6, rel=0.2)


def test_same_seed_same_limits_and_constants_have_none() -> None:
    returns = np.random.default_rng(8).standard_normal(100)
    one, two = (
        sharpe_interval(returns, SumBootstrap(5), np.random.default_rng(9), bars_per_year=252.0)
        for _ in range(2)
    )
    assert one == two
    flat = sharpe_interval(np.ones(50), SumBootstrap(5), np.random.default_rng(9), bars_per_year=1)
    assert flat is None


def test_impossible_parameters_and_columns_are_refused() -> None:
    for wrong in ({"block": 0.5}, {"block": 5.0, "draws": 0}, {"block": 5.0, "level": 1.0}):
        with pytest.raises(InputError, match="cannot resample"):
            SumBootstrap(**wrong)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="one length"):
        SumBootstrap(5).sums({"a": np.ones(3), "b": np.ones(4)}, rng)
    with pytest.raises(DataError, match="finite"):
        SumBootstrap(5).sums({"a": np.array([1.0, np.nan])}, rng)
    with pytest.raises(DataError, match="two returns"):
        sharpe_interval(np.ones(1), SumBootstrap(5), rng, bars_per_year=252.0)
