"""The benchmarks by name; each is imported only when it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from benchmarks.report import Options, Report

BENCHMARKS: Mapping[str, tuple[str, str]] = {
    "targets": ("targets", "run"),
    "s4d": ("comparisons", "s4d"),
    "bootstrap": ("comparisons", "sharpe"),
    "accuracy": ("accuracy", "run"),
    "fallback": ("fallback", "run"),
    "latency": ("latency", "run"),
    "memory": ("memory", "run"),
    "roofline": ("roofline", "run"),
    "scaling": ("scaling", "run"),
    "inference": ("inference", "run"),
    "training": ("training", "run"),
    "gpu": ("gpu", "run"),
    "gpu_equality": ("gpu_equality", "run"),
    "gpu_layers": ("gpu", "layers"),
}
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


def run(name: str, options: Options) -> Report:
    """Run one benchmark in this process."""
    module, function = BENCHMARKS[name]
    benchmark: Callable[[Options], Report] = getattr(
        import_module(f"benchmarks.{module}"), function
    )
    return benchmark(options)
