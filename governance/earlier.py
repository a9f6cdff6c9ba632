"""An earlier validation of the same model, as what a later one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from finchaos.core.errors import DataError
from governance.record import Evidence, Exhibit, Run


@dataclass(frozen=True, eq=False)
class Earlier:
    """A sealed run with its exhibits.

    Attributes
    ----------
    run : Run
    exhibits : mapping of digest to Exhibit
    """

    run: Run
    exhibits: Mapping[str, Exhibit]

    @property
    def digest(self) -> str:
        """Of the run, which names its exhibits by digest."""
        return self.run.digest

    def positions(self) -> pd.Series | None:
        """What the walk-forward check decided at every bar; None if it was not run."""
        for exhibit in self.exhibits.values():
            if (exhibit.check, exhibit.name) == ("walk_forward", "exposure"):
                when, what = exhibit.columns[:2]
                times, decided = tuple(when.values), tuple(what.values)
                index = pd.to_datetime([str(time) for time in times], format="ISO8601", utc=True)
                return pd.Series(decided, index=index, dtype=float)
        return None

    def measured(self, check: str, metric: str) -> Evidence | None:
        """Evidence of the whole, without a slice; None if it was not measured."""
        for item in self.run.evidence:
            if (item.check, item.metric) == (check, metric) and not item.slice:
                return item if item.status == "measured" else None
        return None


def require_same_model(earlier: Earlier, name: str) -> None:
    """Refuse an earlier run of another model.

    Raises
    ------
    DataError
        If the model cards have different names.
    """
    known = str(earlier.run.subject.card["name"])
    if known != name:
        raise DataError(
            "the run under 'since' is of another model",
            expected=f"an earlier run of {name!r}",
            got=f"run {earlier.digest[:12]} of {known!r}",
            remedy="name a run of this model, leave 'since' out for a validation in full, or, if "
            "the model was only renamed, give it the name it had and a new version",
        )
