"""New data against the run that was approved: distances, tests, charts and bets.

Three instruments with one stated rate each. Tests of all new rows are made at five times fixed
beforehand and share their rate, so that looking often costs nothing. Charts keep a
run length. Bets on batches may be read at any time. Everything is computed by replaying all bars;
row t of anything depends on bars up to t.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from finchaos.core.bars import Bars
from finchaos.core.errors import InputError, SubjectFault
from finchaos.core.provenance import random_stream
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.check import Context, Skip
from governance.monitored import Memory, Watched
from governance.monitoring import (
    TEST_TIMES,
    ChartReading,
    DriftTest,
    MonitorSettings,
    PanelCapital,
    SeriesDistance,
)
from governance.observe import observe
from governance.statistics.accounting import profit_and_loss
from governance.statistics.chart_calibration import Residuals, calibrated_limit
from governance.statistics.control_charts import Chart, Cusum, Ewma
from governance.statistics.drift import ComparedSeries, NullSettings, compare_panel, joint_null
from governance.statistics.holm import holm
from governance.statistics.multivariate import energy_test
from governance.statistics.null_distances import LEAST_ROWS, studentised
from governance.statistics.out_of_sample import out_of_sample
from governance.statistics.panels import Panel, inputs_panel, latents_panel, outputs_panel
from governance.statistics.resampling import block_length
from governance.statistics.sequential import bet_on_batches

CHARTS: tuple[Chart, ...] = (Cusum(0.5), Ewma(0.1))

_SERIES_RATE = 0.05  # of the limits shown beside each distance; they alarm nobody
_SERIES_DRAWS = 400
_SAME_SIGNALS = 1e-8
_HORIZON = 500  # bars a chart is expected to be read before the next validation


@dataclass
class Readings:
    """What one look finds, gathered instrument by instrument."""

    distances: list[SeriesDistance] = field(default_factory=list)
    tests: list[DriftTest] = field(default_factory=list)
    test_level: float | None = None
    charts: list[ChartReading] = field(default_factory=list)
    chart_run_length: float | None = None
    capital: list[PanelCapital] = field(default_factory=list)
    highest_capital: float = 1.0
    alarms: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)


def read_instruments(
    subject: Subject, context: Context, new: Bars, settings: MonitorSettings
) -> Readings:
    """Everything that one look measures.

    Parameters
    ----------
    subject : Subject
        As the run's plan makes it, untrained.
    context : Context
        Of the run: its bars, folds, seed and costs.
    new : Bars
        Right after the run's bars.
    settings : MonitorSettings

    Raises
    ------
    SubjectFault
        If the subject breaks its contract, or answers the run's bars otherwise once others follow.
    """
    found = Readings()
    watched = list(_watched(subject, context, new, found))
    for one in watched:
        _constants(one, found)
    _test(watched, context.seed, settings, found)
    _chart(watched, new.index, context.seed, settings, found)
    _bet(watched, context.seed, settings, found)
    return found


def _watched(subject: Subject, context: Context, new: Bars, found: Readings) -> Iterator[Watched]:
    old = context.bars
    joined = old.followed_by(new)
    candidate = context.candidate(subject)
    signals = observe(candidate, joined)
    _require_causal(context.cache.signals(candidate, old), signals)
    warm, n = candidate.card.warmup_bars, len(old)
    panels = [inputs_panel(candidate, joined), outputs_panel(signals, warm)]
    latents = latents_panel(signals, warm)
    if latents is None:
        found.not_measured.append("latents: the signals carry none")
    else:
        panels.append(latents)
    for panel in panels:
        reference = panel.table[panel.first : n]
        if len(reference) < LEAST_ROWS:
            found.not_measured.append(f"{panel.name}: {len(reference)} reference rows are too few")
            continue
        yield Watched(panel, reference, panel.table[n:], reference)
    try:
        yield _performance(subject, context, signals, joined)
    except Skip as skip:
        found.not_measured.append(f"performance: {skip}")


def _require_causal(before: Signals, after: Signals) -> None:
    gap = float(np.abs(before.position - after.position[: len(before)]).max())
    if gap > _SAME_SIGNALS:
        raise SubjectFault(
            "the model answers the run's bars otherwise once new bars follow",
            expected=f"the same positions within {_SAME_SIGNALS:g}",
            got=f"a difference of {gap:.3g}",
            remedy="it looks ahead, or keeps a state between calls: nothing can be monitored",
        )


def _performance(subject: Subject, context: Context, signals: Signals, joined: Bars) -> Watched:
    """Net returns: those of the walk-forward, and those of the candidate since then."""
    reference = out_of_sample(subject, context).net[:, None]
    earned = profit_and_loss(
        signals.position,
        joined.returns(),
        cost_bps=context.cost_bps,
        delay_bars=context.delay_bars,
    ).net[:, None]
    # Row i of the earnings ends at bar i + 1.
    new = len(context.bars) - 1
    panel = Panel("performance", ("net_return",), earned, 0, "positions, cost and delay of the run")
    return Watched(panel, reference, earned[new:], earned[:new])


def _constants(watched: Watched, found: Readings) -> None:
    for j in np.flatnonzero(~watched.moving):
        name = f"{watched.panel.name}: {watched.panel.series[j]}"
        if (watched.current[:, j] != watched.reference[0, j]).any():
            found.alarms.append(f"{name} never moved before and moves now")
        else:
            found.not_measured.append(f"{name} never moves")


def _test(watched: list[Watched], seed: int, settings: MonitorSettings, found: Readings) -> None:
    """Distances at the last time that is due, and the family of tests on them."""
    rows = min((len(one.current) for one in watched), default=0)
    due = [settings.period_bars * 2**k for k in range(TEST_TIMES)]
    due = [bars for bars in due if bars <= rows]
    if not due:
        found.not_measured.append(
            f"tests: wait for {settings.period_bars} new bars, {rows} are there"
        )
        return
    used = due[-1]
    tests: list[DriftTest] = []
    memory = Memory.of(watched, used)
    for one in watched:
        tests += _tests_of(one, used, seed, settings, memory, found)
    found.test_level = 0.5 * settings.false_alarm_rate / TEST_TIMES
    adjusted = holm(np.array([test.p_value for test in tests]))
    for test, p in zip(tests, adjusted, strict=True):
        rejected = bool(p <= found.test_level)
        found.tests.append(test.model_copy(update={"adjusted": float(p), "rejected": rejected}))
        if rejected:
            found.alarms.append(f"{test.panel}: the {test.test} test rejects (p {p:.2g})")


def _tests_of(
    one: Watched, used: int, seed: int, settings: MonitorSettings, memory: Memory, found: Readings
) -> Iterator[DriftTest]:
    name, reference, current = one.panel.name, one.reference, one.current[:used]

    def rng(purpose: str) -> np.random.Generator:
        return random_stream(seed, f"monitor.{purpose}")

    drawn = NullSettings(settings.bins, _SERIES_RATE, _SERIES_DRAWS)
    compared = compare_panel(one.panel, reference, current, drawn, rng)
    found.distances += [_distance(series) for series in compared]
    law = NullSettings(settings.bins, _SERIES_RATE, settings.draws)
    least = memory.block if name == "performance" else 1
    joint = joint_null(compared, law, rng(f"{name}.joint"), least_block=least)
    scale = rng(f"{name}.scale")
    if joint is not None:
        null = studentised(joint[1], memory.worth, scale)
        yield _named(name, "series", joint[0], _p_value(joint[0], null))
    moving = one.moving
    if moving.sum() > 1:
        energy = energy_test(
            reference[:, moving], current[:, moving], rng(f"{name}.energy"), draws=settings.draws
        )
        null = studentised(energy.drawn, memory.worth, scale)
        yield _named(name, "energy", energy.statistic, _p_value(energy.statistic, null))
    if name == "performance" and moving.all():
        loss, null = _mean_loss(reference[:, 0], current[:, 0], rng(name), settings.draws)
        null = studentised(null, memory.worth, scale, quadratic=False)
        yield _named(name, "mean", loss, _p_value(loss, null))


def _named(panel: str, test: str, statistic: float, p_value: float) -> DriftTest:
    return DriftTest.model_validate(
        {
            "panel": panel,
            "test": test,
            "statistic": statistic,
            "p_value": p_value,
            "adjusted": 1.0,
            "rejected": False,
        }
    )


def _p_value(statistic: float, null: np.ndarray) -> float:
    return float((1 + (null >= statistic).sum()) / (1 + len(null)))


def _mean_loss(
    reference: np.ndarray, current: np.ndarray, rng: np.random.Generator, draws: int
) -> tuple[float, np.ndarray]:
    """How much less was earned a bar, and draws of it when both come from the reference."""
    n, block = len(reference), 2 * block_length(reference)
    twice = np.concatenate([[0.0], np.cumsum(np.tile(reference - reference.mean(), 2))])
    means = []
    for size in (n, len(current)):
        length = min(block, size)
        starts = rng.integers(0, n, size=(draws, -(-size // length)))
        lengths = np.full(starts.shape[1], length)
        lengths[-1] = size - length * (len(lengths) - 1)  # as many rows as there are
        means.append((twice[starts + lengths] - twice[starts]).sum(axis=1) / size)
    return float(reference.mean() - current.mean()), means[0] - means[1]


def _distance(series: ComparedSeries) -> SeriesDistance:
    limits = {name: series.limits.get(name) for name in ("psi", "ks")}
    return SeriesDistance(
        panel=series.panel,
        series=series.name,
        rows=len(series.current),
        **series.found,
        psi_limit=limits["psi"],
        ks_limit=limits["ks"],
        mean_shift=series.mean_shift,
        scale_shift=series.scale_shift,
    )


def _chart(
    watched: list[Watched],
    index: pd.DatetimeIndex,
    seed: int,
    settings: MonitorSettings,
    found: Readings,
) -> None:
    """Both charts of every charted series."""
    fitted = []
    for name, reference, history, new in _charted(watched):
        try:
            fitted.append((name, Residuals.fit(reference), reference, history, new))
        except InputError as error:
            found.not_measured.append(f"charts of {name}: {error}")
    if not fitted:
        return
    found.chart_run_length = settings.run_length * len(CHARTS) * len(fitted)
    for name, residuals, reference, history, new in fitted:
        values = residuals.of(history, new)
        for chart in CHARTS:
            limit = calibrated_limit(
                chart,
                residuals.of_reference(reference),
                found.chart_run_length,
                random_stream(seed, f"monitor.chart.{name}.{chart.name}"),
                horizon=_HORIZON,
            )
            reading = _reading(name, chart, limit, values, index)
            found.charts.append(reading)
            if reading.first_alarm is not None:
                found.alarms.append(
                    f"{name} is beyond the limit of {chart.name}, {reading.direction}, "
                    f"first at {reading.first_alarm}"
                )


def _charted(
    watched: list[Watched],
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Outputs and net returns, and of the inputs the size of the market's moves."""
    for one in watched:
        if one.panel.name == "latents":
            continue
        for j, series in enumerate(one.panel.series):
            if one.panel.name == "inputs" and series != "absolute_return":
                continue
            yield series, one.reference[:, j], one.history[:, j], one.current[:, j]


