"""Regimes: clusters of latents, ordered by volatility, and the filter that debounces them."""

from finchaos.regimes.clustering import RegimeClusters
from finchaos.regimes.filter import RegimeFilter

__all__ = ["RegimeClusters", "RegimeFilter"]
