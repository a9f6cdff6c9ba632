"""The benchmarks by name; each is imported only when it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from benchmarks.report import Options, Report

BENCHMARKS: Mapping[str, tuple[str, str]] = {
    "targets": ("targets", "run"),
    "sizes": ("sizes", "run"),
    "peaks": ("peaks", "run"),
    "s4d": ("comparisons", "s4d"),
    "bootstrap": ("comparisons", "sharpe"),
    "drift": ("drift", "run"),
    "monitor": ("monitor", "run"),
    "attribution": ("attribution", "run"),
    "bootstrap_sums": ("validation", "bootstrap_sums"),
    "jump_model": ("validation", "jump_model"),
    "overfitting": ("validation", "overfitting"),
    "features": ("features", "run"),
    "backtest": ("backtest", "run"),
    "detection": ("detection", "ohlc"),
    "detection_closes": ("detection", "closes"),
    "detection_chain": ("detection", "chain"),
    "curriculum": ("curriculum", "run"),
    "curriculum_real": ("curriculum", "real_alone"),
    "real_market": ("real_market", "run"),
    "order_book": ("order_book", "run"),
    "fractal": ("fractal", "run"),
    "heston": ("heston", "run"),
    "equality": ("equality", "run"),
    "accuracy": ("accuracy", "run"),
    "fallback": ("fallback", "run"),
    "latency": ("latency", "run"),
    "live": ("live", "run"),
    "memory": ("memory", "run"),
    "dataset": ("dataset", "run"),
    "roofline": ("roofline", "run"),
    "scaling": ("scaling", "run"),
    "inference": ("inference", "run"),
    "training": ("training", "run"),
    "gpu": ("gpu", "run"),
    "gpu_equality": ("gpu_equality", "run"),
    "gpu_layers": ("gpu", "layers"),
}
ABOUT: Mapping[str, tuple[str, int]] = {
    "targets": ("every target, judged", 5),
    "sizes": ("how often each test of the catalogue rejects a null that is true", 20),
    "peaks": ("peaks of hyper-parameters found where planted, and seen where none is", 5),
    "equality": ("outputs and gradients against other packages", 2),
    "accuracy": ("errors of the scans and layers against float64, gradient checks", 2),
    "s4d": ("the S4D kernel and its filters", 1),
    "bootstrap": ("the interval of a Sharpe ratio", 1),
    "drift": ("distances of 50 columns of a million rows from a reference, in one pass", 8),
    "monitor": ("false alarms of the monitor, and changes it finds", 10),
    "attribution": ("the cost of one explained window, against captum one at a time", 1),
    "bootstrap_sums": ("the same interval by prefix sums, against arch", 1),
    "jump_model": ("a jump model fitted, against jumpmodels at the same objective", 1),
    "overfitting": ("probability of backtest overfitting, against one split at a time", 1),
    "features": ("rolling features against TA-Lib, pandas-ta-classic and pandas, and by step", 1),
    "backtest": ("a backtest of a million bars", 1),
    "detection": ("changes of regime found on bars with a range, against named peers", 15),
    "detection_closes": ("the same on closes alone", 25),
    "detection_chain": ("the same on a Gaussian chain", 10),
    "curriculum": ("teaching by a curriculum against real bars alone, five seeds", 25),
    "curriculum_real": ("its baseline, real bars alone, stopped early", 4),
    "real_market": ("regimes on the S&P 500, walked forward beside named peers", 30),
    "order_book": ("a limit-order book under Hawkes flow, events per second", 1),
    "fractal": ("rolling Hurst exponents of a million bars", 1),
    "heston": ("simulated Heston paths and days against numpy, torch and QuantLib", 1),
    "fallback": ("the scan without a compiler", 1),
    "latency": ("one token through four layers", 1),
    "live": ("a bar through the whole paper loop, against the same loop in PyTorch", 1),
    "memory": ("peak extra memory of a training pass", 4),
    "dataset": ("resident memory of training on 10 million rows", 4),
    "roofline": ("operations and bytes, and the fraction of the roofline reached", 1),
    "scaling": ("cost as the length doubles, with a figure", 8),
    "inference": ("forward passes against every peer", 8),
    "training": ("forward and backward passes against every peer", 15),
    "gpu": ("times on a GPU beside this processor's", 5),
    "gpu_equality": ("the backend cuda against the definition, by dtype", 10),
    "gpu_layers": ("on a GPU beside mamba-ssm's own layers", 5),
}
"""What a benchmark shows, and its minutes on one core of a server of 2025."""
DEFAULT = ("targets", "s4d", "bootstrap")
ALL = "all"


def chosen(names: list[str]) -> tuple[str, ...]:
    """What the names on the command line stand for.

    Examples
    --------
    >>> chosen([])
    ('targets', 's4d', 'bootstrap')
    """
    if ALL in names:
        return tuple(BENCHMARKS)
    return tuple(dict.fromkeys(names)) or DEFAULT


def durations() -> str:
    """A line for every benchmark: what it shows and how long it takes."""
    lines = [f"  {name:<17}{about}, about {n} min" for name, (about, n) in ABOUT.items()]
    return "\n".join(["benchmarks:", *lines])


def run(name: str, options: Options) -> Report:
    """Run one benchmark in this process."""
    module, function = BENCHMARKS[name]
    benchmark: Callable[[Options], Report] = getattr(
        import_module(f"benchmarks.{module}"), function
    )
    return benchmark(options)
