"""How often the monitor alarms: without a change, and after volatility doubled.

Half-years of bars whose variance clusters, after a run on 1200 bars of the same law; a volatility
threshold is the model. Every instrument is counted, and all together, with exact intervals.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from benchmarks.nulls import closes_alone
from benchmarks.report import Options, Report, Table
from finchaos.core.bars import Bars
from finchaos.core.provenance import random_stream
from governance.challengers.volatility_threshold import VolatilityThreshold
from governance.check import Context
from governance.monitor import read_instruments
from governance.monitoring import MonitorSettings
from governance.splits import anchored_folds
from governance.statistics.proportion import exact_interval

_BURN_IN = 300
INSTRUMENTS = ("charts", "tests", "bets", "any")


@dataclass(frozen=True)
class Looks:
    """How many looks are taken, and at what.

    Attributes
    ----------
    quiet, louder : int
        Looks without a change, and after returns doubled.
    reference, new : int
        Bars of the run, and since then.
    garch : (float, float)
        Weights of the last squared return and of the last variance.
    """

    quiet: int = 300
    louder: int = 100
    reference: int = 1200
    new: int = 126
    garch: tuple[float, float] = (0.07, 0.88)


def run(options: Options, looks: Looks = Looks()) -> Report:
    """Alarms by instrument, against what the settings allow."""
    settings = MonitorSettings()
    tests = 0.5 * settings.false_alarm_rate / 5
    charts = 1.0 - float(np.exp(-looks.new / settings.run_length))
    allowed = {
        "charts": charts,
        "tests": tests,  # of the one time at which they were made
        "bets": 0.5 * settings.false_alarm_rate,
        "any": charts + tests + 0.5 * settings.false_alarm_rate,
    }
    quiet = _counted(range(1, looks.quiet + 1), 1.0, looks, settings)
    louder = _counted(range(1, looks.louder + 1), 2.0, looks, settings)
    rows = tuple(
        (
            name,
            100.0 * allowed[name],
            *_rate(quiet[name], looks.quiet),
            *_rate(louder[name], looks.louder),
        )
        for name in INSTRUMENTS
    )
    columns = (
        "instrument", "at most, %", f"no change, % of {looks.quiet}", "95 % interval",
        f"doubled, % of {looks.louder}", "95 % interval ",
    )  # fmt: skip
    note = (
        f"GARCH(1, 1) of weights {looks.garch}, {looks.reference} bars in the run, looked at after "
        f"{looks.new} more."
    )
    return Report("monitor", (Table("Alarms of the monitor", columns, rows, (note,)),))


def _rate(hits: int, looks: int) -> tuple[float, str]:
    interval = exact_interval(hits, looks)
    return 100.0 * hits / looks, f"{100.0 * interval.low:.1f} to {100.0 * interval.high:.1f}"


def _counted(seeds: range, factor: float, looks: Looks, settings: MonitorSettings) -> Counter[str]:
    counted: Counter[str] = Counter()
    for seed in seeds:
        counted.update(alarmed(seed, factor, looks, settings))
    return counted


def alarmed(seed: int, factor: float, looks: Looks, settings: MonitorSettings) -> set[str]:
    """The instruments that alarm at one look; returns since the run are multiplied."""
    bars = _bars(seed, factor, looks)
    folds = anchored_folds(looks.reference, first_test=400, count=2, gap=5)
    context = Context(bars=bars.rows(0, looks.reference), folds=folds, seed=seed)
    found = read_instruments(VolatilityThreshold(), context, bars.rows(looks.reference), settings)
    said = {
        "charts": any(one.first_alarm is not None for one in found.charts),
        "tests": any(one.rejected for one in found.tests),
        "bets": found.highest_capital >= 2.0 / settings.false_alarm_rate,
        "any": bool(found.alarms),
    }
    return {name for name, loud in said.items() if loud}


def _bars(seed: int, factor: float, looks: Looks) -> Bars:
    """Closes of a GARCH(1, 1), 1 % a day; returns since the run are multiplied."""
    alpha, beta = looks.garch
    n, variance = looks.reference + looks.new - 1, 1.0
    shocks = random_stream(seed, "benchmark/monitor").standard_normal(n + _BURN_IN)
    moves = np.empty(len(shocks))
    for day, shock in enumerate(shocks):
        moves[day] = np.sqrt(variance) * shock
        variance = 1.0 - alpha - beta + alpha * moves[day] ** 2 + beta * variance
    returns = 0.0003 + 0.01 * moves[_BURN_IN:]
    returns[looks.reference - 1 :] *= factor
    return closes_alone(100.0 * np.exp(np.concatenate([[0.0], np.cumsum(returns)])))
