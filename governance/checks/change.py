"""Check: how much the model has changed since its last full validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.provenance import digest
from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured, not_measured
from governance.earlier import Earlier
from governance.environment import environment, source_digest
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.statistics.out_of_sample import OutOfSample, out_of_sample
from governance.statistics.outcomes import earning_columns, earning_statistics

_FIGURES = ("sharpe", "annual_return", "annual_volatility", "max_drawdown", "turnover_per_year")


@dataclass(frozen=True)
class Change:
    """The model beside an earlier validation of it: parts, decisions and figures."""

    card: ClassVar[CheckCard] = CheckCard(
        name="change",
        version=1,
        title="Change since the last full validation",
        question="Is this still the model that was validated in full?",
        pillar="ongoing_monitoring",
        method="The plan names an earlier run. What determines the model, its card, how it is "
        "traded and what computes it are compared by digest; decisions are compared at every "
        "out-of-sample bar that both have, and figures in half widths of the interval that they "
        "had then. A change that is validated beside a run that itself names an earlier one adds "
        "to what that one had already changed, so that many small changes count like a large one; "
        "a run that names none begins anew.",
        limitations=(
            "Changes that cancel out add up nevertheless",
            "Decisions may differ because the model was trained on more bars, and not for any "
            "change of its makers",
            "Whether the earlier run was a full validation is for the validator to know",
        ),
        references=(
            "Federal Reserve & OCC (2011), SR 11-7, section V; PRA (2023), SS1/23, principle 4",
        ),
        metrics=(
            MetricSpec(name="changed_parts", unit="parts", better="none",
                       meaning="Parts that are others than in the earlier run"),
            MetricSpec(name="position_change", unit="fraction of capital", better="none",
                       meaning="Mean difference of decisions on bars that both runs have"),
            MetricSpec(name="cumulative_change", unit="fraction of capital", better="lower",
                       meaning="The same, added to what the earlier run had changed already"),
            MetricSpec(name="figure_move", unit="half widths", better="lower",
                       meaning="Distance of a figure from what it was, by half of its interval"),
            MetricSpec(name="bars_added", unit="fraction of bars", better="none",
                       meaning="Out-of-sample bars that the earlier run did not have"),
        ),
    )  # fmt: skip

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield what differs from the earlier run, and the parts as a table."""
        earlier = context.earlier
        if earlier is None:
            raise Skip("the plan names no earlier run")
        window = context.out_of_sample_window
        then, now = _parts_then(earlier), _parts_now(subject, context)
        changed = sum(now[part] != then[part] for part in now)
        yield measured(self, "changed_parts", float(changed), n=len(now), window=window)
        yield self._table(then, now)
        tested = out_of_sample(subject, context)
        yield from self._decisions(tested, earlier, context)
        yield from self._figures(tested, earlier, context)

    def _decisions(
        self, tested: OutOfSample, earlier: Earlier, context: Context
    ) -> Iterator[Evidence]:
        window, known = context.out_of_sample_window, earlier.positions()
        names = ("position_change", "cumulative_change", "bars_added")
        if known is None:
            for name in names:
                reason = "the earlier run has no decisions: walk_forward was not part of it"
                yield not_measured(self, name, reason, window=window)
            return
        index = tested.bars.index
        both = index.isin(known.index)
        n = int(both.sum())
        yield measured(self, "bars_added", 1.0 - n / len(index), n=len(index), window=window)
        if not n:
            for name in names[:2]:
                reason = "the runs have no out-of-sample bar in common"
                yield not_measured(self, name, reason, window=window)
            return
        before = known.reindex(index[both]).to_numpy()
        moved = float(np.abs(tested.signals.position[both] - before).mean())
        already = earlier.measured("change", "cumulative_change")
        added = 0.0 if already is None or already.value is None else already.value
        note = f"{added:.3g} of it by the earlier run" if added else ""
        yield measured(
            self, "position_change", moved, n=n, window=window, note=_other_market(earlier, context)
        )
        yield measured(self, "cumulative_change", moved + added, n=n, window=window, note=note)

    def _figures(
        self, tested: OutOfSample, earlier: Earlier, context: Context
    ) -> Iterator[Evidence]:
        window, columns = context.out_of_sample_window, earning_columns(tested)
        statistics = earning_statistics(tested.bars.bars_per_year)
        for name in _FIGURES:
            known = earlier.measured("walk_forward", name)
            if known is None or known.value is None or known.interval is None:
                reason = "the earlier run has no interval of it"
                yield not_measured(self, "figure_move", reason, window=window, figure=name)
                continue
            half = 0.5 * (known.interval.high - known.interval.low)
            found = float(statistics[name](columns))
            if not (np.isfinite(found) and half > 0.0):
                reason = "it is not defined on these bars, or its interval had no width"
                yield not_measured(self, "figure_move", reason, window=window, figure=name)
                continue
            yield measured(
                self,
                "figure_move",
                abs(found - known.value) / half,
                n=len(tested.net),
                window=window,
                note=f"{known.value:.4g} then, {found:.4g} now",
                figure=name,
            )

    def _table(self, then: dict[str, str], now: dict[str, str]) -> Exhibit:
        return Exhibit(
            check=self.card.name,
            name="parts",
            title="What determines the model, then and now",
            kind="table",
            columns=(
                Column(name="part", values=tuple(now)),
                Column(name="then", values=tuple(then[part] for part in now)),
                Column(name="now", values=tuple(now.values())),
                Column(
                    name="changed",
                    values=tuple("no" if now[part] == then[part] else "yes" for part in now),
                ),
            ),
            note="SHA-256 of each; positions and figures say what a change amounts to.",
        )


def _other_market(earlier: Earlier, context: Context) -> str:
    """What has to be said where decisions on different instruments are compared."""
    then = next(one.name for one in earlier.run.inputs if one.role == "bars")
    now = context.bars.symbol
    return "" if then == now else f"the earlier run decided on {then}, this one on {now}"


def _parts_then(earlier: Earlier) -> dict[str, str]:
    run = earlier.run
    return {
        "model as delivered": run.subject.digest,
        "source of its class": run.subject.source,
        "model card": digest(run.subject.card),
        "cost and delay": digest([run.plan["trading"][k] for k in ("cost_bps", "delay_bars")]),
        "bars": next(one.digest for one in run.inputs if one.role == "bars"),
        "the toolkit's code": run.environment.code,
        "packages": digest(run.environment.packages),
    }


def _parts_now(subject: Subject, context: Context) -> dict[str, str]:
    surroundings = environment(context.seed, subject)
    return {
        "model as delivered": subject.digest,
        "source of its class": source_digest(subject),
        "model card": digest(subject.card.as_json()),
        "cost and delay": digest([context.cost_bps, context.delay_bars]),
        "bars": context.bars.digest,
        "the toolkit's code": surroundings.code,
        "packages": digest(surroundings.packages),
    }
