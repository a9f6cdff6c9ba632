"""The smallest size of a shock whose loss is beyond a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError


@dataclass(frozen=True)
class Breach:
    """What a search found.

    Attributes
    ----------
    size : float
        Smallest size that was tried and lost more than the limit; the bound if none did.
    found : bool
    below : float
        Largest size tried below it; at no size up to this one that was tried was the limit
        breached.
    """

    size: float
    found: bool
    below: float


def smallest_breach(
    loss: Callable[[float], float], limit: float, bound: float, *, steps: int, halvings: int
) -> Breach:
    """Try ``steps`` equal sizes up to ``bound`` in rising order; bisect before the first breach.

    Parameters
    ----------
    loss : callable
        Loss at a size.
    limit : float
        A loss above it is a breach.
    bound : float
        Largest size tried, positive.
    steps, halvings : int
        The breach is found to ``bound / steps / 2**halvings``, if the loss crosses the limit once
        between two neighbouring steps.

    Raises
    ------
    InputError
        If there is nothing to try.

    Examples
    --------
    >>> found = smallest_breach(lambda size: size**2, 0.25, 1.0, steps=4, halvings=20)
    >>> found.found, round(found.size, 6)
    (True, 0.5)
    >>> smallest_breach(lambda size: 0.0, 0.25, 1.0, steps=4, halvings=20)
    Breach(size=1.0, found=False, below=1.0)
    """
    if not (np.isfinite(bound) and bound > 0.0) or steps < 1 or halvings < 0:
        raise InputError(
            "no size to try",
            expected="a finite bound above 0, steps >= 1, halvings >= 0",
            got=f"{bound}, {steps}, {halvings}",
        )
    below = 0.0
    for step in range(1, steps + 1):
        size = bound * step / steps
        if loss(size) > limit:
            break
        below = size
    else:
        return Breach(bound, found=False, below=bound)
    for _ in range(halvings):
        middle = 0.5 * (below + size)
        if loss(middle) > limit:
            size = middle
        else:
            below = middle
    return Breach(size, found=True, below=below)
