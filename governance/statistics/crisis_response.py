"""How exposure and money moved through a fall of the market."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError
from governance.statistics.performance import drawdown, max_drawdown, wealth


@dataclass(frozen=True)
class Delay:
    """Bars until something happened.

    Attributes
    ----------
    bars : int
        Bars waited; where it never happened, one more than were left to look at.
    happened : bool
    """

    bars: int
    happened: bool


@dataclass(frozen=True)
class CrisisResponse:
    """What a subject did in a window of n periods; losses are positive fractions of capital.

    Attributes
    ----------
    loss : float
        Minus the total return after costs.
    excess_loss : float
        Loss less that of holding the market: negative if less was lost.
    max_drawdown : float
        Deepest drawdown of the subject's wealth, in [-1, 0].
    drawdown_share : float
        That drawdown over the market's: 1 for the whole fall, 0 for none; NaN if it never fell.
    exposure_before : float
        Median exposure over the reference periods before the peak.
    exposure_at_worst_bar : float
        Exposure over the market's worst period.
    derisk : Delay or None
        From the first close at which the fall is visible until exposure is at most half of
        ``exposure_before``; None if no such close has a period after it.
    reentry : Delay or None
        From the trough until exposure is at least half of ``exposure_before`` after it had been
        reduced; 0 if it never was. None if the market does not recover in the window or nothing
        was held before.
    onset, trough, worst : int or None, int, int
        Closes and period meant above; closes count from 0, the one before the window.
    """

    loss: float
    excess_loss: float
    max_drawdown: float
    drawdown_share: float
    exposure_before: float
    exposure_at_worst_bar: float
    derisk: Delay | None
    reentry: Delay | None
    onset: int | None
    trough: int
    worst: int


def crisis_response(
    market: np.ndarray,
    held: np.ndarray,
    net: np.ndarray,
    *,
    held_before: np.ndarray,
    onset_drawdown: float,
    recovery_rise: float,
) -> CrisisResponse:
    """Measure a response.

    Parameters
    ----------
    market : numpy.ndarray, shape (n,)
        Simple returns of the instrument.
    held : numpy.ndarray, shape (n,)
        Exposure over each period, as a fraction of capital.
    net : numpy.ndarray, shape (n,)
        Returns on capital after costs.
    held_before : numpy.ndarray, shape (m,)
        Exposure over the periods before the window; together with those up to the peak they are
        the reference for ``exposure_before``, the last m counting.
    onset_drawdown : float
        The fall is visible at the first close this far below the highest so far.
    recovery_rise : float
        The market has recovered once a close is this far above the trough.

    Examples
    --------
    >>> answer = crisis_response(np.array([-0.1, -0.1, 0.3]), np.array([1.0, 0.0, 0.0]),
    ...     np.array([-0.1, 0.0, 0.0]), held_before=np.ones(5), onset_drawdown=0.05,
    ...     recovery_rise=0.2)
    >>> answer.derisk, round(answer.loss, 3)
    (Delay(bars=0, happened=True), 0.1)
    """
    if not (len(market) == len(held) == len(net) >= 1 and len(held_before) >= 1):
        raise InputError("a crisis response needs a period, periods of one length and some before")
    level = wealth(market)
    fall = drawdown(market)
    trough = int(fall.argmin())
    visible = np.flatnonzero(fall <= -onset_drawdown)
    onset = int(visible[0]) if len(visible) else None
    peak = int(level[: (trough if onset is None else onset) + 1].argmax())
    before = float(np.median(np.concatenate([held_before, held[:peak]])[-len(held_before) :]))
    worst = int(market.argmin())
    derisk = None if onset is None else _wait(held[onset:] <= 0.5 * before)
    recovered = bool(level[trough:].max() >= level[trough] * (1.0 + recovery_rise))
    depth, loss = float(max_drawdown(net)), 1.0 - float(wealth(net)[-1])
    return CrisisResponse(
        loss=loss,
        excess_loss=loss - (1.0 - float(level[-1])),
        max_drawdown=depth,
        drawdown_share=depth / fall[trough] if fall[trough] < 0.0 else float("nan"),
        exposure_before=before,
        exposure_at_worst_bar=float(held[worst]),
        derisk=derisk,
        reentry=_reentry(held, before, onset, derisk, trough) if recovered else None,
        onset=onset,
        trough=trough,
        worst=worst,
    )


def worst_intrabar_loss(
    held: np.ndarray, before: np.ndarray, high: np.ndarray, low: np.ndarray
) -> float:
    """Largest loss on capital from a close to the worst price of the next bar, at least 0.

    Parameters
    ----------
    held : numpy.ndarray, shape (n,)
        Exposure from the close before each bar.
    before, high, low : numpy.ndarray, shape (n,)
        Close before each bar, and its range.
    """
    marks = np.stack([held * (low / before - 1.0), held * (high / before - 1.0)])
    return float(max(-marks.min(), 0.0))


def _reentry(
    held: np.ndarray, before: float, onset: int | None, derisk: Delay | None, trough: int
) -> Delay | None:
    if before <= 0.0:
        return None
    if onset is None or derisk is None or not derisk.happened:
        return Delay(0, True)
    first = max(trough, onset + derisk.bars)
    back = _wait(held[first:] >= 0.5 * before)
    return None if back is None else Delay(first - trough + back.bars, back.happened)


def _wait(reached: np.ndarray) -> Delay | None:
    if not len(reached):
        return None
    return Delay(int(reached.argmax()), True) if reached.any() else Delay(len(reached), False)
