"""Values that simulators are compared with: closed forms and QuantLib's analytic engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import QuantLib

from finchaos.markets.simulate.heston import CALM, STRESSED, HestonConfig, HestonRegime

Published = tuple[HestonRegime, float, float, dict[float, float]]
"""Law (its drift is the interest rate), v_0, years, and the call's price by strike."""
PUBLISHED: dict[str, Published] = {
    "Broadie-Kaya I": (
        HestonRegime(6.21, 0.019, 0.61, -0.70, 0.0319, 100.0), 0.010201, 1.0, {100.0: 6.8061},
    ),
    "Andersen I": (
        HestonRegime(0.5, 0.04, 1.0, -0.9, 0.0, 100.0), 0.04, 10.0,
        {70.0: 35.84977, 100.0: 13.08467, 140.0: 0.295774},
    ),
    "Andersen II": (
        HestonRegime(0.3, 0.04, 0.9, -0.5, 0.0, 100.0), 0.04, 15.0,
        {70.0: 37.16967, 100.0: 16.64922, 140.0: 5.13819},
    ),
    "calm": (replace(CALM, drift=0.0), 0.02, 1.0, {100.0: 5.359353}),
    "crash": (replace(STRESSED, drift=0.0), 0.16, 1.0, {100.0: 14.681733}),
}  # fmt: skip


def market(name: str, steps_per_year: float, **changes: object) -> tuple[HestonConfig, int]:
    """One regime of a published set, a step a bar, and its number of bars."""
    law, v0, years, _ = PUBLISHED[name]
    settings: dict[str, object] = {"initial_variance": v0, "substeps": 1, **changes}
    config = HestonConfig((law,), bars_per_year=steps_per_year, **settings)  # type: ignore[arg-type]
    return config, round(years * steps_per_year)


def quantlib_call(name: str, strike: float) -> float:
    law, v0, years, _ = PUBLISHED[name]
    today = QuantLib.Date(1, 1, 2025)
    QuantLib.Settings.instance().evaluationDate = today
    count = QuantLib.Actual365Fixed()
    rate = QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, law.drift, count))
    none = QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, 0.0, count))
    spot = QuantLib.QuoteHandle(QuantLib.SimpleQuote(100.0))
    process = QuantLib.HestonProcess(
        rate, none, spot, v0, law.kappa, law.theta, law.vol_of_vol, law.rho
    )
    option = QuantLib.VanillaOption(
        QuantLib.PlainVanillaPayoff(QuantLib.Option.Call, strike),
        QuantLib.EuropeanExercise(today + round(365 * years)),
    )
    option.setPricingEngine(QuantLib.AnalyticHestonEngine(QuantLib.HestonModel(process), 192))
    return float(option.NPV())


def call_errors(name: str, end: np.ndarray) -> dict[float, float]:
    """Distance of simulated call prices from QuantLib's, in standard errors, by strike."""
    law, _, years, strikes = PUBLISHED[name]
    found = {}
    for strike in strikes:
        payoff = np.exp(-law.drift * years) * np.maximum(end.astype(np.float64) - strike, 0.0)
        found[strike] = (payoff.mean() - quantlib_call(name, strike)) / mean_error(payoff)
    return found


def cir_moments(law: HestonRegime, v0: float, years: float) -> tuple[float, float]:
    """Mean and variance of v_t given v_0: Cox, Ingersoll and Ross (1985), eq. 19."""
    left = np.exp(-law.kappa * years)
    rate = law.vol_of_vol**2 / law.kappa
    mean = law.theta + (v0 - law.theta) * left
    return mean, v0 * rate * (left - left**2) + 0.5 * law.theta * rate * (1.0 - left) ** 2


def mean_error(x: np.ndarray) -> float:
    return float(x.std() / np.sqrt(len(x)))


def variance_error(x: np.ndarray) -> float:
    fourth = float(np.mean((x - x.mean()) ** 4))
    return float(np.sqrt((fourth - x.var() ** 2) / len(x)))


def within(x: np.ndarray, value: float, *, of: Callable[..., float] = np.mean) -> bool:
    """Whether a sample's mean or variance lies within four standard errors of a value."""
    error = mean_error(x) if of is np.mean else variance_error(x)
    return bool(abs(of(x) - value) < 4.0 * error)
