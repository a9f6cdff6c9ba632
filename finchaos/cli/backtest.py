"""``finchaos backtest``: an anchored walk-forward with costs and delay, and pictures of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from finchaos.cli import console
from finchaos.cli.folder import Output
from finchaos.cli.laboratory import kept_facts
from finchaos.cli.options import JsonOption, PlanArgument

SHOWN = ("sharpe", "max_drawdown", "turnover_per_year", "false_alarms_per_year",
         "time_to_detection_days", "time_to_clear_days", "exposure_share")  # fmt: skip


def backtest(
    plan: PlanArgument = "demo",
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of a model that 'train' wrote, instead of the plan's."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("laboratory/backtest"),
    draws: Annotated[int, typer.Option(help="Bootstrap draws of the intervals.")] = 1000,
    json: JsonOption = False,
) -> None:
    """Train the model anew before each of the plan's tests, trade the tests, and measure.

    The figures are those of the checks walk_forward and challengers; no policy judges them here.
    """
    start = time.perf_counter()
    with console.reported():
        from finchaos.cli.assemble import build_subject, find_plan, load_data
        from governance.record import Evidence
        from governance.statistics.out_of_sample import out_of_sample

        wanted, beside = find_plan(plan)
        output = Output(out)
        context = _context(wanted, load_data(wanted.data, beside))
        checks = _checks(draws, context)
        with console.progress() as say:
            subject = build_subject(
                _subject_plan(wanted, model), beside, seed=wanted.seed, progress=say
            )
            found: list[Any] = []
            for place, check in enumerate(checks):
                say(f"measure {check.card.name}", place, len(checks))
                found += check.measure(subject, context)
            say("draw pictures", 0, 1)
            tested = out_of_sample(subject, context)
            evidence = [one for one in found if isinstance(one, Evidence)]
            exhibits = [one for one in found if not isinstance(one, Evidence)]
            _write(output, subject, tested, evidence, exhibits)
    seconds = time.perf_counter() - start
    if json:
        console.print_json(
            {
                "folder": str(out),
                "seconds": seconds,
                "evidence": [one.model_dump(mode="json") for one in evidence],
            }
        )
        return
    for one in evidence:
        if one.check == "walk_forward" and one.metric in SHOWN and not one.slice:
            console.out.print(f"{one.metric.replace('_', ' '):<24} {_said(one)}", markup=False)
    console.out.print(f"{output.page}\n{seconds:.0f} s", markup=False)


def _subject_plan(plan: Any, model: Path | None) -> Any:
    """The plan's subject, or the model that lies in a folder."""
    from governance.plan import SubjectPlan

    if model is None:
        return plan.subject
    return SubjectPlan(model=kept_facts(model)["model"], checkpoint=str(model.resolve()))


def _context(plan: Any, bars: Any) -> Any:
    from finchaos.cli.assemble import find_challengers
    from governance.check import Context

    return Context(
        bars=bars,
        folds=plan.make_folds(bars),
        seed=plan.seed,
        cost_bps=plan.trading.cost_bps,
        delay_bars=plan.trading.delay_bars,
        challengers=find_challengers(plan),
    )


def _checks(draws: int, context: Any) -> list[Any]:
    from governance.checks.challengers import Challengers
    from governance.checks.walk_forward import WalkForward

    checks: list[Any] = [WalkForward(draws=draws)]
    return checks + [Challengers(draws=draws)] * bool(context.challengers)


def _write(
    output: Output, subject: Any, tested: Any, evidence: list[Any], exhibits: list[Any]
) -> None:
    output.write(
        title=f"Walk-forward of {subject.card.name} on {tested.bars.symbol}",
        about=(
            f"Out of sample from {tested.bars.index[0].date()} to {tested.bars.index[-1].date()}; "
            f"{tested.fold[-1]} fold(s), each answered by the model trained on everything before.",
        ),
        pictures=_pictures(tested, exhibits),
        columns=("measure", "value", "95 % interval"),
        rows=[(_name(one), *_cells(one)) for one in evidence if not one.slice.get("fold")],
        table=_history(tested),
        table_name="history",
        summary={
            "subject": subject.digest,
            "bars": tested.bars.digest,
            "evidence": [one.model_dump(mode="json") for one in evidence],
        },
    )


def _pictures(tested: Any, exhibits: list[Any]) -> list[Any]:
    """The test as pictures: regimes, exposure, delays, and what the checks drew."""
    from reports.charts import draw
    from reports.pictures import Picture, delays, leverage, ribbon

    signals, close = tested.signals, tested.bars.close
    calm = None if signals.stress_probability is None else 1.0 - signals.stress_probability
    pictures = [
        ribbon(
            "regime_ribbon",
            tested.bars.index,
            close,
            tested.state,
            title="Price and regime, out of sample",
            caption="Each bar is in the colour of the regime that the model of its fold had "
            "confirmed at its close.",
        ),
        leverage(
            "confidence_and_exposure",
            tested.bars.index,
            calm,
            signals.position,
            signals.tripped,
            title="Confidence and exposure",
            caption="Above, the probability that the market is calm, before debouncing; below, the "
            "fraction of capital decided at each close and held later by the delay that the plan "
            "states.",
        ),
    ]
    seen = _falls_seen(tested)
    if len(seen):
        pictures.append(
            delays(
                "detection_delay",
                seen,
                unit="calendar days",
                title="Detection delay of the market's falls",
                caption="From the peak before each fall of a tenth or more, known in hindsight, to "
                "the first alarm before its trough.",
            )
        )
    return pictures + [
        Picture(
            f"{one.check}_{one.name}",
            f"{one.title}, beside challengers" if one.check == "challengers" else one.title,
            one.note or "Net of costs.",
            draw(one, f"{one.check}-{one.name}".replace("_", "-"), one.note),
        )
        for one in exhibits
        if one.kind != "table" and one.name != "exposure"  # that is drawn above
    ]


def _falls_seen(tested: Any) -> Any:
    from governance.checks.walk_forward import WalkForward
    from governance.statistics.regimes import falls, score_alarms

    check = WalkForward()
    episodes = falls(tested.bars.close, fall=check.fall, rebound=check.rebound)
    return score_alarms(tested.off, episodes, tested.bars.index).detection_days


def _history(tested: Any) -> Any:
    """One row a period of the account, with the decision that it belongs to."""
    import pandas as pd

    periods = len(tested.net)
    said = {name: values[:periods] for name, values in tested.signals.arrays().items()}
    return pd.DataFrame(
        {
            "decided": tested.bars.index[:periods],
            "fold": tested.fold[:periods],
            "close": tested.bars.close[-periods:],
            **said,
            "held": tested.held,
            "traded": tested.traded,
            "market": tested.market,
            "gross": tested.gross,
            "net": tested.net,
            "wealth": (1.0 + tested.net).cumprod(),
        },
        index=tested.index.rename("ts"),
    )


def _name(one: Any) -> str:
    against = one.slice.get("challenger", "")
    name = one.metric.replace("_", " ")
    return f"{name}, {against.replace('_', ' ')}" if against else name


def _said(one: Any) -> str:
    value, interval = _cells(one)
    return f"{value} [{interval}]" if interval else value


def _cells(one: Any) -> tuple[str, str]:
    if one.value is None:
        return f"not measured: {one.reason}", ""
    if one.interval is None:
        return f"{one.value:.3g} {one.unit}", ""
    return f"{one.value:.3g} {one.unit}", f"{one.interval.low:.3g} to {one.interval.high:.3g}"
