"""The volatility rule: causal, streaming, and with the published figures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finchaos.core import registry
from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.subject import Subject
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.observe import observe
from governance.statistics import performance
from governance.statistics.accounting import profit_and_loss
from tests.planted.markets import labels, regime_switching_bars
from tests.planted.skill import closes_alone


def test_published_figures_on_the_sp500() -> None:
    """Refitted each January on everything before; delay 1, 10 basis points, cash at zero.

    The figures come from another implementation, which held a position on the first day.
    """
    datasets = pytest.importorskip("skfolio.datasets")
    closes = datasets.load_sp500_index()["SP500"]
    bars = Bars(
        pd.DatetimeIndex(closes.index).tz_localize("UTC"),
        **{name: closes.to_numpy() for name in ("open", "high", "low", "close")},
        volume=np.zeros(len(closes)),
        symbol="SPX",
    )
    year, position = closes.index.year, np.zeros(len(bars))
    first = int(np.argmax(year == 2000))
    for start in range(2000, 2023):
        train, stop = int(np.argmax(year == start)), int((year <= start).sum())
        trained = VolatilityThreshold().fit(bars.rows(0, train), seed=0)
        # Decisions of the last days of 1999 are those held on the first days of 2000.
        begin = train - 3 if start == 2000 else train
        position[begin:stop] = trained.signals(bars.rows(0, stop)).position[begin:]
    account = profit_and_loss(position, bars.returns(), cost_bps=10, delay_bars=1)
    net, traded = account.net[first - 1 :], account.traded[first - 1 :]
    assert len(net) == 5785
    assert float(performance.sharpe(net, 252)) == pytest.approx(0.305, abs=5e-4)
    assert float(performance.sortino(net, 252)) == pytest.approx(0.414, abs=5e-4)
    assert float(performance.max_drawdown(net)) == pytest.approx(-0.460, abs=5e-4)
    assert float(performance.turnover_per_year(traded, 252)) == pytest.approx(2.55, abs=5e-3)
    assert int((traded > 0).sum()) == 117
    assert account.held[first - 1 :].mean() == pytest.approx(0.72, abs=5e-3)


def test_finds_a_volatile_regime_and_keeps_its_contract() -> None:
    bars, state = regime_switching_bars(1), labels(1)
    subject = VolatilityThreshold(quantile=0.75).fit(bars.rows(0, 1000), seed=0)
    assert isinstance(subject, Subject)
    signals = observe(subject, bars)
    assert signals.regime is not None
    assert (signals.regime == state)[100:].mean() > 0.8
    assert (signals.position[21:] == 1 - signals.regime[21:]).all()
    assert not signals.position[:21].any()


def test_threshold_is_the_quantile_of_training_volatility() -> None:
    bars = regime_switching_bars(3, 300)
    fitted = VolatilityThreshold(window_bars=10, quantile=0.5).fit(bars, seed=0)
    own = pd.Series(bars.close).pct_change().rolling(10).std().dropna()
    assert fitted.threshold == pytest.approx(own.median())
    assert fitted.digest != VolatilityThreshold(window_bars=10, quantile=0.5).digest


@settings(max_examples=15, deadline=None)
@given(st.integers(25, 199), st.integers(0, 10_000))
def test_never_reads_ahead_and_streams_what_it_says_in_batch(cut: int, seed: int) -> None:
    bars = regime_switching_bars(seed, 200)
    subject = VolatilityThreshold(quantile=0.5).fit(bars.rows(0, 100), seed=0)
    said = subject.signals(bars)
    altered = closes_alone(np.concatenate([bars.close[:cut], 3.0 * bars.close[cut:]]))
    assert np.array_equal(subject.signals(altered).position[:cut], said.position[:cut])
    stream = subject.open(bars.rows(0, cut))
    for row in range(cut, min(cut + 20, 200)):
        live = stream.step(bars[row])
        assert live.position == said.position[row]
        assert said.regime is not None
        assert live.regime == said.regime[row]


def test_stream_and_batch_measure_the_same_volatility_to_the_last_bit() -> None:
    """With the threshold at a volatility that occurs, one bit more or less would show."""
    bars = regime_switching_bars(8, 400)
    volatility = pd.Series(bars.close).pct_change().rolling(21).std().to_numpy()
    for row in range(21, 400):
        growth = bars.close[row - 20 : row + 1] / bars.close[row - 21 : row]
        limit = float(growth.std(ddof=1))
        assert limit == pytest.approx(volatility[row])
        subject = VolatilityThreshold(threshold=limit)
        said = subject.signals(bars.rows(row - 30 if row > 30 else 0, row + 1))
        stream = subject.open(bars.rows(0, row))
        assert said.position[-1] == stream.step(bars[row]).position == 1.0  # not above it
        just_below = VolatilityThreshold(threshold=float(np.nextafter(limit, 0.0)))
        assert just_below.signals(bars.rows(0, row + 1)).position[-1] == 0.0


def test_a_cold_stream_warms_up_like_the_batch() -> None:
    bars = regime_switching_bars(5, 40)
    subject = VolatilityThreshold().fit(regime_switching_bars(6, 300), seed=0)
    stream, said = subject.open(), subject.signals(bars)
    assert [stream.step(bars[row]).position for row in range(40)] == said.position.tolist()


def test_unfitted_is_always_in_after_warm_up() -> None:
    assert VolatilityThreshold().signals(regime_switching_bars(1, 60)).position[21:].all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="too few bars"):
        VolatilityThreshold().fit(regime_switching_bars(1, 21), seed=0)
    with pytest.raises(InputError):
        VolatilityThreshold(quantile=1.0)
    with pytest.raises(InputError):
        VolatilityThreshold(window_bars=1)


def test_is_registered_under_its_file_name() -> None:
    found = registry.public_class("governance.challengers", "volatility_threshold")
    assert found is VolatilityThreshold
