"""The demonstration model as a validator meets it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, DocumentError, InputError, UnknownNameError
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability
from finchaos.subjects.mamba_regime import MambaRegime, build
from governance.alterations import (
    ALTERATIONS,
    alter_future,
    anonymous,
    price_factors,
    rescale,
)
from governance.checks.point_in_time import PointInTime
from governance.comparison import compare
from governance.observe import observe, violations
from tests.finchaos.subjects.small import PARAMS, TRAINING_BARS, market, trained, untrained
from tests.planted.measurements import context_of, measure

WARMUP = PARAMS["warmup_bars"]


def test_signals_keep_the_contract_and_all_capabilities_are_declared() -> None:
    signals = observe(trained(), market())
    assert not any(violations(signals, market(), trained().card).values())
    missing = frozenset(Capability) - trained().capabilities
    assert missing == {Capability.TWO_PERSON_REARM}
    assert set(signals.arrays()) == {
        "position",
        "stress_probability",
        "regime",
        "tripped",
        "latents",
    }
    assert not signals.position[:WARMUP].any()
    assert signals.position[WARMUP:].max() == 1.0
    assert set(np.unique(signals.regime)) == {0, 1}


def test_stressed_bars_are_the_volatile_ones_and_hold_less() -> None:
    signals, bars = trained().signals(market()), market()
    after = slice(TRAINING_BARS, None)
    moves = np.abs(np.diff(np.log(bars.close), prepend=np.log(bars.open[0])))[after]
    stressed = signals.regime[after] == 1
    assert moves[stressed].mean() > 1.5 * moves[~stressed].mean()
    assert signals.position[after][stressed].max() <= 0.5
    assert (
        signals.position[after][~stressed].mean()
        > 0.5
        > signals.position[after][stressed].mean() * 5
    )


@pytest.mark.parametrize("factor", price_factors(np.random.default_rng(4)))
def test_the_price_level_does_not_matter(factor: float) -> None:
    other = trained().signals(rescale(market(), factor))
    assert compare(trained().signals(market()), other, len(market())).rows == 0


@pytest.mark.parametrize("factor", [1.37, 0.71])
def test_a_price_level_that_rounds_moves_the_last_digits_alone(factor: float) -> None:
    plain, other = trained().signals(market()), trained().signals(rescale(market(), factor))
    np.testing.assert_array_equal(other.regime, plain.regime)
    np.testing.assert_allclose(other.stress_probability, plain.stress_probability, atol=1e-9)
    np.testing.assert_allclose(other.latents, plain.latents, atol=1e-9)


def test_point_in_time_finds_no_price_level() -> None:
    found = measure(PointInTime(windows=0), untrained(), context_of(market(), first_test=702))
    for where in ({}, {"names": "withheld"}):
        assert found.value("rescaled_changed_rows", **where) == 0
        assert found.value("rescaled_max_position_change", **where) == 0


def test_an_untrained_model_says_so() -> None:
    for call in (lambda m: m.signals(market()), lambda m: m.open(), lambda m: m.decision_module()):
        with pytest.raises(InputError, match="has not been trained"):
            call(untrained())


@pytest.mark.parametrize("alteration", sorted(ALTERATIONS))
def test_the_future_leaves_the_past_bit_equal(alteration: str) -> None:
    cut = 613
    altered = alter_future(market(), cut, alteration, np.random.default_rng(1))
    plain, answer = trained().signals(market()), trained().signals(altered)
    assert compare(plain, answer, cut).rows == 0
    if alteration not in ("truncation", "volume"):
        assert compare(plain.rows(cut), answer.rows(cut), len(plain) - cut).rows > 0


def test_training_reads_nothing_beyond_its_window_nor_names_nor_dates() -> None:
    longer = alter_future(market(), TRAINING_BARS, "noise", np.random.default_rng(2))
    again = untrained().fit(anonymous(longer).rows(0, TRAINING_BARS), seed=3)
    assert again.digest == trained().digest


def test_training_is_repeatable_and_leaves_the_subject_and_the_process_alone() -> None:
    before = untrained().digest
    states = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state())  # noqa: NPY002
    threads = torch.get_num_threads()
    rows = market().rows(0, TRAINING_BARS)
    first = untrained().fit(rows, seed=4)
    assert trained().fit(rows, seed=4).digest == first.digest != trained().digest
    assert untrained().digest == before
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tobytes() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.get_num_threads() == threads


def test_training_does_not_depend_on_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = build(PARAMS, seed=3).fit(market().rows(0, TRAINING_BARS), seed=3)
    finally:
        torch.set_num_threads(before)
    assert again.digest == trained().digest


def stream_signals(model: MambaRegime, bars: Bars, start: int, batch: Signals) -> Signals:
    """Signals of a stream opened before ``start``, re-armed where the replay's operator did so."""
    stream = model.open(bars.rows(0, start))
    issued = []
    for row in range(start, len(bars)):
        tripped = batch.tripped
        assert tripped is not None
        if tripped[row - 1] and not tripped[row]:
            stream.rearm("A. Person")
        issued.append(stream.step(bars[row]))
    return Signals.collect(issued)


