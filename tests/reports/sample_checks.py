"""Cards, evidence and exhibits of the sample Run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from governance.record import CheckCard, Exhibit, Residual
from tests.reports.sample_parts import (
    FAULTS,
    FEATURES,
    FOLDS,
    SCENARIOS,
    Measured,
    card,
    column,
    days,
    evidence,
)


def walk_forward(points: int = 4000) -> Measured:
    """Overall, per fold and per regime; a figure of two panels, one of lines and a scatter."""
    rng = np.random.default_rng(1)
    check = card(
        "walk_forward", "outcomes_analysis", "Walk-forward outcomes",
        "Would the model have earned its keep on data it had never seen?",
        ("sharpe", "ratio", "higher", "Annualised mean excess return over its volatility."),
        ("sortino", "ratio", "higher", "The same over downside deviation."),
        ("max_drawdown", "fraction", "lower", "Largest fall from a peak of the equity curve."),
        ("annual_return", "fraction per year", "higher", "Compound return after costs."),
        ("turnover", "per year", "none", "Traded notional over capital."),
        ("false_alarm_rate", "fraction", "lower", "Share of calm bars called stressed."),
        ("detection_delay", "bars", "lower", "Median bars from onset to detection."),
        ("regime_shifts", "per year", "none", "Changes of regime."),
    )  # fmt: skip
    residual = Residual(
        what="Distance of recomputed profit from the ledger", value=3.1e-13, tolerance=1e-9
    )
    items = [
        evidence(check, "sharpe", 0.4312, half=0.52, self_check=residual),
        evidence(check, "sortino", 0.6127, half=0.71),
        evidence(check, "max_drawdown", 0.2731, half=0.09),
        evidence(check, "annual_return", 0.0523, half=0.055),
        evidence(check, "turnover", 6.41, half=1.1),
        evidence(check, "false_alarm_rate", 0.0871, half=0.021, n=2804),
        evidence(check, "detection_delay", 11.0, half=6.0, n=9),
        evidence(check, "regime_shifts", 7.2, n=13),
    ]
    for k, window in enumerate(FOLDS, start=1):
        for metric, centre, width in (
            ("sharpe", 0.4, 0.5), ("sortino", 0.6, 0.7), ("max_drawdown", 0.15, 0.05),
            ("annual_return", 0.05, 0.04), ("turnover", 6.0, 1.0), ("false_alarm_rate", 0.08, 0.03),
        ):  # fmt: skip
            value = float(centre + width * rng.normal() * 0.8)
            items.append(
                evidence(check, metric, value, half=width, n=545, window=window, fold=str(k))
            )
        missing = k in (2, 4)
        items.append(
            evidence(
                check,
                "detection_delay",
                None if missing else float(rng.integers(2, 30)),
                reason="no stressed bar fell into this fold" if missing else "",
                n=int(rng.integers(1, 4)),
                window=window,
                fold=str(k),
            )
        )
    steps = rng.normal(0.0002, 0.008, points)
    hold = np.exp(np.cumsum(steps))
    position = np.where(np.convolve(steps, np.ones(21), "same") < -0.05, 0.0, 1.0)
    exhibits = [
        Exhibit(
            check=check.name, name="equity", title="Equity out of sample, after costs",
            kind="time_series",
            columns=(
                column("date", days(points)),
                column("model", np.exp(np.cumsum(steps * position)), "multiple of start"),
                column("buy_and_hold", hold, "multiple of start"),
                column("position", position, "fraction of capital"),
            ),
        ),
        Exhibit(
            check=check.name, name="by_threshold", title="Sharpe ratio by confidence threshold",
            kind="line",
            columns=(
                column("threshold", np.linspace(0.1, 0.9, 9)),
                column("sharpe", 0.4 - (np.linspace(0.1, 0.9, 9) - 0.5) ** 2),
                column("low", 0.0 - (np.linspace(0.1, 0.9, 9) - 0.5) ** 2),
                column("high", 0.8 - (np.linspace(0.1, 0.9, 9) - 0.5) ** 2),
            ),
        ),
        Exhibit(
            check=check.name, name="returns", title="Daily returns of model and index",
            kind="scatter",
            columns=(
                column("index", rng.normal(0, 0.01, 400), "fraction"),
                column("model", rng.normal(0, 0.007, 400), "fraction"),
            ),
        ),
    ]  # fmt: skip
    return check, items, exhibits


def stress(scenarios: Sequence[str] = SCENARIOS) -> Measured:
    """Per scenario, one of them reconstructed, one that could not be replayed."""
    rng = np.random.default_rng(2)
    check = card(
        "stress", "outcomes_analysis", "Historical stress", "What would the model have done?",
        ("loss", "fraction", "lower", "Loss from the start of the scenario to its trough."),
        ("loss_saved", "fraction", "higher", "Loss of buy and hold less the model's."),
        ("bars_to_derisk", "bars", "lower", "Bars from onset until half exposure."),
        ("exposure_at_worst", "fraction", "lower", "Position during the worst bar."),
        ("trips", "count", "none", "Trips of the kill switch."),
    )  # fmt: skip
    items, exhibits = [], []
    for name in scenarios:
        gone = name == "crash_1929"
        reason = "the scenario has closes alone and the subject needs the range of a bar"
        for metric, value in (
            ("loss", rng.uniform(0.02, 0.3)), ("loss_saved", rng.normal(0.05, 0.05)),
            ("bars_to_derisk", float(rng.integers(1, 20))), ("exposure_at_worst", rng.uniform()),
            ("trips", float(rng.integers(0, 3))),
        ):  # fmt: skip
            items.append(
                evidence(
                    check,
                    metric,
                    None if gone else float(value),
                    reason=reason if gone else "",
                    n=int(rng.integers(20, 300)),
                    scenario=name,
                )
            )
        if not gone:
            exhibits.append(_path(check, name, rng))
    return check, items, exhibits


def _path(check: CheckCard, name: str, rng: np.random.Generator) -> Exhibit:
    made = name == "flash_crash_2010"
    note = "Replay of recorded daily returns at the level of the model's own history."
    if made:
        note = "Reconstructed minute path through documented anchors, seed 7, anchors 9f31c2d04b7e."
    first = datetime(2010, 5, 6, 13, 30, tzinfo=UTC)
    minutes = tuple((first + timedelta(minutes=k)).isoformat() for k in range(390))
    path = np.exp(np.cumsum(rng.normal(-0.001, 0.01, 390 if made else 120)))
    return Exhibit(
        check=check.name, name=name, title=f"Path and exposure, {name}", kind="time_series",
        columns=(
            column("time", minutes if made else days(120)),
            column("index", path, "multiple of start"),
            column("exposure", np.clip(rng.uniform(0, 1.4, len(path)), 0, 1), "fraction"),
        ),
        note=note,
    )  # fmt: skip


def drift(features: Sequence[str] = FEATURES) -> Measured:
    """One long table of many features, a bar chart and a heat map."""
    rng = np.random.default_rng(3)
    check = card(
        "drift", "ongoing_monitoring", "Drift of inputs and latents",
        "Do the inputs still come from where the model learnt?",
        ("psi", "nats", "lower", "Population stability index."),
        ("js", "bits", "lower", "Jensen-Shannon divergence."),
        ("ks", "probability", "lower", "Kolmogorov-Smirnov distance."),
        ("psi_limit", "nats", "none", "Bootstrap quantile at the stated false-alarm rate."),
    )  # fmt: skip
    items = []
    for name in features:
        size = float(rng.lognormal(-3.5, 1.2))
        items += [
            evidence(check, "psi", size, half=size / 2, n=1250, feature=name),
            evidence(check, "js", size / 9, n=1250, feature=name),
            evidence(check, "ks", float(rng.uniform(0.01, 0.2)), n=1250, feature=name),
            evidence(check, "psi_limit", 0.061, n=1250, feature=name),
        ]
    values = [item.value for item in items if item.metric == "psi"]
    exhibits = [
        Exhibit(
            check=check.name, name="psi", title="Population stability index by feature",
            kind="bar", y_label="PSI (nats)",
            columns=(column("feature", tuple(features)), column("psi", values, "nats"),
                     column("limit", [0.061] * len(features), "nats")),
        ),
        Exhibit(
            check=check.name, name="by_year", title="Drift by feature and year", kind="heatmap",
            columns=(
                column("feature", tuple(features)),
                *(
                    column(str(year), rng.normal(0, 0.1, len(features)), "nats")
                    for year in range(2006, 2019)
                ),
            ),
        ),
    ]  # fmt: skip
    return check, items, exhibits


def kill_switch() -> Measured:
    """Per fault, with counts and a rate that is tiny but not zero."""
    check = card(
        "kill_switch", "ongoing_monitoring", "Kill switch under injected faults",
        "Does the switch trip, latch and stay closed?",
        ("trip_rate", "fraction", "higher", "Share of injections that tripped."),
        ("latency", "bars", "lower", "Bars from fault to flat."),
        ("rearmed_itself", "count", "lower", "Times the latch cleared without a person."),
        ("false_trip_rate", "fraction", "lower", "Trips on clean data per bar."),
    )  # fmt: skip
    items = [evidence(check, "false_trip_rate", 3.2e-7, n=5031)]
    for fault in FAULTS:
        items += [
            evidence(check, "trip_rate", 0.96 if fault == "spike" else 1.0, n=50, fault=fault),
            evidence(check, "latency", 1.0, n=50, fault=fault),
            evidence(check, "rearmed_itself", 0.0, n=50, fault=fault),
        ]
    table = Exhibit(
        check=check.name, name="log", title="Trips as logged", kind="table",
        columns=(
            column("fault", FAULTS),
            column("reason", [f"input outside limits: {fault}" for fault in FAULTS]),
            column("distance", [12.5, None, 3.0, 4.25, 7.0, 9.5, 100.0, 41.0, 8.125, 2.0], "sigma"),
        ),
    )  # fmt: skip
    return check, items, [table]


def attribution() -> Measured:
    """Errored as a whole: the subject let its gradients fail."""
    check = card(
        "attribution", "conceptual_soundness", "Attribution", "What does the model look at?",
        ("share", "fraction", "none", "Share of absolute attribution."),
        ("completeness", "fraction", "lower", "Completeness residual."),
    )  # fmt: skip
    reason = "RuntimeError: one of the variables needed for gradient computation was modified"
    items = [
        evidence(check, spec.name, None, reason=reason, status="errored") for spec in check.metrics
    ]
    return check, items, []


def simple(name: str, pillar: str, title: str, figures: int) -> Measured:
    """A check of a few overall numbers and a number of small figures."""
    rng = np.random.default_rng(len(name))
    check = card(
        name, pillar, title, "Is it so?",
        ("breaches", "count", "lower", "Rows that broke the contract."),
        ("distance", "bps", "lower", "Mean absolute difference."),
    )  # fmt: skip
    items = [evidence(check, "breaches", 0.0), evidence(check, "distance", 0.004)]
    items += [
        evidence(check, "distance", float(rng.uniform(0, 3)), half=0.4, cut=cut, alteration=way)
        for cut in ("25%", "50%", "75%")
        for way in ("noise", "reversal", "scale", "truncation")
    ]
    exhibits = [
        Exhibit(
            check=name, name=f"bars_{k}", title=f"Differences of {title.lower()}, part {k}",
            kind="bar",
            columns=(
                column("part", ("a", "b", "c", "d")),
                column("distance", rng.uniform(0, 3, 4), "bps"),
                column("distance_low", np.zeros(4), "bps"),
                column("distance_high", np.full(4, 3.2), "bps"),
            ),
        )
        for k in range(1, figures + 1)
    ]  # fmt: skip
    return check, items, exhibits


def tiny_measurements() -> list[Measured]:
    """Two short checks, for what is slow per page."""
    return [drift(FEATURES[:3]), attribution()]


def small_measurements() -> list[Measured]:
    """Three short checks."""
    return [walk_forward(points=60), drift(FEATURES[:3]), attribution()]


def full_measurements() -> list[Measured]:
    """Twelve checks."""
    return [
        attribution(),
        simple("challengers", "outcomes_analysis", "Challengers", 3),
        simple("data_quality", "conceptual_soundness", "Data quality", 3),
        drift(),
        kill_switch(),
        simple("point_in_time", "conceptual_soundness", "Point in time", 3),
        simple("reproducibility", "conceptual_soundness", "Reproducibility", 2),
        simple("signal_integrity", "conceptual_soundness", "Signal integrity", 3),
        stress(),
        simple("sizing", "outcomes_analysis", "Sizing", 4),
        simple("sensitivity", "conceptual_soundness", "Sensitivity", 5),
        walk_forward(),
    ]
