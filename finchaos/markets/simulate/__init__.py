"""Simulated markets whose regimes and variances are known."""
