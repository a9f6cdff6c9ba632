"""Defects that know what has not happened yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.selftest.planted import Behaviour, Defect, stateless

_FAMILY = "look-ahead"
Flat = Callable[[Bars], np.ndarray]


def _next(values: np.ndarray) -> np.ndarray:
    """Each row's successor; the last row keeps its own."""
    return np.append(values[1:], values[-1:])


def _flat(signals: Signals, flat: np.ndarray, warm: int) -> Signals:
    """In the market but where ``flat``; warm-up stays as it is."""
    position = np.where(flat, 0.0, signals.position)
    position[:warm] = signals.position[:warm]
    return replace(signals, position=position)


def _flat_where(rule: Flat) -> Callable[[], Behaviour]:
    def answer(base: Subject, bars: Bars) -> Signals:
        return _flat(base.signals(bars), rule(bars), base.card.warmup_bars)

    return stateless(answer)


def _centred(values: np.ndarray) -> np.ndarray:
    """Mean over five bars before and five after."""
    padded = np.pad(values, 5, mode="edge")
    return np.convolve(padded, np.full(11, 1.0 / 11.0), mode="valid")


def _smoothed_regime(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    if signals.stress_probability is None:
        return _smoothed_position(base, bars)
    stress = np.clip(_centred(signals.stress_probability), 0.0, 1.0)
    return replace(signals, stress_probability=stress)


def _smoothed_position(base: Subject, bars: Bars) -> Signals:
    signals = base.signals(bars)
    position = np.clip(_centred(signals.position), base.card.min_position, base.card.max_position)
    position[: base.card.warmup_bars] = 0.0
    return replace(signals, position=position)


def _scaled_by_the_sample(base: Subject, bars: Bars) -> Signals:
    """Exposure in proportion to calm, by the volatility of the whole history it is given."""
    signals = base.signals(bars)
    moves = np.abs(np.diff(np.log(bars.close), prepend=np.log(bars.close[0])))
    share = np.clip(moves.mean() / (moves + 1e-9), 0.0, 1.0)
    return replace(signals, position=signals.position * share)


def _out_at_the_end(base: Subject, bars: Bars) -> Signals:
    left = np.arange(len(bars), 0, -1)
    return _flat(base.signals(bars), left <= 5, base.card.warmup_bars)


def _on_revised(base: Subject, bars: Bars) -> Signals:
    """Closes as they were revised a bar later: a tenth of the next move is in them already."""
    moves = np.append(np.diff(np.log(bars.close)), 0.0)
    return base.signals(_with_closes(bars, bars.close * np.exp(0.1 * moves)))


def _on_interpolated(base: Subject, bars: Bars) -> Signals:
    """Every seventh close counts as missing and is filled between its neighbours."""
    close = bars.close.copy()
    rows = np.arange(7, len(close) - 1, 7)
    close[rows] = np.sqrt(close[rows - 1] * close[rows + 1])
    return base.signals(_with_closes(bars, close))


def _with_closes(bars: Bars, close: np.ndarray) -> Bars:
    high, low = np.maximum(bars.high, close), np.minimum(bars.low, close)
    return replace(bars, close=close, high=high, low=low)


def _remembering() -> Behaviour:
    """Trains on the longest history that any instance of it was ever shown."""
    longest: list[Bars] = []

    def known(bars: Bars) -> Bars:
        if not longest or len(bars) > len(longest[0]):
            longest[:] = [bars]
        return longest[0]

    def answer(base: Subject, bars: Bars) -> Signals:
        known(bars)
        return base.signals(bars)

    return Behaviour(answer, lambda base, bars, seed: base.fit(known(bars), seed=seed))


def _threshold_of_the_sample(bars: Bars) -> np.ndarray:
    moves = np.abs(np.diff(np.log(bars.close), prepend=np.log(bars.close[0])))
    return moves > np.quantile(moves, 0.8)


DEFECTS: tuple[Defect, ...] = (
    Defect("next_return", _FAMILY, "Flat before every falling bar",
           _flat_where(lambda b: _next(b.close) < b.close)),
    Defect("next_return_on_fridays", _FAMILY, "Flat before falling Mondays, causal otherwise",
           _flat_where(lambda b: (_next(b.close) < b.close) & (b.index.day_of_week == 4))),
    Defect("next_crash", _FAMILY, "Flat before the rare bars that fall by more than 3 %",
           _flat_where(lambda b: _next(b.close) < 0.97 * b.close)),
    Defect("next_open", _FAMILY, "Executed at the bar it decides on: flat before gaps down",
           _flat_where(lambda b: (_next(b.open) < b.close) | (_next(b.low) < 0.99 * b.close))),
    Defect("next_volume", _FAMILY, "Flat before bars of falling volume",
           _flat_where(lambda b: _next(b.volume) < b.volume)),
    Defect("next_range", _FAMILY, "Flat before bars of a rising range",
           _flat_where(lambda b: _next(b.high / b.low) > b.high / b.low)),
    Defect("bars_to_come", _FAMILY, "Knows how many bars are left", stateless(_out_at_the_end)),
    Defect("threshold_of_the_sample", _FAMILY, "A quantile of the whole history, not of training",
           _flat_where(_threshold_of_the_sample)),
    Defect("scaler_of_the_sample", _FAMILY, "Exposure scaled by the whole history's volatility",
           stateless(_scaled_by_the_sample)),
    Defect("smoothed_regime", _FAMILY, "Probabilities smoothed over bars before and after",
           stateless(_smoothed_regime)),
    Defect("smoothed_position", _FAMILY, "Positions smoothed over bars before and after",
           stateless(_smoothed_position)),
    Defect("revised_data", _FAMILY, "Reads closes as they were revised a bar later",
           stateless(_on_revised)),
    Defect("imputed_from_the_future", _FAMILY, "Missing closes filled between their neighbours",
           stateless(_on_interpolated)),
    Defect("leak_in_training", _FAMILY, "Trains on the longest history it was ever shown",
           _remembering),
)  # fmt: skip
