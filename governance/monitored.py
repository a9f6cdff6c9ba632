"""What a monitor watches: panels before and after the end of the run, and how slow they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from governance.statistics.null_distances import BlockPlan, independent_worth
from governance.statistics.panels import Panel


@dataclass(frozen=True, eq=False)
class Watched:
    """A panel before and after the end of the run.

    Attributes
    ----------
    panel : Panel
    reference, current : numpy.ndarray, shapes (n, s) and (m, s)
    history : numpy.ndarray, shape (h, s)
        What came right before the current rows.
    """

    panel: Panel
    reference: np.ndarray
    current: np.ndarray
    history: np.ndarray

    @property
    def moving(self) -> np.ndarray:
        """Which series move in the reference, shape (s,)."""
        return np.ptp(self.reference, axis=0) > 0.0

    @property
    def worth(self) -> float:
        """Independent values that its slowest series is worth; infinite if none moves."""
        columns = self.reference[:, self.moving].T
        return min((independent_worth(column) for column in columns), default=np.inf)


@dataclass(frozen=True)
class Memory:
    """How slow the slowest thing that is watched is: net returns follow positions, unseen.

    Attributes
    ----------
    worth : float
        Independent values in the reference: the degrees of freedom of every null.
    block : int
        Rows that stay together when net returns are drawn.
    """

    worth: float
    block: int

    @classmethod
    def of(cls, watched: list[Watched], rows: int) -> Memory:
        """Of all panels, for tests of so many rows."""
        outputs = [one for one in watched if one.panel.name == "outputs" and one.moving.any()]
        blocks = [BlockPlan.of(one.reference[:, one.moving], rows).block for one in outputs]
        return cls(min(one.worth for one in watched), max(blocks, default=1))
