"""Monitors of novelty in the model: chosen by a setting, saved with it, and tripping its switch."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.provenance import random_stream
from finchaos.subjects.mamba_regime import MambaRegime, build, load
from finchaos.trading.novelty import KINDS, Kind
from tests.finchaos.subjects.small import PARAMS, TRAINING_BARS, market, trained, untrained


@cache
def monitored(kind: Kind) -> MambaRegime:
    params = {**untrained().settings.model_dump(), "novelty": kind, "novelty_quantile": 0.98}
    settings = type(untrained().settings).model_validate(params).checked()
    return replace(untrained(), settings=settings).fit(market().rows(0, TRAINING_BARS), seed=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_monitor_changes_the_switch_and_nothing_else(kind: Kind) -> None:
    plain, other = trained().signals(market()), monitored(kind).signals(market())
    assert np.array_equal(plain.latents, other.latents)
    assert np.array_equal(plain.stress_probability, other.stress_probability)
    assert not np.array_equal(plain.tripped, other.tripped)
    assert monitored(kind).digest != trained().digest
    assert f"({kind})" in " ".join(monitored(kind).card.limitations)


@pytest.mark.parametrize("kind", KINDS)
def test_a_monitored_model_comes_back_the_same_and_steps_like_it_replays(
    kind: Kind, tmp_path: Path
) -> None:
    monitored(kind).save(tmp_path)
    again = load(tmp_path)
    assert again.digest == monitored(kind).digest
    bars = market().rows(0, 800)
    whole = monitored(kind).signals(bars)
    assert np.array_equal(whole.tripped, again.signals(bars).tripped)
    stream = again.open(bars.rows(0, 500))
    latched = [stream.step(bars[t]).tripped for t in range(500, 800)]
    # A replay imagines an operator, a stream does not: they part after the first trip.
    first = int(np.argmax([*latched, True]))
    assert latched[:first] == whole.tripped[500 : 500 + first].tolist()
    assert all(latched[first:])


@pytest.mark.parametrize("kind", KINDS)
def test_a_market_unlike_training_trips(kind: Kind) -> None:
    bars, last = market().rows(0, TRAINING_BARS + 160), market().close[TRAINING_BARS - 1]
    # Hardly anything moves: the network's latents saturate in storms, and stillness is farther out.
    still = last * np.exp(np.cumsum(1e-5 * random_stream(1, "still").standard_normal(160)))
    before = np.concatenate([[last], still[:-1]])
    columns = {
        "open": before,
        "high": np.maximum(before, still),
        "low": np.minimum(before, still),
        "close": still,
        "volume": bars.volume[TRAINING_BARS:],
    }
    both = {n: np.concatenate([getattr(bars, n)[:TRAINING_BARS], v]) for n, v in columns.items()}
    altered = Bars(pd.DatetimeIndex(bars.index), **both, symbol="T")
    session = monitored(kind).open(altered.rows(0, TRAINING_BARS))
    session.rearm("Ada Byron")
    for row in range(TRAINING_BARS, len(altered)):
        session.step(altered[row])
    assert session.tripped
    assert "away from anything in training" in session.trip_reason


def test_too_few_rows_for_the_quantile_are_refused() -> None:
    settings = monitored("mahalanobis").settings.model_copy(update={"novelty_quantile": 0.999})
    with pytest.raises(DataError, match="too few calibration rows"):
        replace(untrained(), settings=settings).fit(market().rows(0, TRAINING_BARS), seed=3)


def test_a_model_without_a_monitor_records_none() -> None:
    assert not [name for name in trained().fitted.to_arrays() if name.startswith("novelty")]  # type: ignore[union-attr]
    with pytest.raises(InputError, match="novelty"):
        build({**PARAMS, "novelty": "cosine"}, seed=1)
