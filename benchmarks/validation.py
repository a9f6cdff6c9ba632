"""What the validator itself spends its time on, against named peers at the same work."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.signal import lfilter

from benchmarks import bootstrap
from benchmarks.compare import Comparison, compare
from benchmarks.comparisons import table
from benchmarks.report import Options, Report, Table
from finchaos.core.provenance import random_stream
from finchaos.regimes.jump_model import JumpModel, JumpRule
from governance.statistics.overfitting import backtest_overfitting
from governance.statistics.prefix_bootstrap import SumBootstrap, sharpe_interval

ROWS, PENALTY, STARTS = 5_000, 50.0, 10
JUMPMODELS = "jumpmodels"
ALONE = "ours alone"
ABSENT = "jumpmodels is not installed: pip install jumpmodels measures it."
STRATEGIES, DAYS, BLOCKS = 100, 1_600, 16
MOST_SECONDS = 0.1
LEAST = {"jump_model": 40.0, "bootstrap_sums": 4.0}
"""How many times less time than the peer's was asked for."""


def jump_model(options: Options) -> Report:
    """A statistical jump model fitted to the same rows, with as many starts, at one objective."""
    rows, returns = _regime_rows()
    rule = JumpRule(penalty=PENALTY, starts=STARTS)
    work = f"jump model, {ROWS} rows x {rows.shape[1]}, 2 states, {STARTS} starts"

    def ours() -> float:
        return JumpModel.fit(rows, returns, rule, seed=1).cost

    if find_spec(JUMPMODELS) is None:
        spent = compare(work, ALONE, ours, ours, options.protocol.rounds)
        return _report("jump_model", "Jump model", [spent], ABSENT)

    def theirs() -> float:
        return _their_cost(rows, returns)

    mine, other = ours(), theirs()
    if mine > other * (1.0 + 1e-6):
        raise RuntimeError(f"ours costs {mine} and jumpmodels' {other}: not the same objective")
    spent = compare(work, "jumpmodels JumpModel", ours, theirs, options.protocol.rounds)
    return _report(
        "jump_model",
        "Jump model",
        [spent],
        f"Objective reached: ours {mine:.6g}, theirs {other:.6g}.",
    )


def overfitting(options: Options) -> Report:
    """Probability of backtest overfitting, against one split at a time."""
    rng = random_stream(1, "benchmark/overfitting")
    returns = 0.01 * rng.standard_normal((DAYS, STRATEGIES))

    def ours() -> float:
        return backtest_overfitting(returns, BLOCKS).probability

    def theirs() -> float:
        return split_by_split(returns, BLOCKS)

    if abs(ours() - theirs()) > 1e-12:
        raise RuntimeError(f"ours {ours()} and one split at a time {theirs()} disagree")
    splits = len(list(combinations(range(BLOCKS), BLOCKS // 2)))
    work = f"PBO, {STRATEGIES} strategies, {DAYS} days, {splits} splits"
    spent = compare(work, "numpy, one split at a time", ours, theirs, options.protocol.rounds)
    verdict = "met" if spent.ours_s < MOST_SECONDS else "MISSED"
    note = f"Under {MOST_SECONDS:g} s was asked for: {verdict} with {spent.ours_s:.3f} s."
    return _report("overfitting", "Backtest overfitting", [spent], note)


def bootstrap_sums(options: Options) -> Report:
    """Interval of a Sharpe ratio by prefix sums, against arch."""
    returns = bootstrap.daily_returns()

    def ours() -> tuple[float, float]:
        found = sharpe_interval(
            returns,
            SumBootstrap(bootstrap.BLOCK, bootstrap.DRAWS),
            random_stream(1, "benchmark/draws"),
            bars_per_year=252.0,
        )
        if found is None:
            raise RuntimeError("the interval is undefined")
        return found.low, found.high

    def theirs() -> tuple[float, float]:
        return bootstrap.by_arch(returns)

    mine, other = ours(), theirs()
    if not np.allclose(mine, other, atol=0.1):
        raise RuntimeError(f"ours {mine} and arch's {other} disagree")
    days, draws, block = bootstrap.DAYS, bootstrap.DRAWS, bootstrap.BLOCK
    work = f"Sharpe interval, {days} days, {draws} draws, blocks of {block}"
    spent = compare(work, "arch StationaryBootstrap", ours, theirs, options.protocol.rounds)
    note = f"Limits: ours {mine[0]:.3f} to {mine[1]:.3f}, arch {other[0]:.3f} to {other[1]:.3f}."
    return _report("bootstrap_sums", "Bootstrap by prefix sums", [spent], note)


def split_by_split(returns: np.ndarray, blocks: int) -> float:
    """The probability of backtest overfitting as it is written down: halves joined, then judged."""
    length = len(returns) // blocks
    parts = np.split(returns[len(returns) - length * blocks :], blocks)
    below = 0.0
    for chosen in combinations(range(blocks), blocks // 2):
        rest = [block for block in range(blocks) if block not in chosen]
        inside = _ratio(np.concatenate([parts[block] for block in chosen]))
        outside = _ratio(np.concatenate([parts[block] for block in rest]))
        best = int(inside.argmax())
        rank = (outside < outside[best]).sum() + 0.5 * ((outside == outside[best]).sum() + 1.0)
        share = rank / (returns.shape[1] + 1.0)
        below += float(share < 0.5) + 0.5 * float(share == 0.5)
    return below / len(list(combinations(range(blocks), blocks // 2)))


def _ratio(values: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = values.mean(axis=0) / values.std(axis=0, ddof=1)
    return ratio


def _regime_rows() -> tuple[np.ndarray, np.ndarray]:
    """Standardised features of a market that is stormy for a hundred days in four hundred."""
    rng = random_stream(1, "benchmark/jump_model")
    storm = np.cumsum(rng.random(ROWS) < 0.01) % 4 == 3
    returns = np.where(storm, 0.025, 0.008) * rng.standard_normal(ROWS) + 0.0004
    decay = [lfilter([1.0 - kept], [1.0, -kept], returns**power) for kept in (0.93, 0.98)
             for power in (1, 2)]  # fmt: skip
    raw = np.column_stack(decay)
    return (raw - raw.mean(axis=0)) / raw.std(axis=0), returns


def _their_cost(rows: np.ndarray, returns: np.ndarray) -> float:
    from jumpmodels.jump import JumpModel as Theirs

    fitted: Any = Theirs(2, PENALTY, n_init=STARTS, random_state=1)
    fitted.fit(pd.DataFrame(rows), pd.Series(returns), sort_by="vol")
    return float(fitted.val_)


def _report(name: str, title: str, found: list[Comparison], *notes: str) -> Report:
    rows = table(title, found)
    judged = [
        f"At least {LEAST[name]:g} times was asked for: "
        f"{'met' if one.ratio >= LEAST[name] else 'MISSED'} with {one.ratio:.1f}."
        for one in found
        if name in LEAST and one.peer != ALONE
    ]
    return Report(name, (Table(rows.title, rows.columns, rows.rows, (*notes, *judged)),))
