"""Figures and tables of stress runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from governance.amounts import amount
from governance.record import Column, Exhibit
from governance.statistics.crisis_response import Delay
from governance.statistics.performance import wealth
from governance.stress_run import FLAT, StressRun

NEVER = "\N{GREATER-THAN OR EQUAL TO}: a lower bound, as it had not come by the end of the window."
_AT_LEAST = "\N{GREATER-THAN OR EQUAL TO} "


def path_exhibit(check: str, run: StressRun) -> Exhibit:
    """Wealth of holding the market and of the model through a scenario, and what it held."""
    clock = f", {run.clock}" if run.seeds else ""
    seed = f", seed {run.seeds[0]}" if run.seeds else ""
    label = "_".join(run.clock.split()) if run.seeds else ""
    parts = [run.scenario.name, label, *(str(seed) for seed in run.seeds[:1])]
    return Exhibit(
        check=check,
        name="path_" + "_".join(part for part in parts if part),
        title=f"{run.scenario.title}{clock}{seed}",
        kind="time_series",
        columns=(
            Column(name="time", values=tuple(stamp.isoformat() for stamp in run.index)),
            Column(
                name="buy and hold", values=tuple(wealth(run.market)[1:].tolist()), unit="wealth"
            ),
            Column(name="model", values=tuple(wealth(run.net)[1:].tolist()), unit="wealth"),
            Column(
                name="exposure held", values=tuple(run.held.tolist()), unit="fraction of capital"
            ),
        ),
        y_label="wealth",
        note=f"{_sentence(run.note)} Model trained {_trained(run)}. "
        "Wealth is 1 at the close before; the model's is after costs.",
    )


def losses_exhibit(check: str, runs: Sequence[StressRun]) -> Exhibit:
    """Loss of the market and of the model in every run."""
    return Exhibit(
        check=check,
        name="losses",
        title="Loss in every scenario, model and market",
        kind="bar",
        columns=(
            Column(name="scenario", values=tuple(_short_label(run) for run in runs)),
            Column(name="market", unit="%", values=tuple(100.0 * _market(run) for run in runs)),
            Column(name="model", unit="%", values=tuple(100.0 * run.response.loss for run in runs)),
        ),
        y_label="loss over the window, %",
        note=f"Negative: a gain. {_labels(runs)}",
    )


def summary_exhibit(check: str, runs: Sequence[StressRun]) -> Exhibit:
    """One row a run."""
    rows: list[tuple[float | str | None, ...]] = []
    for run in runs:
        answer, missed = run.response, run.shortfalls
        can_act = run.clock != "held through the day"
        counted = [value for value in missed.values() if not isinstance(value, str)]
        unmet = sum(value > 0.0 for value in counted)
        trips = run.values.get("kill_switch_trips")
        rows.append(
            (
                _label(run),
                run.path,
                run.trained.sample,
                100.0 * _market(run),
                100.0 * answer.loss,
                100.0 * answer.drawdown_share,
                answer.exposure_before,
                answer.exposure_at_worst_bar,
                _waited(answer.derisk) if can_act else "cannot act",
                _waited(answer.reentry) if can_act else "cannot act",
                None if isinstance(trips, str) else trips,
                f"{unmet} of {len(counted)}",
            )
        )
    names = (
        ("scenario", ""),
        ("path", ""),
        ("sample", ""),
        ("market loss", "%"),
        ("model loss", "%"),
        ("share of the fall", "%"),
        ("exposure before", "fraction of capital"),
        ("exposure, worst bar", "fraction of capital"),
        ("bars to de-risk", ""),
        ("bars to re-entry", ""),
        ("kill-switch trips", ""),
        ("expectations missed", ""),
    )
    note = (
        "Bars to de-risk count from the first close at which the fall is visible, re-entry from "
        f"the trough. {NEVER} Exposure before of 0: {FLAT}. {_labels(runs)}"
    )
    return _table(check, "summary", "What the model did in every scenario", names, rows, note)


def expectations_exhibit(
    check: str, runs: Sequence[StressRun], units: Mapping[str, str]
) -> Exhibit:
    """Every expectation with what was observed; ``units`` by metric."""
    rows: list[tuple[float | str | None, ...]] = []
    for run in runs:
        for item in run.scenario.expectations:
            if item.metric not in run.shortfalls:
                continue
            value, short = run.values[item.metric], run.shortfalls[item.metric]
            unit, bound = units[item.metric], item.metric in run.at_least
            rows.append(
                (
                    _label(run),
                    item.metric.replace("_", " "),
                    item.said(unit),
                    _said(value, unit, bound),
                    "not counted" if isinstance(short, str) else _said(short, unit, bound),
                    item.because,
                )
            )
    names = (
        ("scenario", ""),
        ("metric", ""),
        ("expected", ""),
        ("observed", ""),
        ("outside by", ""),
        ("because", ""),
    )
    flat = ", ".join(dict.fromkeys(run.scenario.name for run in runs if run.flat))
    note = f"Not counted in {flat}: {FLAT}. " if flat else ""
    return _table(
        check,
        "expectations",
        "Expectations written before the run",
        names,
        rows,
        f"{note}{NEVER} {_labels(runs)}".rstrip(),
    )


def provenance_exhibit(check: str, runs: Sequence[StressRun]) -> Exhibit:
    """Where every path comes from and which model answered."""
    rows: list[tuple[float | str | None, ...]] = [
        (
            _label(run),
            f"{run.index[0].date()} to {run.index[-1].date()}",
            float(len(run.index)),
            run.note,
            run.scenario.data.source,
            _trained(run),
        )
        for run in runs
    ]
    names = (
        ("scenario", ""),
        ("dates", ""),
        ("bars", ""),
        ("path", ""),
        ("source of returns", ""),
        ("model trained", ""),
    )
    terms = " ".join(dict.fromkeys(run.scenario.licence for run in runs))
    note = f"{terms} Digests of the scenarios stand among the inputs in the appendix. "
    return _table(
        check, "provenance", "Where the scenarios come from", names, rows, note + _labels(runs)
    )


def _table(
    check: str,
    name: str,
    title: str,
    names: Sequence[tuple[str, str]],
    rows: Sequence[tuple[float | str | None, ...]],
    note: str,
) -> Exhibit:
    return Exhibit(
        check=check,
        name=name,
        title=title,
        kind="table",
        columns=tuple(
            Column(name=label, unit=unit, values=tuple(row[k] for row in rows))
            for k, (label, unit) in enumerate(names)
        ),
        note=note,
    )


def _label(run: StressRun) -> str:
    name = run.scenario.name
    return f"{name} ({run.clock}; {_built(run)})" if run.seeds else name


def _short_label(run: StressRun) -> str:
    """What tells runs apart comes first: axes cut long labels."""
    return f"{_built(run)}: {run.scenario.name}" if run.seeds else run.scenario.name


def _built(run: StressRun) -> str:
    word = "seed" if len(run.seeds) == 1 else "seeds"
    return f"reconstructed, {word} {', '.join(map(str, run.seeds))}"


def _labels(runs: Sequence[StressRun]) -> str:
    """What must be said wherever a reconstruction appears."""
    built = {run.scenario.name: run.scenario.anchors_digest for run in runs if run.seeds}
    return " ".join(
        f"{name} is reconstructed from anchors sha256 {digest}." for name, digest in built.items()
    )


def _market(run: StressRun) -> float:
    return run.response.loss - run.response.excess_loss


def _waited(delay: Delay | None) -> str:
    if delay is None:
        return "not applicable"
    return str(delay.bars) if delay.happened else f"{_AT_LEAST}{delay.bars}"


def _said(value: float | str, unit: str, bound: bool) -> str:
    if isinstance(value, str):
        return value
    return f"{_AT_LEAST if bound and value != 0.0 else ''}{amount(value, unit)}"


def _trained(run: StressRun) -> str:
    known = {
        "out": "on no bar of the scenario",
        "in": "on bars of the scenario",
        "unknown": "elsewhere",
    }[run.trained.sample]
    return f"{known}, until {run.trained.until[:10]}" if run.trained.until else known


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
