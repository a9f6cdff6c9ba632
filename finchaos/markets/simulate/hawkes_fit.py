"""What events say about the Hawkes process they come from: residuals, likelihood, estimates."""

from __future__ import annotations

import numba
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from finchaos.core.errors import DataError, InputError
from finchaos.markets.simulate.hawkes import HawkesEvents, HawkesLaw

LEAST_EVENTS = 100
"""Fewer tell nothing about excitation."""


def residuals(law: HawkesLaw, events: HawkesEvents) -> np.ndarray:
    """Expected events in its channel since the one before there, for every event, shape (n,).

    Under the law they are independent and exponential with mean one (time rescaling), if nothing
    had happened before time zero.

    Raises
    ------
    InputError
        If the events have another number of channels than the law.

    References
    ----------
    Brown, Barbieri, Ventura, Kass and Frank (2002), Neural Computation 14(2), theorem 1.
    """
    _check_channels(law, events)
    return _walk(law, events)[0]


def log_likelihood(law: HawkesLaw, events: HawkesEvents) -> float:
    """Log-likelihood of events observed from an empty past up to their horizon.

    Raises
    ------
    InputError
        If the events have another number of channels than the law.

    References
    ----------
    Daley and Vere-Jones (2003), An Introduction to the Theory of Point Processes I, prop. 7.3.III.
    Ozaki (1979), Annals of the Institute of Statistical Mathematics 31, for the recursion.
    """
    _check_channels(law, events)
    with np.errstate(divide="ignore"):
        logs = np.log(_walk(law, events)[1])
    parts, decay = np.array(law.excitation), np.array(law.decay)
    # What every event adds to the compensator until the horizon, and the base rates.
    gone = -np.expm1(-decay * (events.horizon - events.time)[:, None])
    added = np.sum(gone / decay * parts.sum(axis=1)[:, events.channel].T)
    return float(logs.sum() - added - sum(law.base) * events.horizon)


def fit_univariate(time: np.ndarray, horizon: float) -> HawkesLaw:
    """Maximum-likelihood estimate of one channel with one exponential kernel.

    Parameters
    ----------
    time : numpy.ndarray, shape (n,)
        Strictly within (0, horizon], ascending, seconds; at least ``LEAST_EVENTS``.
    horizon : float

    Returns
    -------
    HawkesLaw
        Its ``branching_ratio`` is the estimated share of events that others excited.

    Raises
    ------
    DataError
        If the times cannot be used, or the search does not settle.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> from finchaos.markets.simulate.hawkes import simulate_hawkes
    >>> law = HawkesLaw.univariate(1.0, 0.6, 1.0)
    >>> events = simulate_hawkes(law, 4000.0, random_stream(7, "example"))
    >>> abs(fit_univariate(events.time, 4000.0).branching_ratio - 0.6) < 0.06
    True
    """
    time = np.ascontiguousarray(time, dtype=np.float64)
    sound = (
        time.ndim == 1
        and len(time) >= LEAST_EVENTS
        and bool(np.isfinite(time).all() and np.isfinite(horizon))
        and bool((np.diff(time) >= 0).all())
        and bool(time[0] >= 0 and time[-1] <= horizon)
    )
    if not sound:
        raise DataError(
            "event times cannot be used",
            expected=f"{LEAST_EVENTS} or more ascending times from 0 to the horizon",
            got=f"shape {time.shape}, horizon {horizon}",
        )
    rate = len(time) / horizon

    def law_of(free: np.ndarray) -> tuple[float, float, float]:
        # Base rate, branching ratio and decay, each free to be any number.
        return rate * float(np.exp(free[0])), float(expit(free[1])), rate * float(np.exp(free[2]))

    def cost(free: np.ndarray) -> float:
        return -univariate_log_likelihood(time, horizon, *law_of(free)) / len(time)

    start = np.array([np.log(0.5), logit(0.5), 0.0])
    found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-10})
    if not found.success:
        raise DataError("no maximum of the likelihood was found", got=str(found.message))
    base, branching, decay = law_of(found.x)
    return HawkesLaw.univariate(base, branching * decay, decay)


def _check_channels(law: HawkesLaw, events: HawkesEvents) -> None:
    if events.channels != law.channels:
        raise InputError(
            "the events have other channels than the law",
            expected=str(law.channels),
            got=str(events.channels),
        )


def _walk(law: HawkesLaw, events: HawkesEvents) -> tuple[np.ndarray, np.ndarray]:
    since, intensity = np.empty(len(events)), np.empty(len(events))
    walk_events(
        np.array(law.base, dtype=np.float64),
        np.array(law.excitation, dtype=np.float64),
        np.array(law.decay, dtype=np.float64),
        np.ascontiguousarray(events.time),
        np.ascontiguousarray(events.channel),
        since,
        intensity,
    )
    return since, intensity


@numba.njit(cache=True)
def walk_events(
    base: np.ndarray,
    kernels: np.ndarray,
    decay: np.ndarray,
    time: np.ndarray,
    channel: np.ndarray,
    since: np.ndarray,
    intensity: np.ndarray,
) -> None:
    """For every event the compensator since its channel's last, and the intensity just before."""
    parts, channels = kernels.shape[0], kernels.shape[1]
    excited = np.zeros((parts, channels))
    expected = np.zeros(channels)
    before = 0.0
    for k in range(time.shape[0]):
        passed = time[k] - before
        before = time[k]
        for i in range(channels):
            expected[i] += base[i] * passed
        for p in range(parts):
            fade = np.exp(-decay[p] * passed)
            for i in range(channels):
                expected[i] += excited[p, i] * (1.0 - fade) / decay[p]
                excited[p, i] *= fade
        fired = channel[k]
        since[k] = expected[fired]
        expected[fired] = 0.0
        intensity[k] = base[fired]
        for p in range(parts):
            intensity[k] += excited[p, fired]
            for i in range(channels):
                excited[p, i] += kernels[p, i, fired]


@numba.njit(cache=True)
def univariate_log_likelihood(
    time: np.ndarray, horizon: float, base: float, branching: float, decay: float
) -> float:
    """Log-likelihood of one channel with excitation branching * decay * exp(-decay t)."""
    total = -base * horizon
    excited, before = 0.0, 0.0
    for k in range(time.shape[0]):
        excited *= np.exp(-decay * (time[k] - before))
        before = time[k]
        total += np.log(base + branching * decay * excited)
        total += branching * np.expm1(-decay * (horizon - time[k]))
        excited += 1.0
    return total
