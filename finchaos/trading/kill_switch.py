"""The kill switch: a latch that only a person clears."""

from __future__ import annotations

import numpy as np

from finchaos.core.errors import CheckpointError, DataError, InputError

OUT_OF_DISTRIBUTION_QUANTILE = 0.999
"""Share of training distances within which a bar counts as known: 99.9 %."""


def distance_limit(distances: np.ndarray) -> float:
    """The 99.9th percentile of training distances.

    On bars like those of training the switch therefore trips once in a thousand bars; on markets
    that training did not hold it trips more often, which is its purpose.

    Raises
    ------
    DataError
        If there are no finite distances.

    Examples
    --------
    >>> distance_limit(np.arange(1.0, 1001.0))
    1000.0
    """
    if not len(distances) or not np.isfinite(distances).all():
        raise DataError("a limit of distances needs finite training distances")
    # "higher": a distance that was seen, so that no more than 0.1 % of training lies beyond it.
    return float(np.quantile(distances, OUT_OF_DISTRIBUTION_QUANTILE, method="higher"))


class KillSwitch:
    """A latch over faults of the feed and distance from training.

    It knows nothing of models: the caller says what happened at each bar, and asks whether it may
    hold a position.

    Parameters
    ----------
    limit : float
        Largest distance from training that is tolerated.
    review_bars : int or None
        In a replay of history: bars after which the operator, whom a replay has to imagine, clears
        the latch at the first bar that is without fault and inside the limit. None for never; a
        live stream must pass None.

    Examples
    --------
    >>> switch = KillSwitch(limit=3.0)
    >>> switch.observe(1.0, ""), switch.observe(4.0, ""), switch.observe(1.0, "")
    (False, True, True)
    >>> switch.rearm("A. Person")
    >>> switch.tripped
    False
    """

    def __init__(self, limit: float, review_bars: int | None = None) -> None:
        if not 0.0 < limit < np.inf:
            raise CheckpointError("impossible limit of a kill switch", got=repr(limit))
        self.limit = limit
        self.review_bars = review_bars
        self.reason = ""
        self._latched_bars = 0

    @property
    def tripped(self) -> bool:
        """Whether the latch is set."""
        return bool(self.reason)

    def observe(self, distance: float | None, fault: str) -> bool:
        """Take the next bar; whether the latch is set after it.

        Parameters
        ----------
        distance : float or None
            From training; None where nothing could be measured or the model is warming up.
        fault : str
            What is wrong with the bar; empty if nothing.
        """
        outside = self._outside(distance)
        if fault or outside:
            self.trip(fault or outside)
        elif self._reviewed(distance):
            self._clear()
        self._latched_bars = self._latched_bars + 1 if self.tripped else 0
        return self.tripped

    def trip(self, reason: str) -> None:
        """Set the latch; the first reason stays."""
        self.reason = self.reason or reason or "tripped without a reason given"

    def rearm(self, person: str) -> None:
        """Clear the latch in the name of a person.

        Raises
        ------
        InputError
            If the name is blank.
        """
        if not isinstance(person, str) or not person.strip():
            raise InputError(
                "a kill switch is re-armed by a named person",
                expected="the name of whoever answers for it",
                got=repr(person),
            )
        self._clear()

    def _outside(self, distance: float | None) -> str:
        """Why the distance is not tolerated; empty if it is. One that is not a number never is."""
        if distance is None or distance <= self.limit:
            return ""
        return f"{distance:.2f} away from anything in training, limit {self.limit:.2f}"

    def _reviewed(self, distance: float | None) -> bool:
        return (
            self.review_bars is not None
            and self._latched_bars >= self.review_bars
            and distance is not None
        )

    def _clear(self) -> None:
        self.reason = ""
        self._latched_bars = 0
