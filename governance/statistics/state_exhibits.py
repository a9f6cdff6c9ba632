"""Exhibits of how a model's state behaves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from governance.record import Column, Exhibit
from governance.statistics.state_dynamics import Forgetting


def parity_exhibit(check: str, table: Mapping[str, Mapping[str, float]]) -> Exhibit:
    """Every field by every way of running, a table."""
    fields = sorted({name for found in table.values() for name in found})
    shown = {way: [found.get(name) for name in fields] for way, found in table.items()}
    columns = [Column(name="way of running", values=tuple(shown) or ("none",))]
    for number, name in enumerate(fields):
        sizes = [row[number] for row in shown.values()]
        finite = tuple(size if size is not None and np.isfinite(size) else None for size in sizes)
        columns.append(Column(name=name, values=finite))
    return Exhibit(
        check=check,
        name="parity",
        title="Largest difference of each field between ways of running the same model",
        kind="table",
        columns=tuple(columns),
        note="Relative to the larger of 1 and the field's size. Empty where a field is missing or "
        "no number.",
    )


def decay_exhibit(check: str, found: Forgetting) -> Exhibit:
    """Change by bars since the pasts became one, a line for each field."""
    shown = np.unique(np.geomspace(1, len(found.lags), 60).astype(int)) - 1
    columns = [Column(name="bars since", unit="bars", values=tuple(found.lags[shown].tolist()))]
    columns += [
        Column(name=name.replace("_", " "), values=tuple(values[shown].tolist()))
        for name, values in found.by_field.items()
        if np.isfinite(values).all()
    ]
    return Exhibit(
        check=check,
        name="forgetting",
        title="What another past still changes, by bars since it ended",
        kind="line",
        columns=tuple(columns),
        y_label="mean largest change",
        note="Latents in standard deviations, position as a fraction of capital.",
    )
