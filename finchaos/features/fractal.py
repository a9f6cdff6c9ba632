"""Features of scaling and chaos: Hurst exponents, fractal dimensions, the Lyapunov exponent."""

from __future__ import annotations

from finchaos.features.dimension import HiguchiDimension, KatzDimension
from finchaos.features.formula import Formula
from finchaos.features.hurst import GeneralisedHurst, HurstDetrended
from finchaos.features.lyapunov import LargestLyapunov
from finchaos.features.rescaled_range import HurstRescaledRange

FORMULAS: dict[str, type[Formula]] = {
    "generalised_hurst": GeneralisedHurst,
    "hurst_dfa": HurstDetrended,
    "hurst_rs": HurstRescaledRange,
    "higuchi_dimension": HiguchiDimension,
    "katz_dimension": KatzDimension,
    "largest_lyapunov": LargestLyapunov,
}
