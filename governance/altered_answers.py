"""What a model answers on altered bars, failures included."""

from __future__ import annotations

from dataclasses import dataclass, replace

from finchaos.core.bars import Bars
from finchaos.core.signals import Signals
from finchaos.core.subject import Subject
from governance.comparison import compare


@dataclass(frozen=True)
class Outcome:
    """What one alteration at one cut showed; ``failure`` is empty if the model answered."""

    alteration: str
    rows: int
    changed: int = 0
    position_change: float = 0.0
    reach: int = 0
    first_time: str = ""
    fields: tuple[str, ...] = ()
    failure: str = ""


def outcome_of(name: str, model: Subject, plain: Signals, cut: int, altered: Bars) -> Outcome:
    """Run the model on altered bars and compare what came before the cut."""
    try:
        answer = model.signals(altered)
    except Exception as error:  # a model that refuses such bars is counted, not excused
        return Outcome(name, rows=cut, failure=_text(error))
    difference = compare(plain, answer, cut)
    if difference.first is None:
        return Outcome(name, rows=cut)
    return Outcome(
        name,
        rows=cut,
        changed=difference.rows,
        position_change=difference.largest["position"],
        reach=cut - difference.first,
        first_time=plain.index[difference.first].isoformat(),
        fields=difference.fields,
    )


def answer_on(expected: Signals, model: Subject, bars: Bars, how: str) -> Signals | str:
    """What the model says, stamped as expected; why not, if it fails on such bars."""
    try:
        answer = model.signals(bars)
    except Exception as error:  # a model that cannot do with such bars is recorded
        return f"the model failed {how}: {_text(error)}"
    if len(answer) != len(bars):
        return f"the model gave {len(answer)} signals for {len(bars)} bars"
    return replace(answer, index=expected.index)


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
