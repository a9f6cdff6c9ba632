"""Markets: loading, built-in sets, data quality and simulation. Everything ends in Bars."""

from finchaos.markets.builtin import BUILTIN_NAMES, load_builtin
from finchaos.markets.load import load_bars
from finchaos.markets.quality import QualityReport, inspect

__all__ = ["BUILTIN_NAMES", "QualityReport", "inspect", "load_bars", "load_builtin"]
