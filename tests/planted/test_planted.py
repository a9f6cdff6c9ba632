"""The references themselves are what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest

from finchaos.core.errors import InputError
from finchaos.core.subject import Subject
from governance.observe import observe
from governance.selftest.volatility_regime import VolatilityRegime
from tests.planted.markets import labels, regime_switching_bars


def test_same_seed_same_market_and_prefix_is_stable() -> None:
    assert regime_switching_bars(3, 400).digest == regime_switching_bars(3, 400).digest
    assert regime_switching_bars(3, 400).digest != regime_switching_bars(4, 400).digest
    longer = regime_switching_bars(3, 700).rows(0, 400)
    assert np.array_equal(longer.close, regime_switching_bars(3, 400).close)


def test_regimes_differ_in_volatility_as_declared() -> None:
    bars, state = regime_switching_bars(1, 20_000), labels(1, 20_000)
    moves = np.diff(np.log(bars.close))
    for regime, vol in ((0, 0.10), (1, 0.35)):
        measured = moves[state[1:] == regime].std() * np.sqrt(252)
        assert measured == pytest.approx(vol * np.sqrt(1.04), rel=0.03)


def test_sound_subject_keeps_its_contract_and_finds_the_regimes() -> None:
    bars, state = regime_switching_bars(1), labels(1)
    subject = VolatilityRegime().fit(bars.rows(0, 1000), seed=0)
    assert isinstance(subject, Subject)
    signals = observe(subject, bars)
    assert signals.regime is not None
    assert signals.tripped is not None
    assert not signals.tripped.any()
    agree = (signals.regime == state)[60:].mean()
    assert agree > 0.85
    assert 0.3 < signals.position.mean() < 0.95


def test_stream_continues_the_batch() -> None:
    bars = regime_switching_bars(2, 500)
    subject = VolatilityRegime().fit(bars.rows(0, 300), seed=0)
    batch, stream = subject.signals(bars), subject.open(bars.rows(0, 400))
    assert batch.latents is not None
    for row in range(400, 500):
        live = stream.step(bars[row])
        assert live.position == batch.position[row]
        assert live.latents is not None
        assert np.array_equal(live.latents, batch.latents[row])


def test_blank_person_cannot_rearm() -> None:
    stream = VolatilityRegime().open(regime_switching_bars(2, 100))
    with pytest.raises(InputError):
        stream.rearm("  ")
