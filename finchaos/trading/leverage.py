"""From the probability of stress to exposure: a falling line through knots, under hard caps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from finchaos.core.errors import InputError

Knot = tuple[float, float]


@dataclass(frozen=True)
class LeverageMap:
    """A piecewise-linear map that never rises with stress, and the caps that hold over it.

    Regimes say how probable stress is; calm has the rest of the probability. :meth:`of_calm` takes
    knots the other way round. For given confidence the map is continuous and monotone.

    Attributes
    ----------
    knots : tuple of (float, float)
        Probability of stress, and exposure there as a fraction of capital. Probabilities rise
        strictly within [0, 1], exposures never rise. Beyond the first and the last knot exposure
        stays as it is there.
    max_long, max_short : float
        Largest exposure above and below zero. ``max_short`` 0 means flat in a crash.
    full_confidence : float
        Confidence from which the caps hold in full. Below it they shrink in proportion, to nothing
        at confidence 0. With 0, confidence plays no part.
    band : float
        Smallest change of exposure that is worth a trade, see
        :class:`finchaos.trading.sizing.Sizing`.

    Raises
    ------
    InputError
        If knots or caps contradict one another.
    """

    knots: tuple[Knot, ...]
    max_long: float = 1.0
    max_short: float = 0.0
    full_confidence: float = 0.0
    band: float = 0.0

    def __post_init__(self) -> None:
        wrong = self._impossible()
        if wrong:
            raise InputError(
                "impossible leverage map",
                expected="two or more finite knots, probabilities strictly rising within [0, 1], "
                "exposures that never rise with stress and lie within the caps, "
                "full_confidence in [0, 1], a band no wider than the exposures",
                got=f"{wrong}: {self!r}",
            )

    @classmethod
    def of_calm(
        cls,
        knots: tuple[Knot, ...],
        *,
        max_long: float = 1.0,
        max_short: float = 0.0,
        full_confidence: float = 0.0,
        band: float = 0.0,
    ) -> LeverageMap:
        """The map given by probability of calm, from crash to calm.

        Raises
        ------
        InputError
            As for the map itself.

        Examples
        --------
        >>> dimmer = LeverageMap.of_calm(((0.5, 0.0), (0.6, 0.8), (0.9, 1.2)), max_long=1.2)
        >>> [round(dimmer.target(1.0 - calm), 2) for calm in (0.3, 0.5, 0.55, 0.6, 0.95)]
        [0.0, 0.0, 0.4, 0.8, 1.2]
        """
        turned = tuple((1.0 - calm, exposure) for calm, exposure in reversed(knots))
        return cls(turned, max_long, max_short, full_confidence, band)

    @classmethod
    def around_cash(
        cls,
        *,
        long: float = 1.0,
        short: float = 0.0,
        calm_below: float = 0.2,
        cash: Knot = (0.5, 0.6),
        crash_above: float = 0.9,
        full_confidence: float = 0.0,
        band: float = 0.0,
    ) -> LeverageMap:
        """Long in calm, cash at the boundary, short or flat in a crash.

        Parameters
        ----------
        long, short : float
            Exposure in certain calm, and what is sold short in certain stress; 0 is flat.
        calm_below, crash_above : float
            Probability of stress up to which, and from which, exposure is in full.
        cash : tuple of float
            Probabilities of stress between which nothing is held.
        full_confidence, band : float
            See the class.

        Raises
        ------
        InputError
            As for the map itself.

        Examples
        --------
        >>> both_ways = LeverageMap.around_cash(long=1.2, short=0.5)
        >>> [round(both_ways.target(stress), 2) for stress in (0.1, 0.35, 0.55, 0.75, 1.0)]
        [1.2, 0.6, 0.0, -0.25, -0.5]
        """
        knots = ((calm_below, long), (cash[0], 0.0), (cash[1], 0.0), (crash_above, 0.0 - short))
        return cls(knots, long, short, full_confidence, band)

    @property
    def min_position(self) -> float:
        """Exposure in certain stress."""
        return self.knots[-1][1]

    @property
    def max_position(self) -> float:
        """Exposure in certain calm."""
        return self.knots[0][1]

    @cached_property
    def steepness(self) -> float:
        """Most that exposure changes for each unit of probability: the Lipschitz constant."""
        pairs = pairwise(self.knots)
        return max((y0 - y1) / (x1 - x0) for (x0, y0), (x1, y1) in pairs)

    def limits(self, confidence: float = 1.0) -> tuple[float, float]:
        """Least and largest exposure that may be held at a confidence.

        Raises
        ------
        InputError
            If the confidence is not a number.
        """
        if math.isnan(confidence):
            raise InputError("a confidence is not a number", expected="a number in [0, 1]")
        share = 1.0
        if self.full_confidence > 0.0:
            share = min(max(confidence / self.full_confidence, 0.0), 1.0)
        return 0.0 - self.max_short * share, self.max_long * share

    def target(self, stress_probability: float, confidence: float = 1.0) -> float:
        """Exposure wanted.

        Parameters
        ----------
        stress_probability : float
            What lies outside [0, 1] counts as the nearest end.
        confidence : float
            In [0, 1], as :func:`finchaos.trading.confidence.confidence` gives it.

        Raises
        ------
        InputError
            If either is not a number.
        """
        if math.isnan(stress_probability):
            raise InputError("a probability of stress is not a number", expected="one in [0, 1]")
        least, most = self.limits(confidence)
        return min(max(self._line(stress_probability), least), most)

    def _line(self, x: float) -> float:
        for (x0, y0), (x1, y1) in pairwise(self.knots):
            if x < x1:
                share = max((x - x0) / (x1 - x0), 0.0)
                # Rounding must not carry it beyond the knot.
                return max(y0 + share * (y1 - y0), y1)
        return self.knots[-1][1]

    def _impossible(self) -> str:
        """What is wrong; empty if nothing."""
        numbers = [number for knot in self.knots for number in knot]
        rest = (self.max_long, self.max_short, self.full_confidence, self.band)
        if len(self.knots) < 2 or not all(map(math.isfinite, (*numbers, *rest))):
            return "too few knots, or one that is no finite number"
        x, y = [knot[0] for knot in self.knots], [knot[1] for knot in self.knots]
        faults = {
            "probabilities outside [0, 1]": x[0] < 0.0 or x[-1] > 1.0,
            "probabilities that do not rise": any(b <= a for a, b in pairwise(x)),
            "exposures that rise": any(b > a for a, b in pairwise(y)),
            "negative caps": min(self.max_long, self.max_short) < 0.0,
            "exposures beyond the caps": y[0] > self.max_long or y[-1] < -self.max_short,
            "confidence": not 0.0 <= self.full_confidence <= 1.0,
            "band": not 0.0 <= self.band <= y[0] - y[-1],
        }
        return ", ".join(name for name, found in faults.items() if found)
