"""finchaos: validate and govern financial models."""

__version__ = "0.1.0"
