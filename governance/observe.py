"""Looking at a subject's signals under its contract."""

from __future__ import annotations

import numpy as np

from finchaos.core.bars import Bars
from finchaos.core.errors import FinchaosError, SubjectFault
from finchaos.core.signals import Signals
from finchaos.core.subject import ModelCard, Subject

LEVERAGE_TOLERANCE = 1e-9


def violations(signals: Signals, bars: Bars, card: ModelCard) -> dict[str, int]:
    """Count breaches of the Subject contract by kind; all zero for a sound subject.

    Returns
    -------
    dict
        ``misplaced_rows`` (missing, surplus or differently stamped), ``nonfinite_positions``,
        ``positions_beyond_limits``, ``positions_in_warmup``, ``invalid_probabilities``,
        ``invalid_forecasts`` (a mean that is not finite, a volatility that is not finite and
        positive, after the warm-up).
    """
    stamped = len(signals) == len(bars) and bool((signals.index == bars.index).all())
    position = signals.position
    finite = np.isfinite(position)
    held = position[finite]
    beyond = (held < card.min_position - LEVERAGE_TOLERANCE) | (
        held > card.max_position + LEVERAGE_TOLERANCE
    )
    probability = signals.stress_probability
    invalid = 0
    if probability is not None:
        invalid = int((~((probability >= 0) & (probability <= 1))).sum())
    rows = 0 if stamped else max(abs(len(bars) - len(signals)), 1)
    return {
        "misplaced_rows": rows,
        "nonfinite_positions": int((~finite).sum()),
        "positions_beyond_limits": int(beyond.sum()),
        "positions_in_warmup": int(np.count_nonzero(position[: card.warmup_bars])),
        "invalid_probabilities": invalid,
        "invalid_forecasts": _invalid_forecasts(signals, card.warmup_bars),
    }


def _invalid_forecasts(signals: Signals, warmup_bars: int) -> int:
    wrong = np.zeros(len(signals), dtype=bool)
    if signals.forecast_mean is not None:
        wrong |= ~np.isfinite(signals.forecast_mean)
    volatility = signals.forecast_volatility
    if volatility is not None:
        wrong |= ~(np.isfinite(volatility) & (volatility > 0.0))
    return int(wrong[warmup_bars:].sum())


def observe(subject: Subject, bars: Bars) -> Signals:
    """Signals of ``subject`` on ``bars``, refused if they break the contract.

    Raises
    ------
    SubjectFault
        If the subject raises, or its signals are misplaced, not finite or beyond its limits.
    """
    before = bars.digest
    try:
        signals = subject.signals(bars)
    except FinchaosError:
        raise
    except (Exception, SystemExit) as error:  # a model must not be able to end the process
        raise SubjectFault(
            f"{subject.card.name} failed on {len(bars)} bars",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(signals, Signals):
        raise SubjectFault(f"{subject.card.name} returned no Signals", got=type(signals).__name__)
    if digest_now(bars) != before:
        raise SubjectFault(f"{subject.card.name} changed the bars it was given")
    broken = {k: v for k, v in violations(signals, bars, subject.card).items() if v}
    if broken:
        raise SubjectFault(
            f"signals of {subject.card.name} break the Subject contract",
            expected="one finite position per bar within the declared limits, probabilities within "
            "0 and 1, forecasts finite and their volatility positive",
            got=", ".join(f"{name}: {count}" for name, count in broken.items()),
        )
    return signals


def digest_now(bars: Bars) -> str:
    """The bars' digest computed afresh, not remembered."""
    return bars.rows().digest
