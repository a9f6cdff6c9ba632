"""How test statistics of a density forecast behave if the forecast is right.

Nothing is assumed of the law's shape. If the standardised returns of a law's training and test
rows are draws of one distribution, their ranks are those of independent uniform numbers. Each
draw gives every bar such a number, the laws are made anew from the training rows of each fold and
the tests ranked in them, so that the error of quantiles estimated from training is part of the
null; overlapping trainings of anchored folds overlap in the null as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from governance.statistics.implied_forecast import DensityForecast, ranks


@dataclass(frozen=True, eq=False)
class SimulatedTests:
    """Draws of the null.

    Attributes
    ----------
    pit : numpy.ndarray, shape (draws, n)
    hits : numpy.ndarray, shape (levels, draws, n), bool
        Outcomes below the quantile of each level.
    relative : numpy.ndarray, shape (levels, draws, n)
        Outcome over forecast shortfall where there is a hit, else 0.
    """

    pit: np.ndarray
    hits: np.ndarray
    relative: np.ndarray


def simulate_tests(
    forecast: DensityForecast,
    levels: tuple[float, ...],
    draws: int,
    rng: np.random.Generator,
) -> SimulatedTests:
    """Draw tests of a forecast that is right.

    Parameters
    ----------
    forecast : DensityForecast
    levels : tuple of float
    draws : int
    rng : numpy.random.Generator
    """
    n = len(forecast)
    pit = np.empty((draws, n))
    hits = np.zeros((len(levels), draws, n), dtype=bool)
    relative = np.zeros((len(levels), draws, n))
    for number, uniform in enumerate(_uniforms(forecast.bars, draws, rng)):
        for law in forecast.laws:
            training = np.sort(uniform[law.training])
            tested = uniform[forecast.rows[law.tests]]
            pit[number, law.tests] = ranks(training, tested)
            size = len(training)
            sample = law.sample[(training * size).astype(np.int64)]
            for place, level in enumerate(levels):
                below = tested < _quantile(training, level)
                hits[place, number, law.tests] = below
                where = law.tests[below]
                if len(where):
                    drawn = law.sample[(tested[below] * size).astype(np.int64)]
                    counted = max(int(np.floor(level * (size + 1))), 1)
                    mean = float(sample[:counted].mean())
                    location, scale = forecast.location[where], forecast.scale[where]
                    relative[place, number, where] = (location + scale * drawn) / (
                        location + scale * mean
                    )
    return SimulatedTests(pit, hits, relative)


def _uniforms(size: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for _ in range(draws):
        yield rng.random(size)


def _quantile(ascending: np.ndarray, level: float) -> float:
    """As :func:`governance.statistics.implied_forecast.tail_quantile`, much faster."""
    place = np.clip(level * (len(ascending) + 1) - 1.0, 0.0, len(ascending) - 1.0)
    low = int(place)
    high = min(low + 1, len(ascending) - 1)
    return float(ascending[low] + (place - low) * (ascending[high] - ascending[low]))
