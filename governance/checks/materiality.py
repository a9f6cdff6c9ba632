"""Whether the developer declares the model as material as its use makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from finchaos.core.subject import Subject
from governance.check import Context, Skip, measured
from governance.record import CheckCard, Column, Evidence, Exhibit, MetricSpec
from governance.tiers import LEVELS


@dataclass(frozen=True)
class Materiality:
    """The tier derived from exposure and purpose, against the one on the model card."""

    card: ClassVar[CheckCard] = CheckCard(
        name="materiality",
        version=1,
        title="Materiality",
        question="Is the model as material as its developer says?",
        pillar="conceptual_soundness",
        method=(
            "The plan states the exposure and the purpose of the use, and the policy pack "
            "publishes the table that makes a tier of them; the tier is compared with the one "
            "that the model card declares."
        ),
        limitations=(
            "Exposure and purpose are what the institution states; nothing here measures them.",
            "Risk that comes from complexity or from other models is not in the tier.",
        ),
        references=(
            "Federal Reserve, OCC and FDIC (2026). SR 26-2, Revised Guidance on Model Risk "
            "Management, section III.",
        ),
        metrics=(
            MetricSpec(
                name="tiers_understated",
                unit="tiers",
                better="lower",
                meaning="Tiers by which the declared materiality lies below the derived one; "
                "0 where it does not.",
            ),
        ),
    )

    def measure(self, subject: Subject, context: Context) -> Iterator[Evidence | Exhibit]:
        """Compare the derived tier with the declared one; the subject is asked nothing."""
        found = context.materiality
        if found is None:
            raise Skip(
                "the plan states neither exposure nor purpose, so that no tier can be derived"
            )
        below = LEVELS.index(found.tier) - LEVELS.index(found.declared)
        yield measured(
            self,
            "tiers_understated",
            float(max(below, 0)),
            n=1,
            window=context.out_of_sample_window,
            note=f"derived {found.tier}, declared {found.declared}",
        )
        amount = "not stated" if found.exposure_usd is None else f"{found.exposure_usd:,.0f}"
        yield Exhibit(
            check=self.card.name,
            name="derivation",
            title="How the tier was derived",
            kind="table",
            columns=(
                Column(
                    name="Item",
                    values=("Exposure in USD", "Level of exposure", "Purpose", "Tier", "Declared"),
                ),
                Column(
                    name="Value",
                    values=(amount, found.exposure, found.purpose, found.tier, found.declared),
                ),
            ),
        )
