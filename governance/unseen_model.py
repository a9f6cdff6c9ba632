"""Which trained model may answer a scenario."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from finchaos.core.subject import Capability, Subject
from finchaos.markets.sessions import EXCHANGE_ZONE
from governance.check import Context
from governance.scenario import Scenario

Sample = Literal["out", "in", "unknown"]


@dataclass(frozen=True)
class Trained:
    """The model that answers a scenario.

    Attributes
    ----------
    model : Subject
    sample : {"out", "in", "unknown"}
        Whether its training held no bar, or some bar, of the scenario's dates; ``unknown`` if the
        subject does not train here.
    until : str
        Last bar it was trained on, ISO 8601; empty if unknown.
    """

    model: Subject
    sample: Sample
    until: str


def unseen_model(subject: Subject, context: Context, scenario: Scenario) -> Trained:
    """The model of the latest fold trained only on bars before the scenario, else the candidate.

    The candidate is also the answer where the scenario lies before all bars: then no bar of it was
    in training, though the model knows a later world.
    """
    if Capability.REFIT not in subject.capabilities:
        return Trained(context.candidate(subject), "unknown", "")
    index = context.bars.index
    days = [scenario.data.dates[0], scenario.data.dates[-1]]
    first, last = (pd.Timestamp(day, tz=EXCHANGE_ZONE) for day in days)
    before = [fold for fold in context.folds if index[fold.train_end - 1] < first]
    fold = before[-1] if before else context.last_fold
    seen = index[: fold.train_end]
    inside = (seen >= first) & (seen < last + pd.Timedelta(days=1))
    sample: Sample = "in" if inside.any() else "out"
    return Trained(context.trained(subject, fold), sample, seen[-1].isoformat())
