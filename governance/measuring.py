"""Running one check on one subject: whatever it could not measure is recorded with the reason."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finchaos.core.errors import FinchaosError
from finchaos.core.subject import Subject
from governance.check import Context, Skip, not_measured
from governance.record import Evidence, Exhibit
from governance.store import Measurements

LONGEST_REASON = 400
"""Characters kept of an error's text."""


def measure(check: Any, subject: Subject, context: Context) -> Measurements:
    """Run one check; whatever it could not measure is recorded with the reason."""
    evidence: list[Evidence] = []
    exhibits: list[Exhibit] = []
    reason, errored = _missing_capabilities(check, subject), False
    if not reason:
        try:
            for item in check.measure(subject, context):
                if isinstance(item, Evidence):
                    _refuse_repetition(item, evidence)
                    evidence.append(item)
                else:
                    exhibits.append(item)
        except Skip as skip:
            reason = str(skip)
        except FinchaosError as error:
            reason, errored = str(error), True
        except (Exception, SystemExit) as error:  # recorded; nothing a model does stops the run
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            said = _in_a_line(error)
            reason, errored = f"{type(error).__name__}: {said} ({where})", True
    if reason:
        have = {item.metric for item in evidence}
        evidence += [
            not_measured(
                check, spec.name, reason, window=context.out_of_sample_window, errored=errored
            )
            for spec in check.card.metrics
            if spec.name not in have
        ]
    return Measurements(evidence=tuple(evidence), exhibits=tuple(exhibits))


def _in_a_line(error: BaseException) -> str:
    """What a model says is as long as it likes, and stands in the record once for every metric."""
    try:
        said = " ".join(str(error).split())
    except Exception as failure:  # whatever a model's own class of error does
        said = f"(its text cannot be had: {type(failure).__name__})"
    return said if len(said) <= LONGEST_REASON else f"{said[: LONGEST_REASON - 1]}…"


def _refuse_repetition(item: Evidence, evidence: Sequence[Evidence]) -> None:
    if any(item.key == other.key for other in evidence):
        raise ValueError(f"{item.check} measured {item.metric} twice for {item.slice}")


def _missing_capabilities(check: Any, subject: Subject) -> str:
    if "model" in check.card.requires and subject.card.predictions_only:
        return "signals recorded beforehand cannot answer other bars: this needs the model"
    missing = sorted(set(check.card.requires) - {"model", *map(str, subject.capabilities)})
    return f"the subject does not declare: {', '.join(missing)}" if missing else ""
