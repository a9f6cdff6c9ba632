"""Paths of returns that a model is shocked with: crises made larger or smaller, gaps and slides."""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import InputError


def scaled(returns: np.ndarray, severity: float) -> np.ndarray:
    """Simple returns whose log returns are ``severity`` times those given, shape (n,).

    Scaling logarithms keeps every price positive, however severe the shock.

    Raises
    ------
    InputError
        If the severity is negative or not finite.

    Examples
    --------
    >>> scaled(np.array([-0.5, 1.0]), 2.0).round(6).tolist()
    [-0.75, 3.0]
    """
    if not (np.isfinite(severity) and severity >= 0.0):
        raise InputError("a severity must be finite and not negative", got=repr(severity))
    return np.asarray(np.expm1(severity * np.log1p(returns)))


def calm_noise(warmup_close: np.ndarray, bars: int) -> np.ndarray:
    """The last ``bars`` log returns of a warm-up without their mean, shape (bars,).

    A shock on ordinary days is one that a model of volatility can tell from a dead market.

    Raises
    ------
    InputError
        If the warm-up has fewer returns.
    """
    moves = np.diff(np.log(warmup_close))
    if not 1 <= bars <= len(moves):
        raise InputError(
            "the warm-up is too short for the days of a shock",
            expected=f"at least {bars + 1} closes",
            got=str(len(warmup_close)),
        )
    chosen = moves[len(moves) - bars :]
    return np.asarray(chosen - chosen.mean())


def slide(fall: float, fall_bars: int, noise: np.ndarray) -> np.ndarray:
    """Simple returns of a market that loses ``fall`` over its first bars, shape (n,).

    The log return of every one of the first ``fall_bars`` bars is its share of log(1 - fall)
    plus the noise, whose mean over those bars is removed so that the fall is what it is called;
    after them there is the noise alone. One bar makes a gap.

    Parameters
    ----------
    fall : float
        Fraction of the price, in [0, 1).
    fall_bars : int
        Bars it is spread over, at most n.
    noise : numpy.ndarray, shape (n,)
        Log returns of ordinary days.

    Raises
    ------
    InputError
        If the fall leaves no price or has no bar.

    Examples
    --------
    >>> slide(0.19, 2, np.zeros(3)).round(6).tolist()
    [-0.1, -0.1, 0.0]
    """
    if not 0.0 <= fall < 1.0 or not 1 <= fall_bars <= len(noise):
        raise InputError(
            "no such slide",
            expected=f"a fall in [0, 1) over 1 to {len(noise)} bars",
            got=f"{fall} over {fall_bars}",
        )
    moves = np.array(noise, dtype=np.float64)
    moves[:fall_bars] += np.log1p(-fall) / fall_bars - moves[:fall_bars].mean()
    return np.asarray(np.expm1(moves))
