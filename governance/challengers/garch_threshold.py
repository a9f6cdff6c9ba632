"""Challenger: out of the market while GARCH expects much volatility."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from arch import arch_model
from scipy.signal import lfilter

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.hyper_parameters import HyperParameterFields
from finchaos.core.provenance import digest
from finchaos.core.signals import Signals
from finchaos.core.subject import Capability, ModelCard
from governance.regime_rule import CAPABILITIES, in_unless_stressed, log_returns, rule_card

_LEAST = 250


@dataclass(frozen=True)
class GarchThreshold(HyperParameterFields):
    """Flat while the variance expected of the next bar exceeds a quantile of training.

    GARCH(1,1) with a constant mean and Gaussian errors, fitted by the package ``arch``.

    Parameters
    ----------
    quantile : float
        Share of training bars with less expected variance.
    parameters : tuple of float or None
        Mean, omega, alpha and beta of returns in per cent; None until fitted, then it is always in.
    limit, first : float
        Variance that is too much, and that of the first bar.

    References
    ----------
    Bollerslev (1986), Generalized autoregressive conditional heteroskedasticity, Journal of
    Econometrics 31(3).
    """

    quantile: float = 0.80
    parameters: tuple[float, float, float, float] | None = None
    limit: float = float("inf")
    first: float = 1.0

    card: ClassVar[ModelCard] = rule_card(
        "GARCH threshold",
        "the textbook volatility forecast as a rule",
        ("Sees a fall only once it is volatile", "No debouncing: it flickers"),
        warmup_bars=21,
    )
    capabilities: ClassVar[frozenset[Capability]] = CAPABILITIES
    hyper_fields: ClassVar[tuple[str, ...]] = ("quantile",)

    def __post_init__(self) -> None:
        if not 0.0 < self.quantile < 1.0:
            raise InputError("a quantile lies inside (0, 1)", got=str(self.quantile))

    @property
    def digest(self) -> str:
        """SHA-256 of settings and fitted values."""
        return digest(
            {
                "challenger": "garch_threshold",
                "quantile": self.quantile,
                "parameters": None if self.parameters is None else list(self.parameters),
                "limit": None if self.parameters is None else self.limit,
                "first": self.first,
            }
        )

    def fit(self, bars: Bars, *, seed: int) -> GarchThreshold:
        """Parameters and limit of these bars; nothing is random.

        Raises
        ------
        DataError
            If there are too few bars, or the fit does not converge.
        """
        returns = 100.0 * log_returns(bars)[1:]
        if len(returns) < _LEAST:
            raise DataError(
                "too few bars to train a GARCH model", expected=f">= {_LEAST}", got=str(len(bars))
            )
        model = arch_model(returns, mean="Constant", vol="GARCH", p=1, q=1, rescale=False)
        found = model.fit(disp="off", show_warning=False)
        if found.convergence_flag:
            raise DataError(
                "GARCH does not converge on these bars", got=str(found.convergence_flag)
            )
        mean, omega, alpha, beta = (float(value) for value in found.params)
        fitted = replace(
            self, parameters=(mean, omega, alpha, beta), first=float(np.var(returns)), limit=np.inf
        )
        return replace(fitted, limit=float(np.quantile(fitted._expected(bars)[1:], self.quantile)))

    def signals(self, bars: Bars) -> Signals:
        """One row for every bar; the probability of stress is 0 or 1."""
        stressed = self._expected(bars) > self.limit
        return in_unless_stressed(bars, stressed.astype(np.float64), self.card.warmup_bars)

    def _expected(self, bars: Bars) -> np.ndarray:
        """Variance expected of the bar after each, shape (t,)."""
        if self.parameters is None:
            return np.zeros(len(bars))
        mean, omega, alpha, beta = self.parameters
        errors = 100.0 * log_returns(bars) - mean
        errors[0] = np.sqrt(self.first)
        shocks = omega + alpha * errors**2
        found, _ = lfilter([1.0], [1.0, -beta], shocks, zi=np.array([beta * self.first]))
        return np.asarray(found)