@pytest.mark.parametrize("start", [1, 60, 640])
def test_a_stream_gives_the_bits_of_the_batch(start: int) -> None:
    batch = trained().signals(market())
    issued = stream_signals(trained(), market(), start, batch)
    assert compare(batch.rows(start), issued, len(issued)).rows == 0


def test_a_stream_gives_the_bits_of_the_batch_through_trips_and_reviews() -> None:
    bars = market()
    fitted = trained().fitted
    assert fitted is not None
    # The first crash is a move without precedent; the second breaks the level for good.
    crash = np.ones(len(bars))
    crash[800:] *= np.exp(-1.2 * fitted.feed.log_shock)
    crash[1050:] *= np.exp(0.9)
    scaled = {n: getattr(bars, n) * crash for n in ("open", "close")}
    scaled["high"] = np.maximum(bars.high * crash, np.maximum(scaled["open"], scaled["close"]))
    scaled["low"] = np.minimum(bars.low * crash, np.minimum(scaled["open"], scaled["close"]))
    shocked = bars.with_values(**scaled)
    batch = trained().signals(shocked)
    assert batch.tripped is not None
    assert batch.tripped[800]
    assert not batch.tripped[801:1050].all()
    assert not np.array_equal(batch.latents[800], batch.latents[799])  # type: ignore[index]
    assert batch.tripped[1050:].all()
    assert not batch.position[batch.tripped].any()
    issued = stream_signals(trained(), shocked, 700, batch)
    assert compare(batch.rows(700), issued, len(issued)).rows == 0
    # Nobody re-arms a live stream but a person.
    left_alone = trained().open(shocked.rows(0, 790))
    alone = [left_alone.step(shocked[row]) for row in range(790, 1040)]
    assert all(signal.tripped and signal.position == 0.0 for signal in alone[10:])


def test_no_history_and_little_history() -> None:
    assert len(trained().signals(market().rows(0, 0))) == 0
    short = trained().signals(market().rows(0, 3))
    assert not short.position.any()
    stream = trained().open()
    assert np.array_equal(stream.step(market()[0]).latents, short.latents[0])  # type: ignore[index]


def test_false_trips_stay_near_the_stated_rate_on_the_law_of_training() -> None:
    signals = trained().signals(market(bars=2500))
    assert signals.tripped is not None
    tripped = signals.tripped[TRAINING_BARS:]
    onsets = int((tripped[1:] & ~tripped[:-1]).sum())
    # 1800 bars at one in a thousand give about 2; a latent's extremes cluster.
    assert onsets <= 8


def test_too_few_bars_and_missing_ranges_are_refused() -> None:
    with pytest.raises(DataError, match="too few bars"):
        untrained().fit(market().rows(0, 300), seed=1)
    bars = market()
    closes = {name: bars.close for name in ("open", "high", "low")}
    flat = Bars(
        bars.index, **closes, close=bars.close, volume=bars.volume, symbol="C", has_range=False
    )
    for call in (lambda: trained().signals(flat), lambda: untrained().fit(flat, seed=1)):
        with pytest.raises(DataError, match="closes only"):
            call()


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"layers": 3}, DocumentError),
        ({"features": "regime_v9"}, UnknownNameError),
        ({"backend": "abacus"}, UnknownNameError),
        ({"entry_bars": 0}, InputError),
        ({"regimes": 1}, InputError),
        ({"max_position": float("nan")}, DocumentError),
    ],
)
def test_impossible_settings_are_refused_before_anything_is_trained(
    params: dict[str, Any], error: type[Exception]
) -> None:
    def nothing_yet(stage: str, done: int, total: int) -> None:
        raise AssertionError("training began")

    with pytest.raises(error):
        build(params, seed=1, progress=nothing_yet)


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int]] = []
    build(PARAMS | {"pretrain_steps": 2}, seed=1, progress=lambda *step: told.append(step))
    assert [(done, total) for _, done, total in told] == [(1, 2), (2, 2)]


def test_k_means_runs_too() -> None:
    model = build(PARAMS | {"clusters": "kmeans", "volatility_ratio": 1.05}, seed=3)
    fitted = model.fit(market().rows(0, TRAINING_BARS), seed=3)
    assert len(np.unique(fitted.signals(market()).regime)) == 2
