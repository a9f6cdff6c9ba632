"""Defects of what a model does with capital: it decides nothing, flickers, or holds in a crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context
from governance.selftest.planted import Behaviour, Defect, Planted, stateless
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.performance import sharpe
from governance.trials import Trials

_FAMILY = "outcome"
_TRIALS = 200
_HOLDING_BARS = 5
_LATE_BARS = 60
_HIGH_BARS = 60
Held = Callable[[Signals, Bars, float], np.ndarray]
"""From sound signals, bars and the largest exposure allowed to exposures, shape (t,)."""


def _holding(rule: Held) -> Callable[[], Behaviour]:
    """Holds what the rule says once it is warm and unless it is tripped."""

    def answer(base: Subject, bars: Bars) -> Signals:
        signals = base.signals(bars)
        return _with(base, signals, rule(signals, bars, base.card.max_position))

    return stateless(answer)


def _with(base: Subject, signals: Signals, exposure: np.ndarray) -> Signals:
    position = np.array(exposure, dtype=np.float64)
    position[: base.card.warmup_bars] = 0.0
    if signals.tripped is not None:
        position[signals.tripped] = 0.0
    return replace(signals, position=position)


def _moves(bars: Bars) -> np.ndarray:
    """Log returns, shape (t,); 0 at the first bar."""
    logs = np.log(bars.close)
    return np.diff(logs, prepend=logs[0])


def _coins(bars: Bars) -> np.ndarray:
    """A coin for every bar, from digits of its return that mean nothing."""
    return np.asarray(np.floor(1e5 * np.abs(_moves(bars))) % 2 == 0)


def _named(signals: Signals, stressed: np.ndarray) -> Signals:
    return replace(
        signals, regime=stressed.astype(np.int64), stress_probability=stressed.astype(float)
    )


def _flickering(flips: Callable[[Bars], np.ndarray]) -> Callable[[], Behaviour]:
    def answer(base: Subject, bars: Bars) -> Signals:
        stressed = flips(bars)
        signals = _named(base.signals(bars), stressed)
        return _with(base, signals, np.where(stressed, 0.0, base.card.max_position))

    return stateless(answer)


def _fallen(bars: Bars) -> np.ndarray:
    """Bars a tenth or more below the highest close of the last sixty, themselves counted."""
    padded = np.pad(bars.close, (_HIGH_BARS - 1, 0), mode="edge")
    high = np.lib.stride_tricks.sliding_window_view(padded, _HIGH_BARS).max(axis=1)
    return np.asarray(bars.close <= 0.9 * high)


def _blind(base: Subject, bars: Bars) -> Signals:
    """In falls beyond ten per cent everything is called calm, and held."""
    signals, fallen = base.signals(bars), _fallen(bars)
    regime, probability = signals.regime, signals.stress_probability
    if regime is not None and probability is not None:
        signals = replace(
            signals,
            regime=np.where(fallen, 0, regime),
            stress_probability=np.where(fallen, 0.02, probability),
        )
    return _with(base, signals, np.where(fallen, base.card.max_position, signals.position))


def _late(signals: Signals, bars: Bars, largest: float) -> np.ndarray:
    late = np.concatenate([np.full(_LATE_BARS, largest), signals.position])
    return late[: len(signals)]


def _understating(base: Subject, bars: Bars) -> Signals:
    """States half of the volatility that its own average of squares gives."""
    moves = np.expm1(_moves(bars))
    squares, _ = lfilter([0.06], [1.0, -0.94], moves**2, zi=np.array([0.94 * 1e-4]))
    return replace(base.signals(bars), forecast_volatility=0.5 * np.sqrt(squares) + 1e-8)


@dataclass(frozen=True)
class Searched(Defect):
    """The best of many declared rules that know nothing; the register is whole."""

    def within(self, base: Subject, context: Context) -> tuple[Subject, Context]:
        """The subject as it is, with the search that is said to have found it."""
        market = out_of_sample(base, context).market
        rng = context.rng("selftest/search")
        turns = -(-len(market) // _HOLDING_BARS)
        sides = np.repeat(rng.choice([-1.0, 1.0], size=(turns, _TRIALS)), _HOLDING_BARS, axis=0)
        returns = sides[: len(market)] * market[:, None]
        scores = sharpe(returns.T, context.bars.bars_per_year)
        trials = Trials("search", _TRIALS, scores, True, "0" * 64, returns)
        return Planted(base, self.name, Behaviour()), replace(context, trials=trials)


DEFECTS: tuple[Defect, ...] = (
    Defect("always_long", _FAMILY, "The largest exposure is held whatever the regime",
           _holding(lambda s, bars, largest: np.full(len(s), largest))),
    Defect("constant_exposure", _FAMILY, "The same three tenths are held whatever the regime",
           _holding(lambda s, bars, largest: np.full(len(s), 0.3 * largest))),
    Defect("missed_crash", _FAMILY, "Falls beyond a tenth are held through",
           _holding(lambda s, bars, largest: np.where(_fallen(bars), largest, s.position))),
    Defect("token_decisions", _FAMILY, "A regime moves a tenth of the exposure",
           _holding(lambda s, bars, largest: 0.9 * largest + 0.1 * s.position)),
    Defect("blind_in_crash", _FAMILY, "Falls beyond a tenth are called calm and held through",
           stateless(_blind)),
    Defect("random_flicker", _FAMILY, "A coin for every bar decides the regime",
           _flickering(_coins)),
    Defect("leaves_late", _FAMILY, "Acts on a regime sixty bars after it has said it",
           _holding(_late)),
    Defect("alternation", _FAMILY, "The regime is the other one at every bar",
           _flickering(lambda bars: np.arange(len(bars)) % 2 == 0)),
    Defect("risk_on_in_crisis", _FAMILY, "Holds most where it says stress",
           _holding(lambda s, bars, largest: largest - s.position)),
    Defect("flickering_exposure", _FAMILY, "A coin for every bar decides whether to hold",
           _holding(lambda s, bars, largest: np.where(_coins(bars), largest, 0.0))),
    Defect("trades_every_turn", _FAMILY, "In after every falling bar and out after every other",
           _holding(lambda s, bars, largest: np.where(_moves(bars) < 0.0, largest, 0.0))),
    Defect("understated_risk", _FAMILY, "States half of the volatility that it measures",
           stateless(_understating)),
    Searched("best_of_noise", _FAMILY, "The best of 200 declared rules that know nothing"),
)  # fmt: skip
