"""Exact Hawkes processes: closed forms, time rescaling, and a twin that sums over all the past."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core.errors import InputError
from finchaos.core.provenance import random_stream
from finchaos.markets.simulate import hawkes
from finchaos.markets.simulate.hawkes import (
    HawkesFlow,
    HawkesLaw,
    draw_events,
    simulate_hawkes,
)

ONE = HawkesLaw.univariate(1.0, 0.6, 1.0)
TWO = HawkesLaw(
    (0.5, 0.2),
    (((0.3, 0.9), (0.0, 0.6)), ((0.05, 0.0), (0.08, 0.02))),
    (3.0, 0.4),
)
"""Two channels, two decays."""


def stream(name: str) -> np.random.Generator:
    return random_stream(11, f"test.hawkes.{name}")


def test_published_values_of_one_channel() -> None:
    assert ONE.branching_ratio == pytest.approx(0.6)
    assert ONE.mean_rate == pytest.approx([2.5])
    assert ONE.count_covariance[0, 0] / ONE.mean_rate[0] == pytest.approx(6.25)


def test_rate_and_variance_of_one_channel() -> None:
    window, horizon = 250.0, 1e6
    events = simulate_hawkes(ONE, horizon, stream("one"), burn_in=50.0)
    counts = events.counts(window)[:, 0]
    assert len(counts) == 4000
    error = np.sqrt(6.25 * 2.5 / horizon)
    assert abs(len(events) / horizon - 2.5) < 4 * error
    # The variance of a window of length t falls short of its limit: for one exponential kernel
    # Var / mean = 6.25 - 5.25 (1 - exp(-k t)) / (k t), k = decay - excitation (Hawkes 1971).
    k = 0.4 * window
    fano = 6.25 - 5.25 * -np.expm1(-k) / k
    assert counts.var() / counts.mean() == pytest.approx(fano, abs=4 * fano * np.sqrt(2 / 4000))


def test_rates_and_covariances_of_channels() -> None:
    window, horizon = 100.0, 4e5
    events = simulate_hawkes(TWO, horizon, stream("two"), burn_in=100.0)
    counts = events.counts(window)
    errors = np.sqrt(np.diag(TWO.count_covariance) / horizon)
    assert (np.abs(counts.mean(axis=0) / window - TWO.mean_rate) < 4 * errors).all()
    assert np.cov(counts.T) / window == pytest.approx(TWO.count_covariance, rel=0.12)


def test_nothing_excited_is_poisson() -> None:
    law = HawkesLaw((2.0, 0.0), (((0.0, 0.0), (0.0, 0.0)),), (1.0,))
    events = simulate_hawkes(law, 20_000.0, stream("poisson"))
    assert (events.channel == 0).all()
    counts = events.counts(10.0)[:, 0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=4 * np.sqrt(2 / 2000))


def plain(law: HawkesLaw, horizon: float, rng: Any) -> list[tuple[float, int]]:
    """Events with the same draws, every intensity summed over all of the past."""
    past: list[tuple[float, int]] = []
    clock = 0.0
    while True:
        waits = [(rng.standard_exponential() / sum(law.base), list(law.base))]
        for part, decay in zip(law.excitation, law.decay, strict=True):
            left = [
                sum(row[j] * np.exp(-decay * (clock - s)) for s, j in past if row[j] > 0)
                for row in part
            ]
            if sum(left) > 0:
                area = rng.standard_exponential()
                # The time at which the integral of the falling intensity has this area.
                whole = sum(left) / decay
                wait = -np.log1p(-area / whole) / decay if area < whole else np.inf
                waits.append((wait, [x * np.exp(-decay * min(wait, 1e6)) for x in left]))
        wait, weights = min(waits, key=lambda one: one[0])
        clock += wait
        if clock > horizon:
            return past
        mark = rng.random() * sum(weights)
        fired = int(np.searchsorted(np.cumsum(weights), mark, side="right"))
        past.append((clock, fired))


@pytest.mark.parametrize("law", [ONE, TWO], ids=["one", "two"])
def test_equals_the_twin_that_sums_over_the_past(law: HawkesLaw) -> None:
    found = simulate_hawkes(law, 150.0, stream("twin"))
    times, channels = zip(*plain(law, 150.0, stream("twin")), strict=True)
    assert len(found) > 100
    assert found.channel.tolist() == list(channels)
    assert found.time == pytest.approx(times, rel=1e-9)


def test_compiled_and_plain_give_the_same_events() -> None:
    base, kernels, decay = np.array(TWO.base), np.array(TWO.excitation), np.array(TWO.decay)
    found = []
    for kernel in (draw_events, draw_events.py_func):
        time, channel = np.zeros(400), np.zeros(400, dtype=np.int64)
        state = np.zeros((2, 2))
        kernel(base, kernels, decay, state, 0.0, 500.0, stream("compiled"), time, channel)
        found.append((time, channel, state))
    assert found[0][1].tolist() == found[1][1].tolist()
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert found[0][2] == pytest.approx(found[1][2], rel=1e-9)


def test_a_longer_horizon_changes_nothing_before() -> None:
    short = simulate_hawkes(TWO, 100.0, stream("prefix"))
    long = simulate_hawkes(TWO, 300.0, stream("prefix"))
    n = len(short)
    assert (long.time[:n] == short.time).all()
    assert (long.channel[:n] == short.channel).all()
    assert long.time[n] > 100.0


def test_the_size_of_blocks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate_hawkes(TWO, 200.0, stream("blocks"))
    monkeypatch.setattr(hawkes, "_BLOCK", 7)
    pieces = simulate_hawkes(TWO, 200.0, stream("blocks"))
    assert (pieces.time == whole.time).all()


def test_a_changed_base_acts_from_its_time_on_and_excitation_stays() -> None:
    flow = HawkesFlow(ONE, stream("switch"))
    flow.advance(2000.0)
    quiet = flow.advance(6000.0, ONE.with_base((0.1,)))
    assert quiet.time[0] > 2000.0
    rate, error = 0.25, np.sqrt(0.25 * 6.25 / 4000.0)
    assert abs(len(quiet) / 4000.0 - rate) < 4 * error


rates = st.floats(0.0, 3.0)


@given(
    base=st.tuples(rates, rates),
    kernel=st.tuples(rates, rates, rates, rates),
    decay=st.floats(0.1, 50.0),
    horizon=st.floats(0.1, 40.0),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_any_law_is_refused_or_gives_ordered_events(
    base: tuple[float, float],
    kernel: tuple[float, float, float, float],
    decay: float,
    horizon: float,
    seed: int,
) -> None:
    a, b, c, d = kernel
    try:
        law = HawkesLaw(base, (((a, b), (c, d)),), (decay,))
    except InputError:
        radius = np.abs(np.linalg.eigvals(np.array([[a, b], [c, d]]) / decay)).max()
        assert sum(base) == 0 or radius >= 1
        return
    if law.mean_rate.sum() > 500:
        return
    events = simulate_hawkes(law, horizon, random_stream(seed, "test.hawkes.any"))
    assert (np.diff(events.time) >= 0).all()
    assert ((events.time > 0) & (events.time <= horizon)).all()
    assert set(events.channel.tolist()) <= {0, 1}
    assert events.counts(horizon).sum() == len(events)
    if base[0] == a == b == 0.0:
        assert (events.channel == 1).all()


@pytest.mark.parametrize(
    ("base", "excitation", "decay"),
    [
        ((-1.0,), (((0.5,),),), (1.0,)),
        ((0.0,), (((0.5,),),), (1.0,)),
        ((np.nan,), (((0.5,),),), (1.0,)),
        ((1.0,), (((-0.5,),),), (1.0,)),
        ((1.0,), (((np.inf,),),), (1.0,)),
        ((1.0,), (((0.5,),),), (0.0,)),
        ((1.0,), (((0.5, 0.1),),), (1.0,)),
        ((1.0,), (((0.5,),), ((0.5,),)), (1.0,)),
        ((1.0,), (), ()),
        ((), (), ()),
    ],
)
def test_impossible_rates_are_refused(base: Any, excitation: Any, decay: Any) -> None:
    with pytest.raises(InputError, match="impossible Hawkes rates"):
        HawkesLaw(base, excitation, decay)


@pytest.mark.parametrize("excitation", [1.0, 1.5])
def test_explosive_excitation_is_refused(excitation: float) -> None:
    with pytest.raises(InputError, match="spectral radius below 1"):
        HawkesLaw.univariate(1.0, excitation, 1.0)


def test_impossible_times_are_refused() -> None:
    for horizon, burn_in in ((0.0, 0.0), (-1.0, 0.0), (np.inf, 0.0), (1.0, -1.0), (np.nan, 0.0)):
        with pytest.raises(InputError, match="nothing to simulate"):
            simulate_hawkes(ONE, horizon, stream("bad"), burn_in=burn_in)
    flow = HawkesFlow(ONE, stream("bad"))
    flow.advance(5.0)
    with pytest.raises(InputError, match="forwards"):
        flow.advance(4.0)
    with pytest.raises(InputError, match="channels or decays"):
        flow.advance(6.0, TWO)
    with pytest.raises(InputError, match="window"):
        simulate_hawkes(ONE, 5.0, stream("bad")).counts(6.0)
