"""A developer's figures beside the same figures computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from finchaos.core.subject import Claim
from governance.record import Interval
from governance.statistics.out_of_sample import OutOfSample
from governance.statistics.outcomes import earning_columns, earning_statistics
from governance.statistics.resampling import Bootstrap, block_length, percentile_interval

BETTER: Mapping[str, int] = {
    "sharpe": 1,
    "sortino": 1,
    "annual_return": 1,
    "annual_volatility": -1,
    "max_drawdown": 1,
    "calmar": 1,
    "expected_shortfall": 1,
    "turnover_per_year": -1,
    "cost_drag": -1,
}
"""Figures that can be claimed, and whether more of one is better (1) or worse (-1)."""
LEAST_PERIODS = 30


@dataclass(frozen=True)
class Recomputed:
    """A claimed figure computed anew.

    Attributes
    ----------
    value : float
    interval : Interval or None
        Of the block bootstrap.
    spread : float
        Standard deviation of the figure over resampled histories.
    periods : int
    first, last : int
        Rows of the out-of-sample bars that it speaks of.
    """

    value: float
    interval: Interval | None
    spread: float
    periods: int
    first: int
    last: int


def rows_of(claim: Claim, tested: OutOfSample) -> np.ndarray | None:
    """Which periods a claim speaks of, shape (n,), bool; None if they were not all tested.

    A claim that does not say when is held against all of them.
    """
    if not claim.start:
        return np.ones(len(tested.net), dtype=bool)
    days = tested.index.tz_convert(None).normalize()
    first, last = (np.datetime64(day) for day in (claim.start, claim.end))
    chosen = np.asarray((days >= first) & (days <= last))
    # A week on each side is left for weekends, holidays and the delay of execution.
    slack = np.timedelta64(7, "D")
    covered = days[0] <= first + slack and days[-1] >= last - slack
    return chosen if covered and chosen.sum() >= LEAST_PERIODS else None


def recompute(
    claim: Claim, tested: OutOfSample, chosen: np.ndarray, rng: np.random.Generator, draws: int
) -> Recomputed:
    """The claimed figure on the chosen periods, with the plan's cost and delay."""
    columns = {name: column[chosen] for name, column in earning_columns(tested).items()}
    statistic = earning_statistics(tested.bars.bars_per_year)[claim.metric]
    bootstrap = Bootstrap(block_length(columns["net"]), draws, 0.95)
    drawn = bootstrap.distribution({"it": statistic}, columns, rng)["it"]
    interval = percentile_interval(drawn, bootstrap.level, bootstrap.method)
    finite = drawn[np.isfinite(drawn)]
    rows = np.flatnonzero(chosen) + tested.delay_bars + 1
    return Recomputed(
        value=float(statistic(columns)),
        interval=interval,
        spread=float(finite.std(ddof=1)) if len(finite) > 1 else float("nan"),
        periods=int(chosen.sum()),
        first=int(rows[0]),
        last=int(rows[-1]),
    )


def relative_error(claimed: float, recomputed: float, floor: float) -> float:
    """How far apart two figures are beyond rounding, by the larger of them.

    The claim is taken to be rounded to the digits it has, and to two that count at least: 0.23
    stands for 0.225 to 0.235, and 0.2 for 0.195 to 0.205.

    Parameters
    ----------
    claimed, recomputed : float
    floor : float
        What the difference is divided by where both are smaller.

    Examples
    --------
    >>> relative_error(0.5, 0.395, 0.1), relative_error(0.23, 0.2337, 0.1)
    (0.2, 0.0)
    """
    said = Decimal(repr(claimed))
    least = said.adjusted() - 1 if said else -2
    rounding = 0.5 * 10.0 ** min(int(said.as_tuple().exponent), least)
    beyond = max(abs(claimed - recomputed) - rounding, 0.0)
    return round(beyond / max(abs(claimed), abs(recomputed), floor), 12)
