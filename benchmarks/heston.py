"""Heston's model: a year of daily steps on many paths, and days with ranges written to a file.

Every side prices the same call first; nothing is timed where a price is further from QuantLib's
closed form than five of its standard errors. Times are per million paths: sides run on as many
paths as their speed allows, and every path costs the same.
"""

from __future__ import annotations

import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import QuantLib
import torch

from benchmarks.report import Cell, Options, Report, Table
from benchmarks.timing import interleaved
from finchaos.core.provenance import random_stream, stream_seed
from finchaos.markets.simulate.heston import STRESSED, HestonConfig, simulate
from finchaos.markets.simulate.heston_closes import simulate_terminal
from finchaos.markets.simulate.heston_schemes import FULL_TRUNCATION, QUADRATIC_EXPONENTIAL
from finchaos.markets.simulate.heston_stream import generate

LAW = replace(STRESSED, drift=0.0)
V0, SPOT, STRIKE = LAW.theta, 100.0, 100.0
DAYS = 252
SEED = 1
MILLION = 1e6
_ERRORS = 5.0
Priced = tuple[float, float]
"""A call's price and its standard error."""


@dataclass(frozen=True)
class Sizes:
    """How much each side does in a call.

    Attributes
    ----------
    ours, arrays, quantlib : int
        Paths of ours, of the loops over whole arrays, and of QuantLib.
    days, plain_days : int
        Days written to a file, and days of the simulator of many paths with one path.
    """

    ours: int = 200_000
    arrays: int = 100_000
    quantlib: int = 5_000
    days: int = 1_000_000
    plain_days: int = 2_000


FULL = Sizes()


def run(options: Options, sizes: Sizes = FULL) -> Report:
    """Terminal prices of every side, and the file."""
    return Report("heston", (_terminal(options, sizes), _file(options, sizes)))


def _terminal(options: Options, sizes: Sizes) -> Table:
    truth = closed_form()
    sides = _sides(sizes)

    def check(found: dict[str, Priced]) -> None:
        for name, (price, error) in found.items():
            if not abs(price - truth) <= _ERRORS * error:
                raise RuntimeError(f"{name}: {price:.4f} +- {error:.4f}, closed form {truth:.4f}")

    spent = interleaved({name: job for name, (job, _) in sides.items()}, options.protocol, check)
    million = {name: spent[name].median * MILLION / paths for name, (_, paths) in sides.items()}
    rows: list[tuple[Cell, ...]] = []
    for name, (_, paths) in sides.items():
        ours = _OURS[QUADRATIC_EXPONENTIAL if "exponential" in name else FULL_TRUNCATION]
        ratio = None if name in _OURS.values() else million[name] / million[ours]
        rows.append((name, paths, million[name], spent[name].n, ratio))
    return Table(
        f"Heston, {DAYS} daily steps, last price only",
        ("side", "paths run", "s a million paths", "n", "side / ours, same scheme"),
        tuple(rows),
        (
            f"call at {STRIKE:g} by QuantLib's closed form {truth:.4f}; all sides within "
            f"{_ERRORS:g} standard errors",
            f"one thread each; QuantLib {QuantLib.__version__}; kappa 3, theta 0.16, "
            "vol of vol 0.9, rho -0.7",
        ),
    )


_OURS = {
    FULL_TRUNCATION: "ours, full truncation, float32",
    QUADRATIC_EXPONENTIAL: "ours, quadratic-exponential, float32",
}


def _sides(sizes: Sizes) -> dict[str, tuple[Callable[[], Priced], int]]:
    process = QuantLib.HestonProcess
    return {
        **{
            name: (partial(_ours, scheme, sizes.ours), sizes.ours) for scheme, name in _OURS.items()
        },
        "numpy loop, full truncation, float32": (partial(_numpy, sizes.arrays), sizes.arrays),
        "torch loop, full truncation, float32": (partial(_torch, sizes.arrays), sizes.arrays),
        "QuantLib, full truncation": (
            partial(_quantlib, process.FullTruncation, sizes.quantlib),
            sizes.quantlib,
        ),
        "QuantLib, quadratic-exponential, martingale": (
            partial(_quantlib, process.QuadraticExponentialMartingale, sizes.quantlib),
            sizes.quantlib,
        ),
    }


def _priced(end: np.ndarray) -> Priced:
    payoff = np.maximum(end - STRIKE, 0.0)
    mean = float(payoff.mean(dtype=np.float64))
    return mean, float(payoff.std(dtype=np.float64)) / len(payoff) ** 0.5


def _ours(scheme: str, paths: int) -> Priced:
    config = HestonConfig(
        (LAW,), initial_price=SPOT, initial_variance=V0, substeps=1, scheme=scheme
    )
    rng = random_stream(SEED, f"benchmark/heston/{scheme}")
    return _priced(simulate_terminal(config, paths, DAYS, rng).close[:, 0])


