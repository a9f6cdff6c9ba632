"""How often each test rejects at 5 % where there is nothing to find.

Every check runs whole, on subjects in whose favour nothing is wrong: one that knows mean and
volatility of the next return, two whose forecasts of it are equally noisy, and some whose regimes
and positions know nothing of the market. What each calls a probability is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.nulls import NULLS, Process, blind, knowing, process
from benchmarks.report import Cell, Options, Report, Table
from finchaos.core.provenance import random_stream
from finchaos.core.subject import Subject
from governance.check import Context
from governance.checks.calibration import Calibration
from governance.checks.data_snooping import DataSnooping
from governance.checks.forecast_comparison import ForecastComparison
from governance.checks.luck import Luck
from governance.checks.residuals import Residuals
from governance.checks.tail_risk import TailRisk
from governance.record import Evidence
from governance.splits import anchored_folds
from governance.statistics.proportion import exact_interval

LEVEL = 0.05
_PROBABILITY = "probability"
_CLUSTERING = (
    "independence_probability", "dynamic_quantile_probability", "kupiec_probability",
    "conditional_probability", "shortfall_probability", "shortfall_given_hits_probability",
    "berkowitz_probability", "rank_dependence_probability", "spread_dependence_probability",
)  # fmt: skip
"""Of laws that leave nothing to foresee, so that regimes which know nothing are no null where
returns follow each other."""


@dataclass(frozen=True)
class Sizes:
    """How much is simulated.

    Attributes
    ----------
    paths : int
        Markets of each null.
    bars : int
        Returns in each; four tenths come before the first of three tests.
    draws : int
        Of simulated or resampled nulls within a check.
    nulls : tuple of str
    """

    paths: int = 200
    bars: int = 1000
    draws: int = 199
    nulls: tuple[str, ...] = NULLS


Key = tuple[str, str, str]
"""Check, metric, and the slice that tells it from others."""


def run(options: Options, sizes: Sizes = Sizes()) -> Report:
    """The table of rejection rates."""
    counts: dict[Key, dict[str, tuple[int, int]]] = {}
    for null in sizes.nulls:
        for seed in range(sizes.paths):
            for key, probability in _probabilities(null, seed, sizes):
                rejected, tried = counts.setdefault(key, {}).get(null, (0, 0))
                counts[key][null] = (rejected + (probability <= LEVEL), tried + 1)
    rows = [(*key, *_cells(counts[key], sizes)) for key in sorted(counts)]
    measured = (f"{null}, {what}" for null in sizes.nulls for what in ("%", "95 % interval"))
    columns = ("check", "probability", "of", *measured)
    notes = (
        f"Share of {sizes.paths} markets of {sizes.bars} returns with a probability of at most "
        f"{LEVEL:g}, exact interval; {sizes.draws} draws within a check. iid and AR(1) of 0.2 with "
        "Student innovations of 5 degrees, GARCH(1,1) of 0.08 and 0.90.",
        "given: the subject knows mean and volatility of the next return. implied: its regimes "
        "know nothing, and the law is what followed them in training. A dash stands where the "
        "null is not true: nothing may follow anything, and there it does.",
        "twin: a rival with noise of the same size in its forecast. Costs are nil.",
    )
    return Report(
        "sizes", (Table("Rejection rates under true nulls", columns, tuple(rows), notes),)
    )


def _cells(counted: dict[str, tuple[int, int]], sizes: Sizes) -> Iterator[Cell]:
    for null in sizes.nulls:
        if null not in counted:
            yield from (None, None)
            continue
        rejected, tried = counted[null]
        interval = exact_interval(rejected, tried, scale=100.0)
        yield from (100.0 * rejected / tried, f"{interval.low:.1f} to {interval.high:.1f}")


def _probabilities(null: str, seed: int, sizes: Sizes) -> Iterator[tuple[Key, float]]:
    """Every probability measured on one path whose null is true."""
    path = process(null, seed, sizes.bars)
    plain = _context(path, seed, {})
    rivalled = _context(
        path, seed, {name: blind(seed, name, sizes.bars + 1) for name in ("one", "two")}
    )
    twinned = _context(path, seed, {"twin": _noisy(path, seed, "twin")})
    truth, lost = knowing(path), blind(seed, "model", sizes.bars + 1)
    noisy = _noisy(path, seed, "model")
    runs: tuple[tuple[Any, Subject, Context], ...] = (
        (TailRisk(draws=sizes.draws), truth, plain),
        (TailRisk(draws=sizes.draws), lost, plain),
        (Calibration(draws=sizes.draws), truth, plain),
        (Calibration(draws=sizes.draws), lost, plain),
        (Residuals(), truth, plain),
        (Residuals(), lost, plain),
        (ForecastComparison(), noisy, twinned),
        (ForecastComparison(), lost, plain),
        (DataSnooping(draws=sizes.draws), lost, rivalled),
        (Luck(shifts=sizes.draws), lost, plain),
    )
    for check, subject, context in runs:
        for item in check.measure(subject, context):
            if isinstance(item, Evidence) and item.value is not None:
                kind = "given" if subject is truth else "implied" if subject is lost else "noisy"
                if item.metric.endswith(_PROBABILITY) and _is_null(item, kind, null):
                    of = ", ".join(value for _, value in sorted(item.slice.items()))
                    yield (item.check, item.metric, of), item.value


def _is_null(item: Evidence, kind: str, null: str) -> bool:
    """Whether nothing is wrong: the hypothesis of this very test is true of this subject."""
    where, metric = item.slice, item.metric
    follows = null != "iid"
    if item.check == "residuals":
        if metric.startswith("return") or where.get("family") == "returns":
            # Positions that know nothing leave the market's own autocorrelation, and their spells
            # out of it are a clustering of their own.
            square = metric == "return_square_probability"
            return kind == "implied" and null != "AR(1)" and not square
        return kind == "given" or not follows
    if item.check == "forecast_comparison":
        if kind == "noisy":
            return where.get("rival") == "twin"
        return where.get("rival") == "constant" or metric == "mean_probability"
    clustered = where.get("family") in ("clustering", "joint", "shortfall", "independence")
    if kind == "implied" and (metric in _CLUSTERING or clustered):
        return not follows
    return True


def _noisy(path: Process, seed: int, name: str) -> Subject:
    noise = random_stream(seed, f"sizes.{name}").standard_normal(len(path.returns))
    return knowing(path, noise=0.2 * noise)


def _context(path: Process, seed: int, challengers: dict[str, Subject]) -> Context:
    bars = path.bars()
    first = int(0.4 * len(bars))
    folds = anchored_folds(len(bars), first_test=first, count=3, gap=2)
    return Context(bars=bars, folds=folds, seed=seed, cost_bps=0.0, challengers=challengers)
