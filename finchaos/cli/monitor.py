"""``finchaos monitor``: new data against the run that was approved."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.options import DEFAULT_STORE, JsonOption, RunArgument, StoreOption
from finchaos.core.errors import SubjectFault
from finchaos.core.files import write_atomic

CODES = {"in_control": 0, "alarm": 10, "inconclusive": 12}
SHOWN_DISTANCES = 8


def monitor(
    run: RunArgument,
    bars: Annotated[Path, typer.Option(help="CSV or Parquet file of new bars.")],
    beside: Annotated[
        Path, typer.Option("--from", help="Folder that paths in the run's plan start from.")
    ] = Path(),
    false_alarm_rate: Annotated[
        float, typer.Option(help="Of tests and bets together, over any number of looks.")
    ] = 0.05,
    run_length: Annotated[
        float, typer.Option(help="Bars between false alarms of all charts together.")
    ] = 2520.0,
    prometheus: Annotated[
        Path | None, typer.Option(help="File to write the readings to for Prometheus.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json: JsonOption = False,
) -> None:
    """Say whether new bars, and what the model makes of them, still look like the approved run.

    0 in control, 10 alarm, 12 could not be measured, 2 usage or input, 20 the run does not verify.
    """
    with console.reported():
        if prometheus is not None:
            prometheus.unlink(missing_ok=True)  # a look that fails must not leave an older one's
        record, path, model = _looked(run, bars, beside, false_alarm_rate, run_length, store)
        if prometheus is not None:
            from governance.monitoring_metrics import prometheus_text

            write_atomic(prometheus, prometheus_text(record, model).encode())
    if json:
        content = record.model_dump(mode="json")
        console.print_json({"record": record.digest, "path": str(path), **content})
    else:
        _print(record, path, model)
    raise typer.Exit(CODES[record.verdict])


def _looked(
    run: str, bars: Path, beside: Path, rate: float, run_length: float, store: Path
) -> tuple[Any, Path, str]:
    """The sealed record, where it is kept, and the model's name."""
    from finchaos.cli.assemble import build_subject, load_data
    from finchaos.core.documents import validate_document
    from finchaos.markets import load_bars
    from governance.look import look, plan_of
    from governance.monitoring import MonitorSettings, draws_needed, keep
    from governance.store import Store

    said: dict[str, Any] = {"false_alarm_rate": rate, "run_length": run_length}
    if 0.0 < rate < 1.0:
        said["draws"] = max(1999, draws_needed(rate))
    settings = validate_document(said, MonitorSettings, "the options")
    runs = Store(store)
    sealed = runs.load(runs.resolve(run)).run
    plan = plan_of(sealed)
    old = load_data(plan.data, beside)
    brought = load_bars(bars, symbol=old.symbol, bars_per_year=old.bars_per_year)
    try:
        with console.progress() as say:
            subject = build_subject(
                plan.subject, beside, seed=plan.seed, progress=say, cache=store / ".models"
            )
            say("look at the new bars", 0, 1)
            record = look(sealed, subject, old, brought, settings)
    except SubjectFault as fault:
        console.stop(f"could not be measured: {fault}", CODES["inconclusive"])
    now = dt.datetime.now(dt.UTC).replace(microsecond=0).isoformat()
    return record, keep(runs.root, record, now), str(sealed.subject.card["name"])


def _print(record: Any, path: Path, model: str) -> None:
    say = console.out.print
    colour = {"in_control": "green", "alarm": "red", "inconclusive": "yellow"}[record.verdict]
    say(f"[bold]{model}[/] of run {record.run[:12]}, {record.new_bars} new bars")
    say(f"{record.first} to {record.last}")
    say(f"[bold {colour}]{record.verdict.replace('_', ' ')}[/]")
    for alarm in record.alarms:
        say(f"  {alarm}", markup=False)
    for chart in record.charts:
        say(
            f"  chart    {chart.series:<20} {chart.chart:<12} highest {chart.highest:.2f} "
            f"of {chart.limit:.2f} ({chart.direction})",
            markup=False,
        )
    for test in record.tests:
        say(
            f"  test     {test.panel:<20} {test.test:<12} adjusted p {test.adjusted:.3f}, "
            f"level {record.test_level:.4f}",
            markup=False,
        )
    say(
        f"  bets     highest capital {record.highest_capital:.2f} of "
        f"{2.0 / record.settings.false_alarm_rate:g}",
        markup=False,
    )
    beyond = [row for row in record.distances if row.psi_limit and row.psi > row.psi_limit]
    beyond.sort(key=lambda row: row.psi / row.psi_limit, reverse=True)
    for row in beyond[:SHOWN_DISTANCES]:
        say(
            f"  distance {row.panel}: {row.series}, psi {row.psi:.3f} beyond {row.psi_limit:.3f}",
            markup=False,
        )
    for reason in record.not_measured:
        say(f"  not measured: {reason}", markup=False)
    if not record.same_code:
        say("  the toolkit is not the version that made the run", markup=False)
    say(f"record {record.digest}\n  {path}", markup=False)