def _numpy(paths: int) -> Priced:
    single = np.float32
    rng = random_stream(SEED, "benchmark/heston/numpy")
    kappa, theta, xi, rho = map(single, (LAW.kappa, LAW.theta, LAW.vol_of_vol, LAW.rho))
    across, dt, half = single(np.sqrt(1.0 - LAW.rho**2)), single(1.0 / DAYS), single(0.5)
    root = np.sqrt(dt)
    moved, variance = np.zeros(paths, single), np.full(paths, single(V0))
    for _ in range(DAYS):
        first = rng.standard_normal(paths, dtype=single)
        second = rng.standard_normal(paths, dtype=single)
        held = np.maximum(variance, single(0.0))
        vol = np.sqrt(held) * root
        moved += vol * (rho * first + across * second) - half * dt * held
        variance += kappa * (theta - held) * dt + xi * vol * first
    return _priced(single(SPOT) * np.exp(moved))


def _torch(paths: int) -> Priced:
    rng = torch.Generator().manual_seed(stream_seed(SEED, "benchmark/heston/torch"))
    across, dt = (1.0 - LAW.rho**2) ** 0.5, 1.0 / DAYS
    moved, variance = torch.zeros(paths), torch.full((paths,), V0)
    with torch.no_grad():
        for _ in range(DAYS):
            first = torch.randn(paths, generator=rng)
            second = torch.randn(paths, generator=rng)
            held = variance.clamp(min=0.0)
            vol = (held * dt).sqrt()
            moved += vol * (LAW.rho * first + across * second) - 0.5 * dt * held
            variance += LAW.kappa * dt * (LAW.theta - held) + LAW.vol_of_vol * vol * first
    return _priced((SPOT * moved.exp()).numpy())


def _option() -> tuple[QuantLib.VanillaOption, Callable[..., QuantLib.HestonProcess]]:
    today = QuantLib.Date(1, 1, 2025)
    QuantLib.Settings.instance().evaluationDate = today
    flat = QuantLib.YieldTermStructureHandle(
        QuantLib.FlatForward(today, 0.0, QuantLib.Actual365Fixed())
    )
    payoff = QuantLib.PlainVanillaPayoff(QuantLib.Option.Call, STRIKE)
    option = QuantLib.VanillaOption(payoff, QuantLib.EuropeanExercise(today + 365))
    spot = QuantLib.QuoteHandle(QuantLib.SimpleQuote(SPOT))
    law = (V0, LAW.kappa, LAW.theta, LAW.vol_of_vol, LAW.rho)
    return option, lambda *scheme: QuantLib.HestonProcess(flat, flat, spot, *law, *scheme)


def closed_form() -> float:
    """The call's price by QuantLib's analytic engine."""
    option, process = _option()
    option.setPricingEngine(QuantLib.AnalyticHestonEngine(QuantLib.HestonModel(process()), 192))
    return float(option.NPV())


def _quantlib(scheme: int, paths: int) -> Priced:
    option, process = _option()
    engine = QuantLib.MCEuropeanHestonEngine(
        process(scheme), "PseudoRandom", timeSteps=DAYS, requiredSamples=paths, seed=SEED
    )
    option.setPricingEngine(engine)
    return float(option.NPV()), float(option.errorEstimate())


def _file(options: Options, sizes: Sizes) -> Table:
    config = HestonConfig()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "days.parquet"
        spent = interleaved(
            {
                "file": lambda: str(generate(path, config, sizes.days, seed=SEED)),
                "plain": lambda: str(_plain(config, sizes.plain_days)),
            },
            options.protocol,
        )
        size = path.stat().st_size
    ours = spent["file"].median * MILLION / sizes.days
    plain = spent["plain"].median * MILLION / sizes.plain_days
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if _darwin() else 1024)
    return Table(
        "A switching Heston path with ranges, volumes and labels",
        ("side", "days run", "s a million days", "n", "side / ours"),
        (
            ("ours, to Parquet", sizes.days, ours, spent["file"].n, None),
            (
                "loop over numpy steps, kept",
                sizes.plain_days,
                plain,
                spent["plain"].n,
                plain / ours,
            ),
        ),
        (
            f"{config.substeps} steps a day; file of {size / 1e6:.0f} MB; peak resident memory of "
            f"this whole process {peak / 1e6:.0f} MB",
        ),
    )


def _plain(config: HestonConfig, days: int) -> int:
    paths = simulate(config, 1, days, random_stream(SEED, "benchmark/heston/plain"))
    return paths.close.shape[1]


def _darwin() -> bool:
    return sys.platform == "darwin"
