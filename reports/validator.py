"""How good the validator is: planted defects found, sound models accused."""

from __future__ import annotations

from governance.record import FamilyPower, Run, ValidatorPower
from reports.tables import Cell, Head, Table, words


def validator_tables(run: Run) -> tuple[Table, ...]:
    """One table, by family of defects; none where nobody measured it."""
    power = run.validator
    if power is None:
        return ()
    rows = [_row(family) for family in power.families]
    rows.append(
        (
            Cell("All defects"),
            Cell(str(sum(family.defects for family in power.families))),
            Cell(str(_planted(power))),
            Cell(f"{_found(power)}", under=f"{_span(power.found_low, power.found_high)}"),
        )
    )
    rows.append(
        (
            Cell("Sound models accused"),
            Cell(""),
            Cell(str(power.sound)),
            Cell(str(power.accused), under=_span(power.accused_low, power.accused_high)),
        )
    )
    heads = (
        Head("Family of defects"),
        Head("Defects", numeric=True),
        Head("Subjects", numeric=True),
        Head("Found", numeric=True),
    )
    return (Table("How good this validator is", heads, tuple(rows), _notes(power)),)


def _row(family: FamilyPower) -> tuple[Cell, ...]:
    return (
        Cell(words(family.family)),
        Cell(str(family.defects)),
        Cell(str(family.planted)),
        Cell(str(family.found)),
    )


def _planted(power: ValidatorPower) -> int:
    return sum(family.planted for family in power.families)


def _found(power: ValidatorPower) -> int:
    return sum(family.found for family in power.families)


def _span(low: float, high: float) -> str:
    return f"95 % interval {low:.1%} to {high:.1%}"


def _notes(power: ValidatorPower) -> tuple[str, ...]:
    kinds = ", ".join(kind.replace("_", " ") for kind in power.kinds)
    missed = "; ".join(name.replace("_", " ") for name in power.missed) or "nothing"
    code = (
        "the code and policies of this run"
        if power.same_code
        else f"finchaos {power.version}, whose code or policies have changed since"
    )
    return (
        f"Known defects planted in sound models of {len(power.kinds)} kinds ({kinds}); found means "
        "that a rule of high or critical severity of the baseline limits fails.",
        f"Measured by the self-test with {code}. Defects nobody thought of are not in it.",
        f"Missed: {missed}.",
    )
