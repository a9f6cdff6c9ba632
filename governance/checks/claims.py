"""Check: whether what the developer claims of the model is so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from finchaos.core.errors import InputError
from finchaos.core.subject import Claim, Subject
from governance.check import Context, Skip, measured, not_measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.statistics.claims import BETTER, Recomputed, recompute, relative_error, rows_of
from governance.statistics.out_of_sample import OutOfSample, out_of_sample


@dataclass(frozen=True)
class Claims:
    """Every figure on the model card computed anew, out of sample, with cost and delay.

    Parameters
    ----------
    draws : int
        Of the bootstrap.
    floor : float
        Difference of figures near zero is divided by this at least.
    """

    draws: int = 1000
    floor: float = 0.1

    card: ClassVar[CheckCard] = CheckCard(
        name="claims",
        version=1,
        title="Claims of the developer",
        question="Are the figures on the model card what the validation finds?",
        pillar="outcomes_analysis",
        method="Each claimed figure is computed anew from the out-of-sample positions of all "
        "folds, with the plan's cost and delay. A claim that says on which days it was measured "
        "is compared on those days, where nothing but rounding to its own digits may differ. One "
        "that does not is compared with the whole of the test, in standard errors of a block "
        "bootstrap. The digest on the card, where it names one, is compared with that of the "
        "model delivered.",
        limitations=(
            "A claim on days outside the test cannot be computed anew",
            "A claim made with other folds, costs or delays differs for that reason too",
            "That a claim is reproduced does not make it likely to come true",
        ),
        references=("Politis & Romano (1994), The stationary bootstrap, JASA 89",),
        metrics=(
            MetricSpec(name="claim_error", unit="fraction", better="lower",
                       meaning="Distance beyond rounding between a dated claim and the same figure "
                       "computed anew, by the larger of them"),
            MetricSpec(name="claim_excess", unit="standard errors", better="lower",
                       meaning="How much better an undated claim is than the whole test"),
            MetricSpec(name="unsupported_claims", unit="claims", better="lower",
                       meaning="Claims of figures that the validation does not know, or of days "
                       "that it did not test"),
            MetricSpec(name="other_digest", unit="count", better="lower",
                       meaning="1 if the model delivered is not the one that its card names"),
        ),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if not (100 <= self.draws <= 100_000 and 0.0 < self.floor <= 1.0):
            raise InputError(
                "claims cannot use these parameters",
                expected="100 to 100000 draws and a floor in (0, 1]",
                got=f"draws {self.draws}, floor {self.floor}",
            )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Yield how far every claim is from what is found, and both beside each other."""
        claims, window = subject.card.claims, context.out_of_sample_window
        if subject.card.approved_digest:
            other = float(subject.card.approved_digest != subject.digest)
            yield measured(self, "other_digest", other, n=1, window=window)
        else:
            yield not_measured(self, "other_digest", "the card names no digest", window=window)
        if not claims:
            raise Skip("the model card claims no figure")
        unknown = [claim for claim in claims if claim.metric not in BETTER]
        tested = out_of_sample(subject, context)
        untested = [c for c in claims if c not in unknown and rows_of(c, tested) is None]
        unsupported = len(unknown) + len(untested)
        yield measured(self, "unsupported_claims", unsupported, n=len(claims), window=window)
        table: list[tuple[Claim, Recomputed]] = []
        for number, claim in enumerate(claims):
            if claim in unknown or claim in claims[:number]:
                continue
            found = self._recomputed(claim, tested, context, number)
            if found is not None:
                table.append((claim, found))
            yield self._compare(claim, found, context, number)
        if table:
            yield self._exhibit(table, tested)

    def _recomputed(
        self, claim: Claim, tested: OutOfSample, context: Context, number: int
    ) -> Recomputed | None:
        chosen = rows_of(claim, tested)
        if chosen is None:
            return None
        return recompute(claim, tested, chosen, context.rng(f"claims:{number}"), self.draws)

    def _compare(
        self, claim: Claim, found: Recomputed | None, context: Context, number: int
    ) -> Evidence:
        said = f"{number + 1}: {_words(claim)}"
        metric = "claim_error" if claim.start else "claim_excess"
        whole = context.out_of_sample_window
        if found is None:
            reason = f"the days {claim.start} to {claim.end} were not all tested"
            return not_measured(self, metric, reason, window=whole, claim=said)
        window = whole
        if claim.start:
            first = context.folds[0].test_start
            dated = context.window(first + found.first, first + found.last)
            window = whole.model_copy(update={"start": dated.start, "end": dated.end})
        note = f"claimed {claim.value:g}, found {found.value:.4g}"
        value = relative_error(claim.value, found.value, self.floor)
        if metric == "claim_excess":
            better = BETTER[claim.metric] * (claim.value - found.value)
            value = better / found.spread if found.spread > 0.0 else float("nan")
        if not np.isfinite(value):
            reason = f"{claim.metric} is not defined on these days"
            return not_measured(self, metric, reason, window=window, claim=said)
        return measured(self, metric, value, n=found.periods, window=window, note=note, claim=said)

    def _exhibit(self, table: list[tuple[Claim, Recomputed]], tested: OutOfSample) -> Exhibit:
        days = tested.bars.index
        spans = [f"{days[found.first].date()} to {days[found.last].date()}" for _, found in table]
        ends = [(None, None) if f.interval is None else (f.interval.low, f.interval.high)
                for _, f in table]  # fmt: skip
        return Exhibit(
            check=self.card.name,
            name="claims",
            title="What the model card claims, and what was found",
            kind="table",
            columns=(
                Column(name="figure", values=tuple(c.metric.replace("_", " ") for c, _ in table)),
                Column(name="claimed", values=tuple(c.value for c, _ in table)),
                Column(name="found", values=tuple(f.value for _, f in table)),
                Column(name="95 % from", values=tuple(low for low, _ in ends)),
                Column(name="to", values=tuple(high for _, high in ends)),
                Column(name="days", values=tuple(spans)),
                Column(
                    name="claim dated",
                    values=tuple("yes" if claim.start else "no" for claim, _ in table),
                ),
            ),
        )


def _words(claim: Claim) -> str:
    said = f"{claim.metric.replace('_', ' ')} {claim.value:g}"
    return f"{said} from {claim.start} to {claim.end}" if claim.start else said