def _reading(
    name: str, chart: Chart, limit: float, values: np.ndarray, index: pd.DatetimeIndex
) -> ChartReading:
    path = chart.path(values)
    largest = path.max(axis=0)
    beyond = np.flatnonzero(largest > limit)
    side = int(path.max(axis=1).argmax())
    return ChartReading(
        series=name,
        chart=chart.name,
        limit=limit,
        highest=float(largest.max()),
        latest=float(largest[-1]),
        direction="down" if side else "up",
        first_alarm=index[beyond[0]].isoformat() if len(beyond) else None,
    )


def _bet(watched: list[Watched], seed: int, settings: MonitorSettings, found: Readings) -> None:
    """The mean capital over panels: a mean of martingales is one."""
    capitals = []
    for one in watched:
        moving = one.moving
        if not moving.any():
            continue
        try:
            made = bet_on_batches(
                one.reference[:, moving],
                one.current[:, moving],
                settings.batch_bars,
                random_stream(seed, f"monitor.bets.{one.panel.name}"),
            ).capital
        except InputError as error:
            found.not_measured.append(f"bets on {one.panel.name}: {error}")
            continue
        latest = float(made[-1]) if len(made) else 1.0
        found.capital.append(PanelCapital(panel=one.panel.name, batches=len(made), latest=latest))
        capitals.append(made)
    if capitals:
        batches = min(len(made) for made in capitals)
        mean = np.mean([made[:batches] for made in capitals], axis=0)
        found.highest_capital = float(mean.max(initial=1.0))
    if found.highest_capital >= 2.0 / settings.false_alarm_rate:
        found.alarms.append(
            f"bets on change made {found.highest_capital:.3g} of 1, "
            f"at most {2.0 / settings.false_alarm_rate:g} expected by chance"
        )
