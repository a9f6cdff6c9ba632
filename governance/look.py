"""One look at new data as a sealed record: whether it may be taken, and what it found."""

from __future__ import annotations

from finchaos.core.bars import Bars
from finchaos.core.errors import DataError, InputError
from finchaos.core.subject import Subject
from governance.check import Context
from governance.continuation import continuation
from governance.environment import code_digest
from governance.monitor import Readings, read_instruments
from governance.monitoring import MonitoringRecord, MonitorSettings, Verdict
from governance.plan import Plan
from governance.record import InputRef, Run


def plan_of(run: Run) -> Plan:
    """The plan inside a run."""
    return Plan.model_validate(run.plan)


def require_approved(run: Run, subject: Subject, bars: Bars) -> None:
    """Whether these are the subject and the bars that the run validated.

    Raises
    ------
    InputError
        If the subject is another one, or can only repeat signals.
    DataError
        If the bars are others.
    """
    if subject.card.predictions_only:
        raise InputError(
            "signals recorded beforehand cannot be asked about new bars",
            remedy="monitor the model that made them, under a plan that names it",
        )
    if subject.digest != run.subject.digest:
        raise InputError(
            "the model that the plan makes now is not the one that was validated",
            expected=f"digest {run.subject.digest[:12]}",
            got=subject.digest[:12],
            remedy="restore its code, settings or checkpoint, or validate the new one",
        )
    known = next(ref for ref in run.inputs if ref.role == "bars")
    if bars.digest != known.digest:
        raise DataError(
            "the bars that the plan names now are not those of the run",
            expected=f"digest {known.digest[:12]}, {known.detail.get('rows')} rows until "
            f"{known.detail.get('last')}",
            got=f"digest {bars.digest[:12]}, {len(bars)} rows until {bars.index[-1].isoformat()}",
            remedy="restore the file; new bars are given with --bars",
        )


def look(
    run: Run, subject: Subject, old: Bars, brought: Bars, settings: MonitorSettings
) -> MonitoringRecord:
    """Compare brought bars with an approved run.

    Parameters
    ----------
    run : Run
    subject : Subject
        As the run's plan makes it, untrained.
    old : Bars
        Of the run.
    brought : Bars
        New ones, with or without those of the run before them.
    settings : MonitorSettings

    Raises
    ------
    InputError
        If subject or bars are not those of the run, or the brought bars do not go on from them.
    SubjectFault
        If the subject cannot answer.
    """
    require_approved(run, subject, old)
    new = continuation(old, brought)
    plan = plan_of(run)
    context = Context(
        bars=old,
        folds=plan.make_folds(old),
        seed=plan.seed,
        cost_bps=plan.trading.cost_bps,
        delay_bars=plan.trading.delay_bars,
    )
    found = read_instruments(subject, context, new, settings)
    code = code_digest()
    return MonitoringRecord(
        run=run.digest,
        subject=run.subject.digest,
        candidate=context.candidate(subject).digest,
        reference=_reference(old),
        new=_reference(brought),
        new_bars=len(new),
        first=new.index[0].isoformat(),
        last=new.index[-1].isoformat(),
        settings=settings,
        code=code,
        same_code=code == run.environment.code,
        distances=tuple(found.distances),
        tests=tuple(found.tests),
        test_level=found.test_level,
        charts=tuple(found.charts),
        chart_run_length=found.chart_run_length,
        capital=tuple(found.capital),
        highest_capital=found.highest_capital,
        alarms=tuple(found.alarms),
        not_measured=tuple(found.not_measured),
        verdict=_verdict(found),
    )


def _verdict(found: Readings) -> Verdict:
    """In control only if charts say so, and inputs, outputs and performance were looked at."""
    if found.alarms:
        return "alarm"
    missing = {said.partition(":")[0] for said in found.not_measured}
    whole = found.charts and not missing & {"inputs", "outputs", "performance"}
    return "in_control" if whole else "inconclusive"


def _reference(bars: Bars) -> InputRef:
    return InputRef(
        role="bars",
        name=bars.symbol,
        digest=bars.digest,
        detail={
            "source": bars.provenance.source,
            "rows": len(bars),
            "first": bars.index[0].isoformat(),
            "last": bars.index[-1].isoformat(),
        },
    )
