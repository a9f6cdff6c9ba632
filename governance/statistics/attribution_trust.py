"""Whether an attribution says what the model does: removal, small changes, and ranks of ablation.

References
----------
Yeh, Hsieh, Suggala, Inouye & Ravikumar (2019), On the (in)fidelity and sensitivity of explanations:
infidelity with the square-removal perturbation, equation (2), and max-sensitivity, definition 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from finchaos.core.errors import InputError

Decide = Callable[[np.ndarray], np.ndarray]
"""From windows (n, l, f) to decisions (n,)."""
Attribute = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From windows and baselines, both (n, l, f), to attributions of that shape."""


@dataclass(frozen=True, eq=False)
class Removal:
    """What removing some features did, and what attributions say that it does.

    Attributes
    ----------
    said, done : numpy.ndarray, shape (n, k)
        Sum of the attributions removed, and the change of the decision; of every window and mask.
    """

    said: np.ndarray
    done: np.ndarray

    @property
    def infidelity(self) -> np.ndarray:
        """Mean square of the difference, of each window, shape (n,)."""
        return np.asarray(np.mean((self.said - self.done) ** 2, axis=1))

    @property
    def moved(self) -> np.ndarray:
        """Mean square of what removal did, of each window, shape (n,)."""
        return np.asarray(np.mean(self.done**2, axis=1))

    @property
    def table(self) -> np.ndarray:
        """Infidelity and mean square change side by side, shape (n, 2)."""
        return np.stack([self.infidelity, self.moved], axis=1)


def feature_masks(rng: np.random.Generator, features: int, count: int) -> np.ndarray:
    """Random proper subsets of the features, shape (count, f), bool; True is removed.

    Each size from one to all but one is as likely as any other.

    Raises
    ------
    InputError
        If there are fewer than two features.
    """
    if features < 2 or count < 1:
        raise InputError(
            "subsets of features need two features and a draw",
            got=f"{features} features, {count} draws",
        )
    sizes = rng.integers(1, features, size=count)
    ranks = rng.random((count, features)).argsort(axis=1).argsort(axis=1)
    return np.asarray(ranks < sizes[:, None])


def removal(
    values: np.ndarray,
    windows: np.ndarray,
    baselines: np.ndarray,
    masks: np.ndarray,
    decide: Decide,
) -> Removal:
    """Put subsets of the features at their baseline, all bars of a window at once.

    Parameters
    ----------
    values, windows, baselines : numpy.ndarray, shape (n, l, f)
        ``values`` are the attributions of ``windows`` from ``baselines``.
    masks : numpy.ndarray, shape (k, f), bool
    decide : callable
    """
    before = decide(windows)
    said = values.sum(axis=1) @ masks.T.astype(np.float64)
    done = np.empty_like(said)
    for column, mask in enumerate(masks):
        without = np.where(mask, baselines, windows)
        done[:, column] = before - decide(without)
    return Removal(said, done)


def sensitivity_max(
    windows: np.ndarray,
    baselines: np.ndarray,
    noise: np.ndarray,
    attribute: Attribute,
    at: np.ndarray | None = None,
) -> np.ndarray:
    """Largest relative change of a window's attributions under small changes of its inputs.

    Parameters
    ----------
    windows, baselines : numpy.ndarray, shape (n, l, f)
    noise : numpy.ndarray, shape (k, n, l, f)
        Changes tried.
    attribute : callable
    at : numpy.ndarray, shape (n, l, f), optional
        Attributions of the windows, where they are known.

    Returns
    -------
    numpy.ndarray, shape (n,)
        NaN where a window has no attribution at all.
    """
    known = attribute(windows, baselines) if at is None else at
    size = np.sqrt((known**2).sum(axis=(1, 2)))
    moved = np.stack([attribute(windows + change, baselines) - known for change in noise])
    largest = np.sqrt((moved**2).sum(axis=(2, 3))).max(axis=0)
    return np.divide(largest, size, where=size > 0.0, out=np.full(len(size), np.nan))


def drawn_ratios(tables: np.ndarray) -> np.ndarray:
    """Sum of the first column over that of the second: (draws, n, 2) to (draws, 1)."""
    first, second = tables.sum(axis=1).T
    found = np.divide(first, second, where=second > 0.0, out=np.full(len(first), np.nan))
    return found[:, None]
