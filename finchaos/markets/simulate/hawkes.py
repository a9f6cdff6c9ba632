"""Hawkes processes: events in channels that excite one another, with exponential kernels.

Channel i has at time t the intensity

    lambda_i(t) = base_i + sum over past events (s, j) of sum_p excitation_pij exp(-decay_p (t - s))

so that an event in channel j has on average branching_ij = sum_p excitation_pij / decay_p direct
children in channel i. The process is stationary where the spectral radius of that matrix, the
branching ratio, is below one; other laws are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from finchaos.core.errors import InputError

_BLOCK = 1 << 16
"""Events drawn between two looks at whether there is room for more."""


@dataclass(frozen=True)
class HawkesLaw:
    """Parameters of a Hawkes process of d channels.

    Attributes
    ----------
    base : tuple of float, length d
        Events per second that nothing excited, non-negative and not all zero.
    excitation : tuple of tuple of tuple of float, shape (p, d, d)
        ``excitation[p][i][j]`` is what an event in channel j adds to the intensity of channel i,
        per second, non-negative.
    decay : tuple of float, length p
        How fast each of these fades, per second, positive.

    Raises
    ------
    InputError
        If a rate is negative or not finite, shapes disagree, or events would multiply for ever.

    References
    ----------
    Hawkes (1971), Biometrika 58(1), 83-90.

    Examples
    --------
    >>> law = HawkesLaw.univariate(1.0, 0.6, 1.0)
    >>> round(law.branching_ratio, 12), law.mean_rate.round(12).tolist()
    (0.6, [2.5])
    """

    base: tuple[float, ...]
    excitation: tuple[tuple[tuple[float, ...], ...], ...]
    decay: tuple[float, ...]

    def __post_init__(self) -> None:
        base, decay = np.array(self.base, dtype=np.float64), np.array(self.decay, dtype=np.float64)
        channels, parts = len(base), len(decay)
        even = len(self.excitation) == parts and all(
            len(part) == channels and all(len(row) == channels for row in part)
            for part in self.excitation
        )
        values = np.array(self.excitation, dtype=np.float64) if even and parts else np.array([-1.0])
        sound = (
            even
            and bool(np.isfinite(base).all() and np.isfinite(values).all())
            and bool(np.isfinite(decay).all() and (decay > 0).all())
            and bool((base >= 0).all() and (values >= 0).all())
            and base.sum() > 0
        )
        if not sound:
            raise InputError(
                "impossible Hawkes rates",
                expected="finite base rates >= 0 with a positive one, excitation >= 0 of shape "
                "(decays, channels, channels), decays > 0",
                got=repr(self),
            )
        if self.branching_ratio >= 1.0:
            raise InputError(
                "events would excite ever more events",
                expected="a branching matrix of spectral radius below 1",
                got=f"{self.branching_ratio:g}",
                remedy="lower the excitation or raise the decay",
            )

    @classmethod
    def univariate(cls, base: float, excitation: float, decay: float) -> HawkesLaw:
        """One channel with one kernel, excitation exp(-decay t)."""
        return cls((base,), (((excitation,),),), (decay,))

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return len(self.base)

    @cached_property
    def branching(self) -> np.ndarray:
        """Mean direct children in channel i (rows) of an event in channel j, shape (d, d)."""
        kernels = np.array(self.excitation, dtype=np.float64)
        summed: np.ndarray = (kernels / np.array(self.decay)[:, None, None]).sum(axis=0)
        return summed

    @cached_property
    def branching_ratio(self) -> float:
        """Spectral radius of the branching matrix."""
        return float(np.abs(np.linalg.eigvals(self.branching)).max())

    @cached_property
    def mean_rate(self) -> np.ndarray:
        """Stationary events per second of each channel, (1 - branching)^-1 base, shape (d,)."""
        return self._family @ np.array(self.base)

    @cached_property
    def count_covariance(self) -> np.ndarray:
        """Covariance of counts in long windows, per second of window, shape (d, d).

        R diag(mean rate) R' with R = (1 - branching)^-1. For one channel the ratio of variance to
        mean is 1 / (1 - n)^2.

        References
        ----------
        Hawkes (1971), eq. 17 at frequency zero; Bacry, Mastromatteo and Muzy (2015), Market
        Microstructure and Liquidity 1(1), section 2.3.
        """
        return self._family @ np.diag(self.mean_rate) @ self._family.T

    @cached_property
    def _family(self) -> np.ndarray:
        # Events in each channel that descend from one, itself included.
        return np.linalg.inv(np.eye(self.channels) - self.branching)

    def with_base(self, base: tuple[float, ...]) -> HawkesLaw:
        """The law with other base rates."""
        return HawkesLaw(base, self.excitation, self.decay)


@dataclass(frozen=True, eq=False)
class HawkesEvents:
    """Events in the order of time.

    Attributes
    ----------
    time : numpy.ndarray, shape (n,), float64
        Seconds, in (0, horizon].
    channel : numpy.ndarray, shape (n,), int64
    horizon : float
        Until when they were observed, seconds.
    channels : int
        How many channels there are.
    """

    time: np.ndarray
    channel: np.ndarray
    horizon: float
    channels: int

    def __len__(self) -> int:
        return len(self.time)

    def counts(self, window: float) -> np.ndarray:
        """Events of each channel in successive whole windows, shape (windows, channels).

        Raises
        ------
        InputError
            If the window is not positive or longer than the horizon.
        """
        if not 0 < window <= self.horizon:
            raise InputError("impossible window", expected="0 < window <= horizon", got=str(window))
        windows, channels = int(self.horizon / window), self.channels
        slot = np.minimum((self.time / window).astype(np.int64), windows)
        flat = np.bincount(slot * channels + self.channel, minlength=(windows + 1) * channels)
        return flat.reshape(windows + 1, channels)[:windows]


class HawkesFlow:
    """A Hawkes process that can be advanced in pieces, under one law after another.

    The numbers do not depend on where the pieces are cut only if the cuts are where the law
    changes: each cut discards a candidate, which keeps the law of the process and not its draws.

    Parameters
    ----------
    law : HawkesLaw
        The excitation already present is kept when a later piece has another law, whose decays
        must be the same.
    rng : numpy.random.Generator
    """

    def __init__(self, law: HawkesLaw, rng: np.random.Generator) -> None:
        self._law, self._rng = law, rng
        self._excited = np.zeros((len(law.decay), law.channels))
        self._clock = 0.0

    def advance(self, until: float, law: HawkesLaw | None = None) -> HawkesEvents:
        """Events from now to ``until``, seconds from the start.

        Raises
        ------
        InputError
            If ``until`` lies in the past or is not finite, or the law has other channels or
            decays.
        """
        law = self._law if law is None else law
        if law.decay != self._law.decay or law.channels != self._law.channels:
            raise InputError("a flow cannot change its channels or decays", got=repr(law))
        if not self._clock <= until < np.inf:
            raise InputError(
                "time goes forwards only", expected=f"at least {self._clock}", got=str(until)
            )
        base, decay = np.array(law.base, dtype=np.float64), np.array(law.decay, dtype=np.float64)
        kernels = np.array(law.excitation, dtype=np.float64)
        times, channels = [], []
        while True:
            time, channel = np.empty(_BLOCK), np.empty(_BLOCK, dtype=np.int64)
            count, self._clock = draw_events(
                base, kernels, decay, self._excited, self._clock, until, self._rng, time, channel
            )
            times.append(time[:count])
            channels.append(channel[:count])
            if count < _BLOCK:
                joined = np.concatenate(times), np.concatenate(channels)
                return HawkesEvents(*joined, until, law.channels)


def simulate_hawkes(
    law: HawkesLaw, horizon: float, rng: np.random.Generator, *, burn_in: float = 0.0
) -> HawkesEvents:
    """Draw a Hawkes process exactly, without time steps and without rejections.

    Parameters
    ----------
    law : HawkesLaw
    horizon : float
        Seconds, positive. The events up to any time do not depend on it.
    rng : numpy.random.Generator
        A named stream, see :func:`finchaos.core.provenance.random_stream`.
    burn_in : float
        Seconds before time zero that are drawn and not kept. Without them nothing has happened
        before time zero.

    Raises
    ------
    InputError
        If there is no time to draw in.

    References
    ----------
    Dassios and Zhao (2013), Electronic Communications in Probability 18(62), algorithm 3.1, with
    one decaying clock per decay for all channels together instead of one per channel.

    Examples
    --------
    >>> from finchaos.core.provenance import random_stream
    >>> law = HawkesLaw.univariate(1.0, 0.6, 1.0)
    >>> events = simulate_hawkes(law, 1000.0, random_stream(7, "example"))
    >>> 2000 < len(events) < 3000
    True
    """
    if not (0 < horizon < np.inf and 0 <= burn_in < np.inf):
        raise InputError(
            "nothing to simulate",
            expected="a finite horizon > 0, burn_in >= 0",
            got=f"{horizon}, {burn_in}",
        )
    flow = HawkesFlow(law, rng)
    if burn_in:
        flow.advance(burn_in)
    events = flow.advance(burn_in + horizon)
    # Rounding may leave the last one a hair beyond.
    time = np.minimum(events.time - burn_in, horizon)
    return HawkesEvents(time, events.channel, horizon, law.channels)


@numba.njit(cache=True)
def draw_events(
    base: np.ndarray,
    kernels: np.ndarray,
    decay: np.ndarray,
    excited: np.ndarray,
    clock: float,
    until: float,
    rng: np.random.Generator,
    time: np.ndarray,
    channel: np.ndarray,
) -> tuple[int, float]:
    """Fill ``time`` and ``channel`` with the next events; how many, and the clock after them.

    The intensity of all channels together is a constant and a falling exponential for each decay.
    Each alone has a next event that can be drawn by inversion, and the first of them is the next
    event of all; exponentials start anew from any moment. ``excited``, shape (p, d), is the part
    of the intensity that past events left, changed in place.
    """
    parts, channels = excited.shape
    count = 0
    while count < time.shape[0]:
        wait, chosen = next_event(base, decay, excited, rng)
        within = clock + wait <= until
        if not within:
            wait = until - clock
        for p in range(parts):
            fade = np.exp(-decay[p] * wait)
            for i in range(channels):
                excited[p, i] *= fade
        if not within:
            return count, until
        clock += wait
        fired = chosen_channel(base if chosen < 0 else excited[chosen], rng.random())
        for p in range(parts):
            for i in range(channels):
                excited[p, i] += kernels[p, i, fired]
        time[count], channel[count] = clock, fired
        count += 1
    return count, clock


@numba.njit(cache=True)
def next_event(
    base: np.ndarray, decay: np.ndarray, excited: np.ndarray, rng: np.random.Generator
) -> tuple[float, int]:
    """Seconds to the next event, and the decay whose excitation brings it; -1 for the base."""
    total = base.sum()
    wait, chosen = np.inf, -1
    if total > 0.0:
        wait = rng.standard_exponential() / total
    for p in range(excited.shape[0]):
        mass = excited[p].sum()
        if mass > 0.0:
            # Survival to w is exp(-mass / decay (1 - exp(-decay w))): never, where that ends
            # above what was drawn.
            left = 1.0 - rng.standard_exponential() * decay[p] / mass
            if left > 0.0:
                own = -np.log(left) / decay[p]
                if own < wait:
                    wait, chosen = own, p
    return wait, chosen


@numba.njit(cache=True)
def chosen_channel(weights: np.ndarray, uniform: float) -> int:
    """The channel that a uniform number picks with odds ``weights``; never one of weight zero."""
    mark = uniform * weights.sum()
    last = 0
    for i in range(weights.shape[0]):
        if weights[i] > 0.0:
            last = i
            if mark < weights[i]:
                return i
        mark -= weights[i]
    return last
